"""The words by which upstreams name their errors: OpenRouter's own, and those of the servers and providers that speak
like OpenAI, of Anthropic, Google, AWS, Azure and DashScope. Pure module.

A word means the same however it is spelled: `rate_limit_exceeded`, `RateLimitExceeded`, `rate-limit exceeded`. Words
that name one thing count before any status, since some send them under 200, 400 or 500; general ones count only
where nothing else is stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_LONGEST_WORD = 100


def plain_word(word: str) -> str:
    """A word without its spelling: letters and digits, in lower case."""
    return "".join(char for char in word[:_LONGEST_WORD].lower() if char.isalnum())


def _words(text: str) -> frozenset[str]:
    return frozenset(plain_word(word) for word in text.split())


_SPECIFIC: Final = (
    (
        ("context_length_exceeded", 400),
        _words(
            "context_length_exceeded context_window_exceeded context_window_exceeded_error context_length_error "
            "exceed_context_size_error context_too_long prompt_too_long input_too_long prompt_tokens_exceeded "
            "model_max_prompt_tokens_exceeded max_context_length_exceeded string_above_max_length"
        ),
    ),
    (
        ("insufficient_credits", 402),
        _words(
            "insufficient_quota insufficient_credits insufficient_credit insufficient_balance insufficient_funds "
            "insufficient_user_quota payment_required payment_required_error billing_error billing_not_active "
            "billing_hard_limit_reached exceeded_current_quota_error credit_exhausted out_of_credits no_credits "
            "credit_balance_too_low credits_required not_enough_credits arrearage account_overdue "
            "account_overdue_error AccountOverdueError balance_not_enough"
        ),
    ),
    (
        ("rate_limited", 429),
        _words(
            "rate_limit rate_limited rate_limit_error rate_limit_exceeded rate_limit_exceeded_error "
            "rate_limit_reached rate_limit_reached_error rate_exceeded too_many_requests too_many_requests_error "
            "TooManyRequestsException resource_exhausted throttling throttled throttling_error ThrottlingException "
            "ThrottledException RequestThrottledException requests_limit_exceeded request_limit_exceeded "
            "limit_requests limit_burst_rate Throttling.RateQuota Throttling.AllocationQuota Throttling.BurstRate "
            "Throttling.User quota_exceeded ServiceQuotaExceededException LimitExceededException "
            "tokens_limit_exceeded slow_down token_quota_exceeded "
            "requests_per_minute_exceeded tokens_per_minute_exceeded queue_full"
        ),
    ),
    (
        ("upstream_auth", 502),
        _words(
            "invalid_api_key incorrect_api_key invalid_apikey api_key_invalid api_key_expired missing_api_key "
            "api_key_missing no_api_key invalid_key authentication authentication_error authentication_failed "
            "unauthenticated unauthorized unauthorized_error invalid_authentication invalid_authentication_error "
            "invalid_token token_expired expired_token ExpiredTokenException UnrecognizedClientException "
            "InvalidSignatureException IncompleteSignatureException MissingAuthenticationToken "
            "MissingAuthenticationTokenException InvalidClientTokenId account_deactivated invalid_organization"
        ),
    ),
    (
        ("moderation", 403),
        _words(
            "content_policy_violation content_policy content_filter content_filtered content_filter_error "
            "image_content_policy_violation content_moderation moderation moderation_blocked moderation_error "
            "refusal ResponsibleAIPolicyViolation data_inspection_failed DataInspectionFailed prohibited_content "
            "safety safety_error safety_violation content_violation sensitive_content input_moderation_failed "
            "guardrail_intervened unsafe_content"
        ),
    ),
    (
        ("model_not_found", 404),
        _words(
            "model_not_found model_not_found_error ModelNotFound ModelNotFoundException no_such_model unknown_model "
            "invalid_model model_not_exist model_not_exists model_does_not_exist model_not_available "
            "model_not_supported unsupported_model model_decommissioned model_deprecated DeploymentNotFound "
            "InvalidEndpointOrModel.NotFound invalid_model_id model_unavailable_for_account no_endpoints"
        ),
    ),
    (
        ("upstream_timeout", 504),
        _words(
            "timeout timeout_error timed_out request_timeout request_timed_out request_timeout_error RequestTimeOut "
            "gateway_timeout deadline_exceeded ModelTimeoutException upstream_timeout provider_timeout read_timeout"
        ),
    ),
)
"""Type and status, and the words that mean it."""

_GENERAL: Final = (
    (
        400,
        _words(
            "invalid_request invalid_request_error invalid_request_parameter invalid_argument invalid_parameter "
            "invalid_parameter_error invalid_parameter_value InvalidParameter.DataCheck invalid_value invalid_input "
            "invalid_prompt invalid_type invalid_image invalid_image_url invalid_json bad_request bad_request_error "
            "BadRequestException ValidationException validation_error value_error missing_required_parameter "
            "missing_parameter unsupported_parameter unsupported_value unknown_parameter failed_precondition "
            "out_of_range unimplemented not_implemented unprocessable_entity unprocessable_entity_error "
            "invalid_function_parameters invalid_messages tool_use_failed json_validate_failed"
        ),
    ),
    (403, _words("permission_denied permission_error forbidden forbidden_error access_denied AccessDeniedException")),
    (
        404,
        _words("not_found not_found_error NotFoundException ResourceNotFoundException resource_not_found"),
    ),
    (413, _words("request_too_large payload_too_large request_entity_too_large")),
    (
        503,
        _words(
            "overloaded overloaded_error provider_overloaded engine_overloaded engine_overloaded_error unavailable "
            "unavailable_error service_unavailable service_unavailable_error ServiceUnavailableException "
            "server_overloaded ModelNotReadyException model_not_ready model_loading loading model_overloaded"
        ),
    ),
    (
        502,
        _words(
            "provider_unavailable provider_error upstream_error bad_gateway aborted unknown data_loss "
            "ModelErrorException ModelStreamErrorException"
        ),
    ),
    (
        500,
        _words(
            "server server_error api_error internal internal_error internal_server_error InternalServerException "
            "InternalFailure internal_service_error system_error engine_error"
        ),
    ),
)
"""A status, and the words that mean it."""

_SPECIFIC_BY_WORD = {word: meaning for meaning, words in _SPECIFIC for word in words}
_STATUS_BY_WORD = {word: status for status, words in _GENERAL for word in words}

_CONTEXT_TEXT = re.compile(
    r"maximum context length|(model'?s|available|maximum) context (length|size|window)|context window"
    r"|(prompt|input|context)( length| token count)?( \([^)]{0,20}\))? (is |was |are )?too (long|large)"
    r"|input is too long|exceeds?( the)?( model'?s)?( maximum)? context|exceeds the maximum number of tokens"
    r"|reduce the length of the (messages|prompt|input)|range of input length"
    r"|number of tokens in the prompt cannot exceed",
    re.IGNORECASE,
)
_UNKNOWN_MODEL_TEXT = re.compile(
    r"not a valid model|model\b.{0,250}\b(not found|does not exist|is not available)|no such model|unknown model",
    re.IGNORECASE,
)
_CREDIT_TEXT = re.compile(
    r"credit balance is too low|insufficient (balance|credits?|funds)|used all available credits", re.IGNORECASE
)
_KEY_TEXT = re.compile(r"api key not valid|(invalid|incorrect|missing) api[ _-]?key", re.IGNORECASE)


def meaning_of_words(words: Iterable[str]) -> tuple[str, int] | None:
    """Type and status by the first word that names one thing; None without one."""
    return next((found for word in words if (found := _SPECIFIC_BY_WORD.get(plain_word(word)))), None)


def status_of_words(words: Iterable[str]) -> int | None:
    """The status that the first known general word means; None without one."""
    return next((found for word in words if (found := _STATUS_BY_WORD.get(plain_word(word)))), None)


def is_error_word(word: str) -> bool:
    """Whether a word is known to name an error."""
    plain = plain_word(word)
    return plain in _SPECIFIC_BY_WORD or plain in _STATUS_BY_WORD or plain in {"error", "failed", "failure"}


def meaning_of_text(message: str) -> tuple[str, int] | None:
    """Type and status by what a message says where no word does: for refusals of the request itself."""
    if _CONTEXT_TEXT.search(message):
        return "context_length_exceeded", 400
    if _CREDIT_TEXT.search(message):
        return "insufficient_credits", 402
    if _KEY_TEXT.search(message):
        return "upstream_auth", 502
    if _UNKNOWN_MODEL_TEXT.search(message):
        return "model_not_found", 404
    return None

"""Failures in OpenAI's words (`/v1`) and in OpenRouter's (`/api/v1`). Pure module."""

from __future__ import annotations

from typing import Any

from client.errors import Failure

_WORDS: dict[str, tuple[str, str | None]] = {
    "unauthorized": ("authentication_error", "invalid_api_key"),
    "forbidden": ("permission_error", None),
    "moderation": ("permission_error", "content_policy_violation"),
    "not_found": ("invalid_request_error", "not_found"),
    "method_not_allowed": ("invalid_request_error", "method_not_allowed"),
    "model_not_found": ("invalid_request_error", "model_not_found"),
    "invalid_json": ("invalid_request_error", None),
    "invalid_request": ("invalid_request_error", None),
    "unsupported_media_type": ("invalid_request_error", None),
    "upstream_rejected": ("invalid_request_error", None),
    "context_length_exceeded": ("invalid_request_error", "context_length_exceeded"),
    "payload_too_large": ("invalid_request_error", None),
    "insufficient_credits": ("insufficient_quota", "insufficient_quota"),
    "too_many_requests": ("rate_limit_error", "rate_limit_exceeded"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "overloaded": ("server_error", "overloaded"),
    "shutting_down": ("server_error", "overloaded"),
    "upstream_timeout": ("server_error", "timeout"),
}
"""OpenAI's `type` and `code` for each of ours; what is not here is a `server_error` with our type as code."""

_ERROR_TYPES = {
    "unauthorized": "authentication",
    "forbidden": "permission_denied",
    "moderation": "content_policy_violation",
    "not_found": "not_found",
    "method_not_allowed": "not_found",
    "model_not_found": "not_found",
    "invalid_json": "invalid_request",
    "invalid_request": "invalid_request",
    "unsupported_media_type": "invalid_request",
    "upstream_rejected": "invalid_request",
    "context_length_exceeded": "context_length_exceeded",
    "payload_too_large": "payload_too_large",
    "insufficient_credits": "payment_required",
    "too_many_requests": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "overloaded": "provider_overloaded",
    "shutting_down": "provider_overloaded",
    "upstream_unavailable": "provider_unavailable",
    "upstream_protocol": "provider_unavailable",
    "stream_interrupted": "provider_unavailable",
    "upstream_timeout": "timeout",
}
"""OpenRouter's `error_type` for each of ours; what is not here is `server`. Its SDKs drop an error without one."""


def status_of(failure: Failure) -> int:
    """The HTTP status: a request that cannot be taken is 400 here, never 422."""
    return 400 if failure.status == 422 else failure.status


def openai_error(failure: Failure) -> dict[str, Any]:
    """The body of a refusal below `/v1`, which is also the frame that ends a broken stream."""
    type_, code = _WORDS.get(failure.type, ("server_error", failure.type))
    param = failure.details[0].where if failure.details else None
    error = {"message": failure.error, "type": type_, "param": param, "code": code}
    return {"error": {**error, "metadata": _metadata(failure)}}


def openrouter_error(failure: Failure) -> dict[str, Any]:
    """The body of a refusal below `/api/v1`."""
    metadata = {"error_type": _ERROR_TYPES.get(failure.type, "server"), **_metadata(failure)}
    return {"error": {"code": status_of(failure), "message": failure.error, "metadata": metadata}}


def _metadata(failure: Failure) -> dict[str, Any]:
    """Upstream's own, and our type beside it."""
    said = failure.upstream.get("metadata")
    metadata = dict(said) if isinstance(said, dict) else {}
    provider = failure.upstream.get("provider")
    if provider is not None:
        metadata.setdefault("provider_name", provider)
    if failure.details:
        metadata["details"] = failure.details
    if failure.suggestions:
        metadata["suggestions"] = failure.suggestions
    return {**metadata, "type": failure.type, "retryable": failure.retryable}

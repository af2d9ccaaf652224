"""Failures in Anthropic's words, and in upstream's own where it refused in them. Pure module."""

from __future__ import annotations

from typing import Any, Final

from client.errors import Failure

_TYPES: Final = {
    "unauthorized": "authentication_error",
    "forbidden": "permission_error",
    "moderation": "permission_error",
    "not_found": "not_found_error",
    "model_not_found": "not_found_error",
    "method_not_allowed": "invalid_request_error",
    "invalid_json": "invalid_request_error",
    "invalid_request": "invalid_request_error",
    "unsupported_media_type": "invalid_request_error",
    "upstream_rejected": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "payload_too_large": "request_too_large",
    "insufficient_credits": "billing_error",
    "too_many_requests": "rate_limit_error",
    "rate_limited": "rate_limit_error",
    "overloaded": "overloaded_error",
    "shutting_down": "overloaded_error",
    "upstream_timeout": "timeout_error",
}
"""Anthropic's `type` for each of ours; what is not here is an `api_error`."""


_WORDS: Final = frozenset({*_TYPES.values(), "api_error"})


def status_of(failure: Failure) -> int:
    """The HTTP status: upstream's own where its refusal is passed on; a request that cannot be taken is 400."""
    code = failure.upstream.get("code")
    if _told(failure) is not None and isinstance(code, int) and 400 <= code <= 599:
        return code
    return 400 if failure.status == 422 else failure.status


def error_of(failure: Failure, request_id: str | None = None) -> dict[str, Any]:
    """The body of a refusal, which is also the event that ends a broken stream."""
    told = _told(failure)
    if told is not None:
        return told
    metadata: dict[str, Any] = {"type": failure.type, "retryable": failure.retryable}
    if failure.details:
        metadata["details"] = failure.details
    if failure.suggestions:
        metadata["suggestions"] = failure.suggestions
    error = {"type": _type(failure), "message": _message(failure), "metadata": metadata}
    return {"type": "error", "error": error, "request_id": request_id}


def _type(failure: Failure) -> str:
    """Upstream's own word, where it is one of Anthropic's."""
    said = failure.upstream.get("error_type")
    is_theirs = said in _WORDS and failure.type != "upstream_auth"
    if is_theirs:
        return str(said)
    return "request_too_large" if failure.status == 413 else _TYPES.get(failure.type, "api_error")


def _told(failure: Failure) -> dict[str, Any] | None:
    """What upstream refused with in these words; that it did not take our key concerns no caller."""
    body = failure.upstream.get("body")
    is_theirs = isinstance(body, dict) and body.get("type") == "error" and failure.type != "upstream_auth"
    return body if is_theirs else None


def _message(failure: Failure) -> str:
    """Clients know some of upstream's sentences, such as `prompt is too long`: it comes first, where there is one."""
    said = failure.upstream.get("message")
    return said if isinstance(said, str) and said and failure.type != "upstream_auth" else failure.error

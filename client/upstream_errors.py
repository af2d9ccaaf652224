"""Reading what OpenRouter says when it refuses or fails, and turning it into a `Failure`.

Error objects come in many forms (a word, an object with a `code` that is a number, a text, a vendor's own number or
nothing, inside a body, a stream or a choice). What a caller gets is one of the contract's types with its status, a
sentence with the way out, and what upstream said, cut to a bounded size and without HTML or keys. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from client.errors import Failure
from client.json_codec import decode_json

MAX_TEXT = 500
"""Characters of any upstream text that are passed on."""

_MAX_METADATA_ITEMS = 40
_SECRET = re.compile(r"sk-[A-Za-z0-9_-]{8,}|(?i:bearer)\s+\S{8,}")
_MODERATION_TYPES = {"content_policy_violation", "refusal", "moderation"}
_CONTEXT_TEXT = re.compile(r"maximum context length|context window|prompt is too long", re.IGNORECASE)
_UNKNOWN_MODEL_TEXT = re.compile(r"not a valid model|model .*(not found|does not exist)|no such model", re.I)
_BUDGET_TEXT = re.compile(r"budget|limit exceeded|key limit|credit", re.IGNORECASE)
_AFFORD = re.compile(r"can only afford (\d+)", re.IGNORECASE)

_STATUS_BY_ERROR_TYPE = {
    "authentication": 401,
    "payment_required": 402,
    "permission_denied": 403,
    "not_found": 404,
    "rate_limit_exceeded": 429,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "timeout": 504,
    "server": 500,
}


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """Upstream text fit to show: one line, no keys, no HTML page, at most `limit` characters."""
    text = " ".join(text.split())
    head = text[:200].lower()
    if "<html" in head or "<!doctype" in head or "<head" in head:
        return ""
    text = _SECRET.sub("[removed]", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def failure_of_body(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> Failure:
    """The failure for a reply that is no stream: a status of 400 and more, or an error in a body of 200.

    `now_s` is the wall clock in epoch seconds, for dates in headers.
    """
    found = decode_json(body)
    error = found.get("error") if isinstance(found, dict) else None
    if not error and isinstance(found, dict):
        error = found.get("message") or found.get("detail")
    if not error:
        text = clean_text(body.decode("utf-8", "replace"))
        error = {"message": text} if text else {}
    return failure_of_error(error, status=status, headers=headers, now_s=now_s)


def failure_of_error(
    error: Any,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    provider: str | None = None,
    now_s: float | None = None,
) -> Failure:
    """The failure for an `error` value in any of upstream's forms; `status` is that of the reply, if it had one."""
    facts = _Facts(error, status, headers or {}, provider, now_s)
    type_, own_status = facts.classify()
    retryable = facts.is_retryable(type_)
    return Failure(
        error=_sentence(type_, facts),
        type=type_,
        status=own_status,
        retryable=retryable,
        retry_after_s=facts.retry_after_s if retryable else None,
        upstream=facts.upstream(),
    )


class _Facts:
    """What an error value says, read once."""

    def __init__(
        self,
        error: Any,
        status: int | None,
        headers: Mapping[str, str],
        provider: str | None,
        now_s: float | None,
    ) -> None:
        self.error: dict[str, Any] = error if isinstance(error, dict) else {}
        metadata = self.error.get("metadata")
        self.metadata: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
        availability = self.error.get("availability")
        self.availability: dict[str, Any] = availability if isinstance(availability, dict) else {}
        self.error_type = str(
            self.metadata.get("error_type") or self.error.get("error_type") or self.error.get("type") or ""
        )
        self.raw_code = self.error.get("code")
        self.code = self._code(status)
        self.message = self._message(error)
        self.provider = self.metadata.get("provider_name") or provider
        self.limit_source = str(self.metadata.get("limit_source") or "")
        self.retry_after_s = self._retry_after(headers, now_s)

    def _code(self, status: int | None) -> int:
        if status is not None and status >= 400:
            return status
        for value in (self.raw_code, self.error.get("http_status"), self.error.get("status")):
            code = _plausible_status(value)
            if code is not None:
                return code
        return _STATUS_BY_ERROR_TYPE.get(self.error_type, 502)

    def _message(self, error: Any) -> str:
        message = error if isinstance(error, str) else self.error.get("message")
        text = clean_text(message) if isinstance(message, str) else ""
        inner = _inner_message(self.metadata.get("raw"))
        if inner and inner not in text:
            text = clean_text(f"{text}: {inner}" if text else inner)
        return text

    def _retry_after(self, headers: Mapping[str, str], now_s: float | None) -> float | None:
        for value in (
            headers.get("Retry-After"),
            self.availability.get("retry_after"),
            self.metadata.get("retry_after_seconds"),
        ):
            seconds = parse_retry_after(value, now_s)
            if seconds is not None:
                return seconds
        nested = self.metadata.get("headers")
        reset = nested.get("X-RateLimit-Reset") if isinstance(nested, dict) else None
        return _seconds_until_reset(headers.get("X-RateLimit-Reset") or reset, now_s)

    def classify(self) -> tuple[str, int]:
        """The contract's type and its status."""
        special = self._classify_by_words()
        if special is not None:
            return special
        match self.code:
            case 401:
                return "upstream_auth", 502
            case 402:
                return "insufficient_credits", 402
            case 403:
                return self._classify_403()
            case 404:
                return "model_not_found", 404
            case 408 | 504 | 524:
                return "upstream_timeout", 504
            case 429:
                return "rate_limited", 429
            case 503 | 529:
                return "upstream_unavailable", 503
            case code if 400 <= code < 500:
                return "upstream_rejected", code
        return "upstream_unavailable", 502

    def _classify_by_words(self) -> tuple[str, int] | None:
        if self.code not in (400, 404, 413, 422):
            return None
        code = self.availability.get("code")
        if self.error_type == "context_length_exceeded" or _CONTEXT_TEXT.search(self.message):
            return "context_length_exceeded", 400
        if self.error_type in _MODERATION_TYPES:
            return "moderation", 403
        if code == "model_not_found" or _UNKNOWN_MODEL_TEXT.search(self.message):
            return "model_not_found", 404
        return None

    def _classify_403(self) -> tuple[str, int]:
        moderated = "reasons" in self.metadata or "flagged_input" in self.metadata or "patterns" in self.metadata
        if moderated or self.error_type in _MODERATION_TYPES or "moderation" in self.message.lower():
            return "moderation", 403
        if self.availability or "region" in self.message.lower():
            return "upstream_rejected", 403
        if _BUDGET_TEXT.search(self.message):
            return "insufficient_credits", 402
        return "upstream_auth", 502

    def is_daily_limit(self) -> bool:
        return "daily" in self.limit_source or "per-day" in self.message.lower()

    def is_retryable(self, type_: str) -> bool:
        """Whether the same request may succeed later."""
        stated = self.availability.get("retryable")
        if isinstance(stated, bool):
            return stated
        if type_ == "rate_limited":
            return not self.is_daily_limit()
        if type_ == "insufficient_credits":
            return self.limit_source == "openrouter_in_flight_budget"
        return type_ in ("upstream_unavailable", "upstream_timeout")

    def upstream(self) -> dict[str, Any]:
        """What upstream said, bounded."""
        said: dict[str, Any] = {"code": self.raw_code if self.raw_code is not None else self.code}
        if isinstance(said["code"], str):
            said["code"] = clean_text(said["code"])
        if self.provider:
            said["provider"] = clean_text(str(self.provider))
        if self.message:
            said["message"] = self.message
        if self.metadata:
            said["metadata"] = bounded(self.metadata)
        if self.availability:
            said["availability"] = bounded(self.availability)
        if self.error_type and "error_type" not in self.metadata:
            said["error_type"] = clean_text(self.error_type)
        return said


def _sentence(type_: str, facts: _Facts) -> str:
    said = f" OpenRouter says: {facts.message}" if facts.message else ""
    match type_:
        case "upstream_auth":
            return f"OpenRouter did not accept this server's API key; check OPENROUTER_API_KEY.{said}"
        case "insufficient_credits":
            return f"OpenRouter refused for lack of credit{_affordable(facts)}.{said}"
        case "moderation":
            return f"The request was refused by moderation; change its content.{said}"
        case "model_not_found":
            return f"No such model, or no endpoint for it under these routing settings; see GET /models.{said}"
        case "context_length_exceeded":
            return f"The conversation is longer than the model's context; shorten it or choose another model.{said}"
        case "rate_limited" if facts.is_daily_limit():
            return f"A daily limit is used up; wait for the next UTC day or use a paid model.{said}"
        case "rate_limited":
            return f"Too many requests for OpenRouter or the provider; try again later.{said}"
        case "upstream_timeout":
            return f"OpenRouter or the provider took too long; try again or choose another model.{said}"
        case "upstream_unavailable":
            return f"OpenRouter or the provider failed (code {facts.code}); try again.{said}"
    return f"OpenRouter rejected the request (code {facts.code}).{said}"


def _affordable(facts: _Facts) -> str:
    """The pre-check multiplies the maximum output: the number that would pass is worth repeating."""
    if facts.limit_source == "openrouter_in_flight_budget":
        return ": too much of it is reserved by running requests; try again when they have ended"
    found = _AFFORD.search(facts.message)
    if found:
        return f"; set max_tokens to at most {found[1]}, or add credits"
    return "; add credits or raise the key's limit"


def parse_retry_after(value: Any, now_s: float | None) -> float | None:
    """Seconds to wait from a `Retry-After` (seconds or an HTTP date); None when it is absent or makes no sense."""
    if value is None or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return _seconds_until_date(value, now_s)
    return seconds if 0 <= seconds < float("inf") else None


def _seconds_until_date(value: Any, now_s: float | None) -> float | None:
    if not isinstance(value, str) or now_s is None:
        return None
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, IndexError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.fromtimestamp(now_s, UTC)).total_seconds())


def _seconds_until_reset(value: Any, now_s: float | None) -> float | None:
    """`X-RateLimit-Reset` is in epoch milliseconds."""
    if now_s is None:
        return None
    try:
        return max(0.0, float(value) / 1000 - now_s)
    except (TypeError, ValueError):
        return None


def _plausible_status(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None


def _inner_message(raw: Any, depth: int = 0) -> str:
    """The real reason behind "Provider returned error": a text, a JSON text, or an object."""
    if depth > 3:
        return ""
    if isinstance(raw, str):
        if raw.lstrip()[:1] == "{":
            found = decode_json(raw.encode("utf-8", "replace"))
            if isinstance(found, dict):
                return _inner_message(found, depth + 1)
        return clean_text(raw)
    if isinstance(raw, dict):
        return _inner_message(raw.get("error") or raw.get("message") or raw.get("detail"), depth + 1)
    return ""


def bounded(value: Any, depth: int = 0) -> Any:
    """A copy of upstream's metadata with every text cleaned and cut, and bounded in width and depth."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        items = list(value.items())[:_MAX_METADATA_ITEMS] if depth < 4 else []
        return {clean_text(str(key), 100): bounded(item, depth + 1) for key, item in items}
    if isinstance(value, list):
        return [bounded(item, depth + 1) for item in value[:_MAX_METADATA_ITEMS]] if depth < 4 else []
    return value

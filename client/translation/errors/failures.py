"""Reading what OpenRouter says when it refuses or fails, and turning it into a `Failure`.

Error objects come in many forms (`shapes`) and words (`words`). What a caller gets is one
of the contract's types with its status, a sentence with the way out, and what upstream said, cut to a bounded size
and without HTML or keys. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from client.border.fit import fit_json, fit_name, number_of
from client.border.json_codec import decode_json
from client.border.redaction import NOTHING_TO_HIDE, Redaction
from client.border.shown import MAX_TEXT, bounded, clean_text, is_page
from client.errors import Failure
from client.translation.errors.shapes import CODES, as_object, bare_message_in, error_in
from client.translation.errors.waits import stated_wait_s
from client.translation.errors.words import meaning_of_text, meaning_of_words, status_of_words

_LONGEST_CODE = 100
_BUDGET_TEXT = re.compile(r"budget|limit exceeded|key limit|credit", re.IGNORECASE)
_AFFORD = re.compile(r"can only afford (\d{1,12})", re.IGNORECASE)
_NOWHERE = re.compile(r"(404 )?(page )?not found\.?", re.IGNORECASE)
_OF_A_PAGE = (400, 403, 404, 405, 406, 410)
"""Statuses that, with a web page as body, are told by something else than the API that was to be asked."""


def failure_of_body(
    status: int, headers: Mapping[str, str], body: bytes, now_s: float, hide: Redaction = NOTHING_TO_HIDE
) -> Failure:
    """The failure for a reply that is no stream: a status of 400 and more, or an error in a body of 200.

    `now_s` is the wall clock in epoch seconds, for dates in headers.
    """
    text = body.decode("utf-8", "replace").strip()
    found = decode_json(body) if text[:1] in "{[" else _first_event(text)
    error = error_in(found) or bare_message_in(found)
    if error is None and found is not None:
        error = found
    if error is None:
        if status in _OF_A_PAGE and (is_page(text) or (status == 404 and _NOWHERE.fullmatch(text))):
            return _failure_of_page(status)
        error = {"message": text} if clean_text(text, hide=hide) else {}
    elif status == 404 and as_object(error).get("message") in ("Not Found", "not found"):
        return _failure_of_page(status)
    return failure_of_error(error, status=status, headers=headers, now_s=now_s, hide=hide)


def failure_of_error(
    error: Any,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    provider: str | None = None,
    now_s: float | None = None,
    hide: Redaction = NOTHING_TO_HIDE,
) -> Failure:
    """The failure for an `error` value in any of upstream's forms; `status` is that of the reply, if it had one."""
    facts = _Facts(error, status, headers or {}, provider, now_s, hide)
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


def with_body(failure: Failure, body: bytes, hide: Redaction = NOTHING_TO_HIDE) -> Failure:
    """The failure with the JSON object that upstream refused with under `upstream.body`: for clients that know the
    wording of the protocol in which they asked, and get it back unchanged."""
    found = decode_json(body)
    if not isinstance(found, dict):
        return failure
    return msgspec.structs.replace(
        failure, upstream={**failure.upstream, "body": hide.json_in_parts(fit_json(found))}
    )


def _first_event(text: str) -> Any:
    """The data of the first event of a refusal that comes as a stream."""
    line = next((line for line in text[:65_536].splitlines() if line.startswith("data:")), None)
    return None if line is None else decode_json(line.removeprefix("data:").strip().encode("utf-8", "replace"))


def _failure_of_page(status: int) -> Failure:
    """A wrong path, a proxy or a firewall: nothing that was said is about the request or the model."""
    return Failure(
        error=f"Upstream answered {status} with a page, not as an API: nothing at this address takes chat requests. "
        "Check upstream.base_url and upstream.protocols, and what stands between this server and upstream.",
        type="upstream_protocol",
        status=502,
        retryable=False,
        upstream={"code": status},
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
        hide: Redaction,
    ) -> None:
        self.error = as_object(fit_json(error))  # so that nothing after this meets what is nested without end
        self.hide = hide
        metadata = self.error.get("metadata")
        self.metadata: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
        availability = self.error.get("availability")
        self.availability: dict[str, Any] = availability if isinstance(availability, dict) else {}
        self.words = self._words()
        self.error_type = next(
            (word for found in (self.metadata, self.error) for word in _texts(found, "error_type", "type")), ""
        )
        self.raw_code = next((self.error[name] for name in CODES if self.error.get(name) is not None), None)
        self.stated_code = self._stated_code(status)
        self.code = self.stated_code or status_of_words(self.words) or 502
        self.message = self._message()
        self.provider = self.metadata.get("provider_name") or provider
        self.limit_source = next(iter(_texts(self.metadata, "limit_source")), "")[:MAX_TEXT]
        self.retry_after_s = stated_wait_s(headers, self.error, now_s)

    def _words(self) -> list[str]:
        """Every word that may name the error, the most exact first."""
        inner = self.error.get("innererror")
        details = self.error.get("details")
        reasons = [item for item in details[:10] if isinstance(item, dict)] if isinstance(details, list) else []
        return [
            *_texts(self.metadata, "error_type"),
            *_texts(self.error, *CODES, "error_type"),
            *(_texts(inner, "code") if isinstance(inner, dict) else ()),
            *(word for item in reasons for word in _texts(item, "reason")),
            *_texts(self.error, "type", "status"),
            *_texts(self.availability, "code"),
        ]

    def _stated_code(self, status: int | None) -> int | None:
        if status is not None and status >= 400:
            return status
        stated = [self.error.get(name) for name in (*CODES, "status")]
        return next((code for value in stated if (code := _plausible_status(value)) is not None), None)

    def _message(self) -> str:
        message = self.error.get("message")
        text = clean_text(message, hide=self.hide) if isinstance(message, str) else ""
        inner = _inner_message(self.metadata.get("raw"), self.hide)
        if inner and inner not in text:
            text = clean_text(f"{text}: {inner}" if text else inner)
        return text

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
        """What is named in words; a status of upstream's own that is as exact stands."""
        named = meaning_of_words(self.words)
        if named is not None and not (self.stated_code in (401, 402) and named[0] != "insufficient_credits"):
            return named
        if self.stated_code in (None, 400, 404, 413, 422):
            return meaning_of_text(self.message)
        return None

    def _classify_403(self) -> tuple[str, int]:
        moderated = "reasons" in self.metadata or "flagged_input" in self.metadata or "patterns" in self.metadata
        if moderated or "moderation" in self.message.lower():
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
        """What upstream said, bounded as a whole."""
        said: dict[str, Any] = {"code": self._shown_code()}
        if self.provider and (provider := fit_name(self.provider)):
            said["provider"] = self.hide.text(provider)
        if self.message:
            said["message"] = self.message
        found = {name: value for name in ("metadata", "availability") if (value := getattr(self, name))}
        said |= bounded(found, self.hide)
        if self.error_type and "error_type" not in self.metadata:
            said["error_type"] = clean_text(self.error_type, _LONGEST_CODE, self.hide)
        return said

    def _shown_code(self) -> int | str:
        """A number or a short text; what is neither is told as the status that it was taken for."""
        if isinstance(self.raw_code, str):
            return clean_text(self.raw_code, _LONGEST_CODE, self.hide) or self.code
        if isinstance(self.raw_code, int) and not isinstance(self.raw_code, bool) and abs(self.raw_code) < 10**9:
            shown = self.hide.number(self.raw_code)
            return shown if isinstance(shown, (int, str)) else self.code
        return self.code


def _texts(found: Mapping[str, Any], *names: str) -> list[str]:
    return [value for name in names if isinstance(value := found.get(name), str) and value]


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


def _plausible_status(value: Any) -> int | None:
    number = number_of(value)
    return int(number) if number is not None and 400 <= number <= 599 and number == int(number) else None


def _inner_message(raw: Any, hide: Redaction, depth: int = 0) -> str:
    """The real reason behind "Provider returned error": a text, a JSON text, or an object."""
    if depth > 3:
        return ""
    if isinstance(raw, str):
        if raw.lstrip()[:1] in ("{", "["):
            found = decode_json(raw.encode("utf-8", "replace"))
            if isinstance(found, (dict, list)):
                return _inner_message(found, hide, depth + 1)
        return clean_text(raw, hide=hide)
    error = error_in(raw) or raw
    message = as_object(error).get("message")
    return clean_text(message, hide=hide) if isinstance(message, str) else ""

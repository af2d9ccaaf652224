"""What OpenRouter says when it refuses, what a caller is told, and when a request is tried again."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from client.border.json_codec import encode_json
from client.errors import OpenRouterError, UpstreamStatusError, UpstreamTimeout
from client.translation.errors.failures import failure_of_body, failure_of_error
from client.translation.errors.waits import parse_retry_after
from client.upstream.aiohttp_errors import mapped_errors
from client.upstream.retry import retry_delay_s

NOW_S = 1_793_000_000.0


def of(status: int, error: Any, headers: dict[str, str] | None = None) -> Any:
    return failure_of_body(status, headers or {}, json.dumps({"error": error}).encode(), NOW_S)


@pytest.mark.parametrize(
    ("status", "error", "type_", "own_status", "retryable"),
    [
        (400, {"message": "bad"}, "upstream_rejected", 400, False),
        (400, {"message": "x/y is not a valid model ID"}, "model_not_found", 404, False),
        (400, {"metadata": {"error_type": "context_length_exceeded"}}, "context_length_exceeded", 400, False),
        (400, {"metadata": {"error_type": "content_policy_violation"}}, "moderation", 403, False),
        (401, {"message": "no"}, "upstream_auth", 502, False),
        (402, {"message": "no"}, "insufficient_credits", 402, False),
        (402, {"metadata": {"limit_source": "openrouter_in_flight_budget"}}, "insufficient_credits", 402, True),
        (403, {"metadata": {"reasons": ["r"], "flagged_input": "f"}}, "moderation", 403, False),
        (403, {"message": "Budget limit exceeded (monthly limit)"}, "insufficient_credits", 402, False),
        (403, {"message": "no"}, "upstream_auth", 502, False),
        (404, {"message": "No endpoints found"}, "model_not_found", 404, False),
        (408, {}, "upstream_timeout", 504, True),
        (413, {"message": "big"}, "upstream_rejected", 413, False),
        (422, {"message": "no"}, "upstream_rejected", 422, False),
        (429, {"message": "slow"}, "rate_limited", 429, True),
        (429, {"metadata": {"limit_source": "openrouter_free_tier_daily"}}, "rate_limited", 429, False),
        (500, {}, "upstream_unavailable", 502, True),
        (502, {}, "upstream_unavailable", 502, True),
        (503, {}, "upstream_unavailable", 503, True),
        (529, {}, "upstream_unavailable", 503, True),
        (524, {}, "upstream_timeout", 504, True),
        (
            404,
            {"message": "m", "http_status": 404, "availability": {"code": "no_endpoints", "retryable": True}},
            "model_not_found",
            404,
            True,
        ),
    ],
)
def test_statuses_become_types(status: int, error: Any, type_: str, own_status: int, retryable: bool) -> None:
    found = of(status, error)
    assert (found.type, found.status, found.retryable) == (type_, own_status, retryable)


def test_q80_q88_q89_metadata_and_availability_are_passed_on() -> None:
    moderated = of(403, {"message": "m", "metadata": {"reasons": ["r"], "flagged_input": "f"}})
    assert moderated.upstream["metadata"] == {"reasons": ["r"], "flagged_input": "f"}
    gone = of(404, {"message": "m", "availability": {"code": "model_deprecated"}})
    assert gone.upstream["availability"] == {"code": "model_deprecated"}
    for raw in ("inner", '{"error":{"message":"inner"}}', {"error": {"message": "inner"}}):
        assert "inner" in of(502, {"message": "Provider returned error", "metadata": {"raw": raw}}).error


@pytest.mark.parametrize(
    "place", ["type", "object", "status", "message", "code", "metadata", "limit_source", "details"]
)
def test_what_is_nested_without_end_says_nothing_in_any_place(place: str) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": deep}
    error: dict[str, Any] = {"message": "m", "metadata": {}}
    (error["metadata"] if place == "limit_source" else error)[place] = deep
    assert failure_of_error(error).status == 502
    assert failure_of_body(429, {}, encode_json({"error": error}), 0).type == "rate_limited"
    assert failure_of_body(429, {}, encode_json(error), 0).type == "rate_limited"


def test_q87_q90_no_page_no_key_and_nothing_long_gets_out() -> None:
    for body in (b"<!DOCTYPE html><html><body>down</body></html>", b"", b"\xff\xfe"):
        found = failure_of_body(502, {}, body, NOW_S)
        assert "<" not in found.error
    leaking = of(401, {"message": "sk-or-v1-0123456789abcdef " + "x" * 2000, "metadata": {"raw": "y" * 9000}})
    assert "sk-or" not in str(leaking)
    assert len(leaking.upstream["message"]) <= 500
    assert len(leaking.upstream["metadata"]["raw"]) <= 500
    assert "6553" in of(402, {"message": "You requested up to 9 tokens, but can only afford 6553"}).error


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("Tue, 26 Oct 2026 07:33:30 GMT", 10.0),
        ("-1", None),
        ("abc", None),
        ("nan", None),
        (None, None),
        ("99999", 99999.0),
    ],
)
def test_q82_q83_retry_after_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, 1_793_000_000.0) == seconds


def test_q84_a_reset_is_in_milliseconds() -> None:
    found = of(429, {"metadata": {"headers": {"X-RateLimit-Reset": "1793000060000"}}})
    assert found.retry_after_s == 60.0


@pytest.mark.parametrize(
    ("status", "attempt", "headers", "tried_again"),
    [
        (429, 0, {}, True),
        (429, 2, {}, False),
        (429, 0, {"Retry-After": "99999"}, False),
        (500, 0, {}, True),
        (500, 1, {}, False),
        (503, 1, {}, True),
        (400, 0, {}, False),
        (401, 0, {}, False),
        (402, 0, {}, False),
        (404, 0, {}, False),
    ],
)
def test_q82_to_q86_what_is_tried_again(
    status: int, attempt: int, headers: dict[str, str], tried_again: bool
) -> None:
    error = UpstreamStatusError(of(status, {}, headers), upstream_status=status)
    assert (retry_delay_s(error, attempt, 2) is not None) is tried_again


def test_a_stated_wait_is_honoured_and_a_timeout_is_not_tried_again() -> None:
    assert retry_delay_s(UpstreamStatusError(of(429, {}, {"Retry-After": "2"})), 0, 2) == 2.0
    assert retry_delay_s(UpstreamTimeout(failure_of_error({"code": 504})), 0, 2) is None


def test_every_client_error_of_aiohttp_becomes_one_of_ours() -> None:
    kinds = {
        kind
        for name in dir(aiohttp)
        if isinstance(kind := getattr(aiohttp, name), type) and issubclass(kind, (aiohttp.ClientError, OSError))
    }
    assert len(kinds) > 15
    for kind in kinds:
        bare = type(kind.__name__, (kind,), {"__init__": lambda self: None, "__str__": lambda self: "why"})
        with pytest.raises(OpenRouterError) as caught, mapped_errors():
            raise bare()
        assert caught.value.failure.type in ("upstream_unavailable", "upstream_timeout", "upstream_protocol")

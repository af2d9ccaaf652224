"""Errors in the words and wrappings of OpenRouter, OpenAI, Anthropic, Google, AWS, Azure, DashScope and others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.border.shown import bounded
from client.translation.errors.failures import failure_of_body, failure_of_error
from client.translation.errors.shapes import bare_message_in, error_in
from client.translation.errors.waits import parse_retry_after, seconds_until_reset, stated_wait_s

NOW_S = 1_793_000_000.0
HUGE = int("9" * 400)
HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>nginx</body></html>"
GOOGLE = {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize(
    ("error", "type_", "status", "retryable"),
    [
        ({"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"},
         "context_length_exceeded", 400, False),
        ({"code": "rate_limit_exceeded", "type": "tokens", "message": "slow"}, "rate_limited", 429, True),
        ({"code": "insufficient_quota", "type": "insufficient_quota"}, "insufficient_credits", 402, False),
        (GOOGLE, "rate_limited", 429, True),
        ({"status": "RESOURCE_EXHAUSTED", "message": "x"}, "rate_limited", 429, True),
        ({"status": "INVALID_ARGUMENT", "code": 400}, "upstream_rejected", 400, False),
        ({"status": "UNAVAILABLE"}, "upstream_unavailable", 503, True),
        ({"status": "DEADLINE_EXCEEDED"}, "upstream_timeout", 504, True),
        ({"status": "UNAUTHENTICATED"}, "upstream_auth", 502, False),
        ({"type": "overloaded_error", "message": "Overloaded"}, "upstream_unavailable", 503, True),
        ({"type": "rate_limit_error"}, "rate_limited", 429, True),
        ({"type": "authentication_error"}, "upstream_auth", 502, False),
        ({"type": "billing_error"}, "insufficient_credits", 402, False),
        ({"type": "not_found_error", "message": "model: x"}, "model_not_found", 404, False),
        ({"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"},
         "context_length_exceeded", 400, False),
        ({"type": "invalid_request_error", "message": "Your credit balance is too low"},
         "insufficient_credits", 402, False),
        ({"type": "api_error"}, "upstream_unavailable", 502, True),
        ({"object": "error", "type": "BadRequestError", "code": 400}, "upstream_rejected", 400, False),
        ({"type": "BadRequestError", "message": "This model's maximum context length is 8 tokens."},
         "context_length_exceeded", 400, False),
        ({"type": "exceed_context_size_error", "code": 400}, "context_length_exceeded", 400, False),
        ({"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "moderation", 403, False),
        ({"code": "DeploymentNotFound"}, "model_not_found", 404, False),
        ({"code": "429", "message": "slow"}, "rate_limited", 429, True),
        ({"code": "InvalidParameter", "message": "bad parameter"}, "upstream_rejected", 400, False),
        ({"code": "Throttling.RateQuota"}, "rate_limited", 429, True),
        ({"code": "Arrearage"}, "insufficient_credits", 402, False),
        ({"code": "DataInspectionFailed"}, "moderation", 403, False),
        ({"__type": "ThrottlingException"}, "rate_limited", 429, True),
        ({"code": 400.0, "message": "no"}, "upstream_rejected", 400, False),
        ("model 'x' not found", "model_not_found", 404, False),
        ({"details": [{"reason": "API_KEY_INVALID"}], "code": 400, "status": "INVALID_ARGUMENT"},
         "upstream_auth", 502, False),
        ({"code": "a word that nobody knows"}, "upstream_unavailable", 502, True),
    ],
)  # fmt: skip
def test_words_name_the_error_in_a_stream(error: Any, type_: str, status: int, retryable: bool) -> None:
    """faults H1, H2."""
    found = failure_of_error(error)
    assert (found.type, found.status, found.retryable) == (type_, status, retryable)


@pytest.mark.parametrize(
    ("status", "body", "type_"),
    [
        (400, {"error": {"code": "context_length_exceeded", "type": "invalid_request_error"}},
         "context_length_exceeded"),
        (429, {"error": {"code": "insufficient_quota"}}, "insufficient_credits"),
        (429, {"error": {"type": "tokens", "code": "rate_limit_exceeded"}}, "rate_limited"),
        (400, [{"error": {**GOOGLE, "code": 400}}], "rate_limited"),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "credit balance is too low"}},
         "insufficient_credits"),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, "upstream_unavailable"),
        (400, {"code": "Arrearage", "message": "Access denied", "request_id": "r"}, "insufficient_credits"),
        (400, {"__type": "ThrottlingException", "message": "slow"}, "rate_limited"),
        (400, {"message": "Input is too long for requested model."}, "context_length_exceeded"),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "field required", "type": "missing"}]},
         "upstream_rejected"),
        (401, {"error": {"code": "insufficient_quota"}}, "insufficient_credits"),
        (500, {"error": "rate limited", "error_type": "rate_limit"}, "rate_limited"),
        (403, {"errors": [{"code": 1000, "message": "no credit left"}]}, "insufficient_credits"),
    ],
)  # fmt: skip
def test_words_name_the_error_under_a_status(status: int, body: Any, type_: str) -> None:
    """faults H1, H2, H3."""
    assert failure_of_body(status, {}, json.dumps(body).encode(), NOW_S).type == type_


SHAPES: list[tuple[Any, str]] = [
    ({"error": {"message": "why"}}, "why"),
    ({"error": "why"}, "why"),
    ({"error": ["why", "and why"]}, "why; and why"),
    ({"error": True, "message": "why"}, "why"),
    ({"error": "why", "code": 400}, "why"),
    ({"error": {"code": 400}, "message": "why"}, "why"),
    ({"error": {"message": {"detail": "why"}}}, "why"),
    ({"error": {"error": {"message": "why"}}}, "why"),
    ({"errors": [{"message": "why"}]}, "why"),
    ({"errors": "why"}, "why"),
    ([{"error": {"message": "why"}}], "why"),
    ({"type": "error", "error": {"type": "x", "message": "why"}}, "why"),
    ({"object": "error", "message": "why"}, "why"),
    ({"code": "InvalidParameter", "message": "why", "request_id": "r"}, "why"),
    ({"code": 1210, "msg": "why"}, "why"),
    ({"error_code": 17, "error_msg": "why"}, "why"),
    ({"statusCode": 429, "message": "why"}, "why"),
    ({"success": False, "message": "why"}, "why"),
    ({"throttlingException": {"message": "why"}}, "why"),
    ({"base_resp": {"status_code": 1004, "status_msg": "why"}}, "why"),
    ({"detail": [{"msg": "why"}, {"msg": "and why"}], "code": 422}, "why; and why"),
]


@pytest.mark.parametrize(("found", "message"), SHAPES)
def test_an_error_is_found_in_any_wrapping(found: Any, message: str) -> None:
    """faults H3."""
    assert failure_of_error(error_in(found)).upstream["message"] == message
    assert failure_of_body(400, {}, json.dumps(found).encode(), NOW_S).upstream["message"] == message


@pytest.mark.parametrize(
    "found",
    [
        None, [], [1], "text", 5, {}, {"error": None}, {"error": ""}, {"error": False}, {"errors": []}, {"error": 0},
        {"id": "gen-1", "choices": []}, {"choices": [], "code": 400, "usage": {"x": 1}}, {"code": 0, "message": "ok"},
        {"code": 200, "msg": "fine"}, {"code": "Success", "message": "x"}, {"type": "ping"},
        {"base_resp": {"status_code": 0, "status_msg": "success"}}, {"prompt_filter_results": []},
    ],
)  # fmt: skip
def test_what_states_no_error_is_none(found: Any) -> None:
    """faults H3."""
    assert error_in(found) is None
    assert bare_message_in(found) is None


def test_a_message_alone_is_an_error_only_when_nothing_better_follows() -> None:
    """faults H3."""
    for found in ({"message": "why"}, {"detail": "why"}, {"msg": "why"}, {"detail": [{"msg": "why"}]}):
        assert error_in(found) is None
        assert failure_of_error(bare_message_in(found)).upstream["message"] == "why"
    for progress in (
        {"message": "position 3", "queue": 3},
        {"type": "info", "message": "x"},
        {"status": 200, "msg": "x"},
    ):
        assert bare_message_in(progress) is None


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_a_page_is_no_word_about_model_or_key(status: int) -> None:
    """faults P1."""
    found = failure_of_body(status, {}, HTML, NOW_S)
    assert (found.type, found.status, found.retryable) == ("upstream_protocol", 502, False)
    assert "base_url" in found.error
    assert "<" not in str(found)


@pytest.mark.parametrize("body", [b"404 page not found\n", b"Not Found", b'{"detail":"Not Found"}'])
def test_a_path_that_is_not_there_is_no_missing_model(body: bytes) -> None:
    """faults P1."""
    assert failure_of_body(404, {}, body, NOW_S).type == "upstream_protocol"
    assert failure_of_body(404, {}, b'{"error":{"message":"No endpoints found"}}', NOW_S).type == "model_not_found"


def test_a_refusal_that_comes_as_an_event_is_read() -> None:
    """faults H3."""
    body = b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"bad parameter"}\n\n'
    found = failure_of_body(400, {}, body, NOW_S)
    assert (found.type, found.upstream["message"]) == ("upstream_rejected", "bad parameter")


# -- bounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        {"message": "m", "code": ["x" * 1000] * 2000},
        {"message": "m", "code": {"x": "y" * 10_000}},
        {"message": "m", "code": HUGE},
        {"message": "m", "code": "x" * 100_000, "type": "y" * 100_000, "error_type": "z" * 100_000},
        {"message": "m", "code": 429, "metadata": {f"k{i}": [["x" * 490] * 40] * 40 for i in range(4)}},
        {"message": "m", "metadata": {f"{i}" * 5000: {f"k{j}": HUGE for j in range(40)} for i in range(40)}},
        {"message": "m", "metadata": {"limit_source": "x" * 10**6, "provider_name": "p" * 10**6}},
        {"message": "m" * 10**6, "availability": {"retry_after": [[[[[["x"]]]]]] * 1000, "code": "c" * 10**6}},
        {"message": ["m" * 1000] * 1000},
        "m" * 10**6,
    ],
)  # fmt: skip
def test_an_error_is_bounded_as_a_whole(error: Any) -> None:
    """break-it 22."""
    found = failure_of_error(error)
    assert len(json.dumps(found.upstream)) < 5000
    assert isinstance(found.upstream["code"], (int, str))
    assert len(found.error) < 800
    assert not [each for each in _texts(found.upstream) if len(each) > 500]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for each in item for text in _texts(each)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def test_odd_numbers_in_metadata_are_left_out() -> None:
    """break-it 22."""
    assert bounded({"a": float("nan"), "b": HUGE, "c": 1.5, "d": True}) == {"a": None, "b": None, "c": 1.5, "d": True}


# -- waits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0), (20, 20.0), ("1793000060000", 60.0), (1_793_000_060_000, 60.0), ("1793000060", 60.0),
        ("1793000060.5", 60.5), ("1792999999000", None), ("1792999999", None), ("0", None), ("inf", None),
        ("1e400", None), ("nan", None), (HUGE, None), ("9" * 400, None), (-5, None), (True, None), ([], None),
        ("Tue, 26 Oct 2026 07:33:30 GMT", 10.0), ("2793000060", None), ("1e20", None),
    ],
)  # fmt: skip
def test_a_reset_is_a_time_to_come_within_reason(value: Any, seconds: float | None) -> None:
    """break-it 20, faults I1."""
    assert seconds_until_reset(value, NOW_S) == seconds


@pytest.mark.parametrize(
    "value",
    ["inf", "nan", "1e308", "31536000", HUGE, "9" * 400, -1, "-1", True, [], {}, "x" * 10_000, "\ud800",
     "Fri, 31 Dec 9999 23:59:59 GMT", "Tue, 26 Oct 2021 07:33:30 GMT"],
)  # fmt: skip
def test_a_wait_that_is_none_says_nothing(value: Any) -> None:
    """break-it 20, faults I1."""
    assert parse_retry_after(value, NOW_S) is None
    for error in (
        {"metadata": {"retry_after_seconds": value}},
        {"availability": {"retry_after": value}},
        {"metadata": {"headers": {"retry-after": value}}},
        {"retry_after": value},
    ):
        assert stated_wait_s({}, error, NOW_S) is None
        assert failure_of_error({"code": 429, **error}, now_s=NOW_S).retry_after_s is None


@pytest.mark.parametrize(
    ("headers", "error", "seconds"),
    [
        ({"Retry-After": "3"}, {"metadata": {"retry_after_seconds": 9}}, 3.0),
        ({"retry-after": "3"}, {}, 3.0),
        ({"Retry-After": "inf"}, {"metadata": {"retry_after_seconds": 9}}, 9.0),
        ({"retry-after-ms": "1500"}, {}, 1.5),
        ({}, {"metadata": {"headers": {"x-ratelimit-reset": "1793000060000"}}}, 60.0),
        ({}, {"metadata": {"headers": {"X-RATELIMIT-RESET": 1_793_000_060}}}, 60.0),
        ({}, {"metadata": {"headers": {"Retry-After": "4"}}}, 4.0),
        ({}, {"details": [{"@type": "x"}, {"retryDelay": "20s"}]}, 20.0),
        ({"X-RateLimit-Reset": "inf"}, {}, None),
        ({}, {"metadata": {"headers": ["x"]}, "availability": 5, "details": {}}, None),
    ],
)  # fmt: skip
def test_a_wait_is_found_wherever_it_is_said(headers: dict[str, str], error: Any, seconds: float | None) -> None:
    """faults I1."""
    assert stated_wait_s(headers, error, NOW_S) == seconds

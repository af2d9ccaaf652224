"""What callers of `/chat` see of an upstream that refuses, breaks, or is none at all."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from client.sandbox import HangUp, Hold, Pause, Reply, Sandbox, open_sandbox
from server.config import Config
from tests.support.chunks import COMMENT, DONE, END, STOP, chunk, event, text
from tests.support.serving import KEY, Api, changed, question, serving
from tests.support.sse_reader import Event, parse_events, text_of

BUSY = event({"error": {"code": 503, "message": "busy"}, "choices": []})
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
LONG = "word " * 1000


def failure_of(events: list[Event], *before: str) -> dict[str, Any]:
    """The one error of a stream: nothing but `done` follows it."""
    assert [each.name for each in events] == [*before, "error", "done"]
    assert events[-1].data["completed"] is False
    found: dict[str, Any] = events[-2].data
    return checked(found)


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """An error in the one shape, with nothing in it that does not belong there."""
    assert isinstance(found["error"], str)
    assert isinstance(found["type"], str)
    assert isinstance(found["status"], int)
    assert isinstance(found["retryable"], bool)
    assert set(found) <= {
        *("error", "type", "status", "retryable", "retry_after_s"),
        *("details", "upstream", "suggestions", "partial"),
    }
    text_ = json.dumps(found)
    assert KEY not in text_
    assert "Traceback" not in text_
    assert "<html" not in text_
    assert len(found["error"]) < 800
    return found


REFUSALS = [
    (Reply.error(400, "bad"), 400, "upstream_rejected", 1),
    (Reply.error(400, "maximum context length is 5"), 400, "context_length_exceeded", 1),
    (Reply.error(400, "acme/m is not a valid model ID"), 404, "model_not_found", 1),
    (Reply.error(401, f"key {KEY} is wrong"), 502, "upstream_auth", 1),
    (Reply.error(402, "no money"), 402, "insufficient_credits", 1),
    (Reply.error(403, "no", {"reasons": ["x"], "flagged_input": "y"}), 403, "moderation", 1),
    (Reply.error(403, "not you"), 502, "upstream_auth", 1),
    (Reply.error(404, "No endpoints found"), 404, "model_not_found", 1),
    (Reply.error(422, LONG), 422, "upstream_rejected", 1),
    (Reply.error(429, "daily", {"limit_source": "openrouter_free_tier_daily"}), 429, "rate_limited", 1),
    (Reply.error(429, "slow", headers={"Retry-After": "0"}), 429, "rate_limited", 2),
    (Reply.error(408, "slow", headers={"Retry-After": "0"}), 504, "upstream_timeout", 2),
    (Reply.error(500, "oh", headers={"Retry-After": "0"}), 502, "upstream_unavailable", 2),
    (Reply.error(502, "oh", headers={"Retry-After": "0"}), 502, "upstream_unavailable", 2),
    (Reply.error(529, "full", headers={"Retry-After": "0"}), 503, "upstream_unavailable", 2),
    (Reply.raw(HTML, 503, {"Retry-After": "0"}), 503, "upstream_unavailable", 2),
    (Reply.raw(HTML, 524, {"Retry-After": "0"}), 504, "upstream_timeout", 2),
    (Reply.raw(HTML), 502, "upstream_protocol", 1),
    (Reply.raw(b"\x00\xff\xfe", content_type="application/octet-stream"), 502, "upstream_protocol", 1),
    (Reply.raw(b"null", content_type="application/json"), 502, None, None),
    (Reply.raw(b'{"choices": [', content_type="application/json"), 502, None, None),
    (Reply.json({"error": {"code": 400, "message": "x"}}), 400, "upstream_rejected", 1),
    (Reply.json({"error": {"code": 402, "message": "x"}}), 402, "insufficient_credits", 1),
    (Reply.raw(b"", 204), 502, None, None),
    (Reply.stream(event({"error": {"code": 402, "message": "no money"}, "choices": []})), 200, None, 1),
]


@pytest.mark.parametrize(("reply", "status", "type_", "requests"), REFUSALS)
async def test_a_refusal_before_the_stream_has_upstreams_status(
    upstream: Sandbox, api: Api, reply: Reply, status: int, type_: str | None, requests: int | None
) -> None:
    upstream.script_always(reply)
    response, events = await api.chat()
    asked = len(upstream.calls)
    assert response.status == status
    assert response.content_type == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert "X-Stream-Id" in response.headers
    found = failure_of(events)
    whole, same = await api.chat_whole()
    assert {key: same[key] for key in found} == found
    assert whole.status == same["status"] == checked(same)["status"]
    if status != 200:
        assert found["status"] == status
    if type_ is not None:
        assert found["type"] == type_
    if requests is not None:
        assert asked == requests


async def test_retry_after_is_passed_on_when_it_is_too_long_to_wait_for(upstream: Sandbox, api: Api) -> None:
    upstream.script_always(Reply.error(429, "slow", headers={"Retry-After": "120"}))
    response, events = await api.chat()
    assert (response.status, response.headers["Retry-After"]) == (429, "120")
    assert failure_of(events)["retry_after_s"] == 120
    whole, found = await api.chat_whole()
    assert (whole.status, whole.headers["Retry-After"]) == (429, "120")
    assert checked(found)["retryable"] is True
    assert len(upstream.calls) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply.raw(b"", content_type="text/event-stream"),
        Reply.raw(b"", content_type="application/json"),
        Reply.raw(b"   \n  ", content_type="application/json"),
        Reply.stream(COMMENT),
        Reply.stream(COMMENT, DONE),
    ],
)
async def test_an_empty_answer_is_an_error(upstream: Sandbox, api: Api, reply: Reply) -> None:
    upstream.script_always(reply)
    _, events = await api.chat()
    assert failure_of(events)["status"] == 502
    whole, found = await api.chat_whole()
    assert whole.status == 502
    assert "partial" not in checked(found)


async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(upstream: Sandbox, api: Api) -> None:
    async with open_sandbox() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            upstream.script(Reply.raw(b"", status, {"Location": f"{elsewhere.base_url}/chat/completions"}))
            response, events = await api.chat()
            assert response.status == 502
            assert "redirect" in failure_of(events)["error"]
        assert not elsewhere.requests


async def test_a_whole_completion_in_place_of_a_stream_is_an_answer(upstream: Sandbox, api: Api) -> None:
    message = {"role": "assistant", "content": "Because."}
    completion = {
        "id": "gen-7",
        "model": "acme/m",
        "provider": "Acme",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5},
    }
    for content_type in ("application/json", "text/plain", "text/html"):
        upstream.script(Reply.raw(json.dumps(completion).encode(), content_type=content_type))
        response, events = await api.chat()
        assert (response.status, text_of(events)) == (200, "Because.")
        assert events[-1].data["completed"] is True


async def test_connection_refused_is_tried_again_and_then_told(config: Config) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        async with serving(changed(config, "upstream", base_url=url)) as api:
            response, events = await api.chat()
    assert response.status == 502
    found = failure_of(events)
    assert (found["type"], found["retryable"]) == ("upstream_unavailable", True)
    assert "base_url" in found["error"]


async def test_a_host_that_does_not_exist_is_told(config: Config) -> None:
    no_host = changed(config, "upstream", base_url="http://no-such-host.invalid/v1", max_retries=0)
    async with serving(no_host) as api:
        response, events = await api.chat()
    assert response.status == 502
    assert failure_of(events)["type"] == "upstream_unavailable"


async def test_plain_http_on_a_tls_address_is_told(upstream: Sandbox, config: Config) -> None:
    url = upstream.base_url.replace("http:", "https:")
    async with serving(changed(config, "upstream", base_url=url, max_retries=0)) as api:
        response, events = await api.chat()
    assert response.status == 502
    assert failure_of(events)["type"] == "upstream_unavailable"


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_that_breaks_before_the_head_is_tried_again(
    upstream: Sandbox, api: Api, reset: bool
) -> None:
    broken = Reply.stream().after(HangUp(reset=reset))
    upstream.script(broken, Reply.stream(text("x"), STOP, END))
    _, events = await api.chat()
    assert text_of(events) == "x"
    upstream.script(broken, broken)
    response, events = await api.chat()
    assert (response.status, failure_of(events)["type"]) == (502, "upstream_unavailable")
    assert len(upstream.calls) == 4


async def test_what_is_no_http_is_told(config: Config) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP ready\r\n")
        await reader.read()
        writer.close()

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        async with serving(changed(config, "upstream", base_url=url, max_retries=0)) as api:
            response, events = await api.chat()
    assert response.status == 502
    failure_of(events)


@pytest.mark.parametrize("coding", ["gzip", "br", "nonsense"])
async def test_a_body_that_is_not_coded_as_it_says_is_one_error(upstream: Sandbox, api: Api, coding: str) -> None:
    steps = (text("x"), STOP, END)
    upstream.script_always(Reply(steps, headers={"Content-Encoding": coding}))
    _, events = await api.chat()
    if coding == "nonsense":  # unknown codings are taken as none
        assert text_of(events) == "x"
    else:
        failure = failure_of(events)
        assert (failure["type"], failure["retryable"]) == ("upstream_protocol", False)
        assert "content-encoding" in failure["error"].lower()


async def test_a_cut_inside_a_character_is_one_clean_error(upstream: Sandbox, api: Api) -> None:
    rocket = b'data: {"choices": [{"delta": {"content": "\xf0\x9f'
    upstream.script(Reply.stream(text("a"), rocket, HangUp()))
    _, events = await api.chat()
    assert failure_of(events, "start", "content")["type"] == "stream_interrupted"
    assert text_of(events) == "a"


async def test_a_line_above_the_cap_is_one_clean_error(upstream: Sandbox, config: Config) -> None:
    upstream.script(Reply.stream(text("a"), b"data: " + b"x" * 5000, Hold()))
    async with serving(changed(config, "upstream", max_event_bytes=2000)) as api:
        _, events = await api.chat()
    found = failure_of(events, "start", "content")
    assert found["type"] == "upstream_protocol"
    assert "max_event_bytes" in found["error"]
    assert upstream.calls[0].cancelled


async def test_a_json_body_above_the_cap_is_one_clean_error(upstream: Sandbox, config: Config) -> None:
    upstream.script(Reply.raw(b"{" + b" " * 5000, content_type="application/json"))
    async with serving(changed(config, "upstream", max_event_bytes=2000)) as api:
        response, events = await api.chat()
    assert (response.status, failure_of(events)["type"]) == (502, "upstream_protocol")


async def test_the_first_event_may_be_an_error_that_is_tried_again(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(COMMENT, BUSY), Reply.stream(text("x"), STOP, END))
    response, events = await api.chat()
    assert (response.status, text_of(events)) == (200, "x")
    assert [each.number for each in events] == list(range(1, len(events) + 1))
    assert len(upstream.calls) == 2


async def test_nothing_is_tried_again_after_an_event(upstream: Sandbox, api: Api) -> None:
    for broken in (BUSY, HangUp(), HangUp(reset=True)):
        upstream.calls.clear()
        upstream.script(Reply.stream(text("x"), broken))
        _, events = await api.chat()
        failure_of(events, "start", "content")
        assert len(upstream.calls) == 1


async def test_a_second_try_is_the_same_request(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.error(429, "slow", headers={"Retry-After": "0"}), Reply.stream(text("x"), STOP, END))
    await api.chat(temperature=0.5)
    first, second = upstream.calls
    assert first.body == second.body
    assert first.headers["Authorization"] == second.headers["Authorization"] == f"Bearer {KEY}"


async def test_without_a_key_none_is_sent_and_unset_headers_are_left_out(upstream: Sandbox, config: Config) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with serving(changed(config, "upstream", api_key=None)) as api:
        await api.chat()
    headers = upstream.calls[0].headers
    assert not {"Authorization", "HTTP-Referer", "X-Title", "X-OpenRouter-Title", "Cookie"} & set(headers)
    assert headers["Accept"] == "text/event-stream"
    assert headers["Content-Type"] == "application/json"


async def test_nothing_of_the_caller_but_the_body_goes_upstream(upstream: Sandbox, config: Config) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    body = json.dumps(question()).encode()
    private = {"Cookie": "session=1", "Authorization": "Bearer mine", "X_Forwarded_For": "127.0.0.1"}
    async with serving(changed(config, "server", trusted_proxies=("127.0.0.1",))) as api:
        await api.request("POST", "/chat", body, Content_Type="application/json", User_Agent="me", **private)
    headers = upstream.calls[0].headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert not {"Cookie", "X-Forwarded-For"} & set(headers)
    assert headers["User-Agent"] != "me"


# -- time limits ---------------------------------------------------------------------------------------------------


async def test_q97_silence_ends_by_the_idle_limit_and_upstream_is_closed(upstream: Sandbox, config: Config) -> None:
    upstream.script(
        Reply.stream(text("a"), Hold()),
        Reply.stream(Hold()),
        Reply.stream().after(Hold()),
    )
    async with serving(changed(config, "upstream", idle_timeout_s=0.1)) as api:
        _, events = await api.chat()
        found = failure_of(events, "start", "content")
        assert "idle_timeout_s" in found["error"]
        _, events = await api.chat()
        assert failure_of(events)["type"] == "upstream_timeout"
        response, events = await api.chat()
        assert (response.status, failure_of(events)["type"]) == (504, "upstream_timeout")
        assert len(upstream.calls) == 3
    assert all(call.cancelled for call in upstream.calls)


async def test_comments_count_as_life_for_the_idle_limit(upstream: Sandbox, config: Config) -> None:
    comments = [step for _ in range(8) for step in (COMMENT, Pause(0.1))]
    upstream.script(Reply.stream(*comments, text("x"), STOP, END))
    async with serving(changed(config, "upstream", idle_timeout_s=0.5)) as api:
        _, events = await api.chat()
    assert text_of(events) == "x"


async def test_q96_comments_alone_end_by_the_limit_for_events_with_pings_meanwhile(
    upstream: Sandbox, config: Config
) -> None:
    comments = [step for _ in range(200) for step in (COMMENT, Pause(0.05))]
    upstream.script(Reply.stream(*comments))
    quick = changed(changed(config, "upstream", timeout_s=0.4), "server", ping_interval_s=0.05)
    async with serving(quick) as api, api.http.post(f"{api.url}/chat", json=question()) as response:
        body = await response.read()
    assert body.count(b": ping\n\n") >= 2
    assert "timeout_s" in failure_of(parse_events(body))["error"]
    assert upstream.calls[0].cancelled


async def test_an_upstream_that_says_nothing_for_long_gets_a_200_pings_and_an_error_event(
    upstream: Sandbox, config: Config
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.error(402, "no money").after(Hold(go_on)))
    async with (
        serving(changed(config, "server", ping_interval_s=0.05)) as api,
        api.http.post(f"{api.url}/chat", json=question()) as response,
    ):
        assert response.status == 200
        assert await response.content.readexactly(8) == b": ping\n\n"
        go_on.set()
        events = parse_events(await response.read())
    assert failure_of(events)["status"] == 402
    assert "X-Generation-Id" not in response.headers


async def test_a_slow_answer_gets_pings_between_its_events(upstream: Sandbox, config: Config) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("a"), Hold(go_on), text("b"), STOP, END))
    async with (
        serving(changed(config, "server", ping_interval_s=0.05)) as api,
        api.http.post(f"{api.url}/chat", json=question()) as response,
    ):
        async with asyncio.timeout(5):
            body = await response.content.readuntil(b": ping\n\n")
        go_on.set()
        body += await response.read()
    assert text_of(parse_events(body)) == "ab"


# -- one JSON reply ------------------------------------------------------------------------------------------------


async def test_stream_false_gives_the_whole_answer(upstream: Sandbox, api: Api) -> None:
    upstream.script(
        Reply.stream(COMMENT, chunk({"reasoning": "Hm."}), text("Be"), text("cause."), STOP, END),
    )
    response, found = await api.chat_whole()
    assert response.status == 200
    assert response.content_type == "application/json"
    assert response.headers["X-Generation-Id"] == "gen-1"
    assert response.headers["Location"] == f"/chat/{response.headers['X-Stream-Id']}"
    usage = found.pop("usage")
    assert (usage["cost"], usage["settled"]) == (0.001, True)
    assert found == {
        "id": "gen-1",
        "model": "acme/m",
        "provider": "Acme",
        "content": "Because.",
        "reasoning": "Hm.",
        "reasoning_details": [],
        "refusal": None,
        "tool_calls": [],
        "annotations": [],
        "images": [],
        "finish_reason": "stop",
        "native_finish_reason": "stop",
    }
    assert upstream.calls[0].json["stream"] is True


@pytest.mark.parametrize("broken", [BUSY, HangUp(), HangUp(reset=True), b"data: {no json\n\n"])
async def test_an_answer_cut_in_the_middle_is_a_502_with_the_partial_answer(
    upstream: Sandbox, api: Api, broken: Any
) -> None:
    upstream.script(Reply.stream(text("Be"), broken))
    response, found = await api.chat_whole()
    assert response.status == 502
    assert checked(found)["partial"]["content"] == "Be"


async def test_stream_false_in_the_body_and_in_the_query_at_once(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with api.http.post(f"{api.url}/chat", json=question(stream=False)) as response:
        assert (await response.json())["content"] == "x"
    async with api.http.post(f"{api.url}/chat?stream=false", json=question(stream=True)) as response:
        assert response.status == 422

"""Messages where upstream speaks them: passed on and back as they are, with the rules of every stream around them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from client.sandbox import COMMENT, HangUp, Hold, Reply, Sandbox
from client.sandbox.protocols.messages import LEAKED
from client.sandbox.script import Step
from server.access.callers import Caller
from server.config import Config
from server.protocols.messages.view import PING
from tests.client.translation.foreign.test_messages import START, STOP, WHOLE, finish, opened, piece, text
from tests.server.budgets.test_usage import bearer, serving_for
from tests.support.chunks import END, chunk
from tests.support.messages import ASKED, ask, ask_whole, events_in, named, read_message, sent
from tests.support.serving import KEY, Api, changed, serving
from tests.support.sse_reader import parse_events, read_until

PATH = "/messages"
PATHS = ("/v1/messages", "/v1/messages?beta=true", "/v1//messages", "/api/v1/messages", "/api/v1//messages")
HELLO = (START, *text(0, "Hel", "lo"), finish(), STOP)
ERROR: dict[str, Any] = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
    "request_id": "req_1",
}


def passing(config: Config) -> Config:
    """The settings with an upstream that speaks Messages; nothing is tried again, answers can be read again."""
    config = changed(config, "upstream", protocols=("messages",), max_retries=0)
    return changed(changed(config, "streams", retain_s=60), "server", max_body_bytes=20_000)


@pytest.fixture
async def passed(config: Config) -> AsyncIterator[Api]:
    async with serving(passing(config)) as running:
        yield running


def script(upstream: Sandbox, *replies: Reply) -> None:
    upstream.script(*replies, path=PATH)


@pytest.mark.parametrize("path", PATHS)
async def test_events_come_back_byte_for_byte(path: str, passed: Api, upstream: Sandbox) -> None:
    """trap 15: what leaks behind the end is not passed on."""
    odd = b'event: content_block_delta\ndata: {"index":0, "type":  "content_block_delta","delta":{"type":"new"}}\n\n'
    events: tuple[dict[str, Any] | bytes, ...] = (START, opened(0, type="text", text=""), odd, *WHOLE[2:])
    script(upstream, sent(COMMENT, *events, COMMENT, LEAKED, named({"type": "ping"})))
    response, body = await ask(passed, path)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert response.headers["Request-Id"] == response.headers["X-Stream-Id"]
    assert body == b"".join(each if isinstance(each, bytes) else named(each) for each in events)
    assert upstream.calls[0].path == PATH


async def test_the_request_goes_on_as_it_is(passed: Api, upstream: Sandbox) -> None:
    script(upstream, sent(*HELLO), sent(*HELLO))
    more: dict[str, Any] = {
        "context_management": {"edits": []},
        "thinking": {"type": "adaptive"},
        "new_field": [1.5, None],
    }
    headers = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a-2025-01-01,b-2026-01-01",
        "x-api-key": "none",
        "X-Title": "Tests",
        "x-stainless-lang": "python",
        "x-claude-code-session-id": "s",
    }
    await ask(passed, headers=headers, **more)
    await ask_whole(passed, headers=headers, grace_s=0, **more)
    for call in upstream.calls:
        assert call.json == {**ASKED, "stream": True, **more}
        assert call.headers["Authorization"] == f"Bearer {KEY}"
        assert {name: call.headers.get(name) for name in headers} == {
            **{name: headers[name] for name in ("anthropic-version", "anthropic-beta", "X-Title")},
            **dict.fromkeys(("x-api-key", "x-stainless-lang", "x-claude-code-session-id")),
        }


async def test_without_a_model_it_is_the_servers(passed: Api, upstream: Sandbox) -> None:
    script(upstream, sent(*HELLO))
    await ask(passed, model=None)
    assert upstream.calls[0].json["model"] == "openai/gpt-4o-mini"


async def test_a_whole_message_is_made_of_the_events(passed: Api, upstream: Sandbox) -> None:
    page = {"type": "web_search_result_location", "url": "https://a.example", "cited_text": "so"}
    search = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}
    ends = {**finish("tool_use", server_tool_use={"web_search_requests": 1}), "context_management": {"edits": []}}
    script(
        upstream,
        sent(
            *WHOLE[:-2],
            opened(5, type="server_tool_use", id="s", name="web_search", input={}),
            piece(5, type="input_json_delta", partial_json='{"query": "x"}'),
            {"type": "content_block_stop", "index": 5},
            opened(6, **search),
            {"type": "content_block_stop", "index": 6},
            opened(7, type="text", text="", citations=[]),
            piece(7, type="citations_delta", citation=page),
            piece(7, type="text_delta", text="So."),
            {"type": "content_block_stop", "index": 7},
            ends,
            STOP,
        ),
    )
    response, found = await ask_whole(passed)
    assert response.status == 200
    assert response.headers["Request-Id"] == response.headers["X-Stream-Id"]
    assert found == {
        **START["message"],
        "content": [
            {"type": "thinking", "thinking": "Hmm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "Hi 🚀\u2028"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            search,
            {"type": "text", "text": "So.", "citations": [page]},
        ],
        "stop_reason": "tool_use",
        "context_management": {"edits": []},
        "usage": {**START["message"]["usage"], **ends["usage"]},
    }


@pytest.mark.parametrize("said", ['{"a', ""])
async def test_trap_6_a_cut_call_is_left_out_of_a_whole_message(said: str, passed: Api, upstream: Sandbox) -> None:
    call = opened(0, type="tool_use", id="t", name="f", input={})
    cut = piece(0, type="input_json_delta", partial_json=said)
    script(upstream, sent(START, call, cut, {"type": "content_block_stop", "index": 0}, finish("max_tokens"), STOP))
    _, found = await ask_whole(passed)
    assert (found["content"], found["stop_reason"]) == ([], "max_tokens")


@pytest.mark.parametrize(
    ("status", "error", "headers"),
    [
        (400, {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}, {}),
        (402, {"type": "billing_error", "message": "This request requires more credits", "odd": [1]}, {}),
        (404, {"type": "not_found_error", "message": "model: nothing"}, {}),
        (429, {"type": "rate_limit_error", "message": "slow  down\n"}, {"Retry-After": "7"}),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, {}),
    ],
)
async def test_refusals_come_back_unchanged(
    status: int, error: dict[str, Any], headers: dict[str, str], passed: Api, upstream: Sandbox
) -> None:
    """trap 8"""
    body = {"type": "error", "error": error, "request_id": "req_9"}
    script(upstream, Reply.json(body, status, headers), Reply.json(body, status, headers))
    response, said = await ask(passed)
    assert (response.status, json.loads(said)) == (status, body)
    whole, found = await ask_whole(passed)
    assert (whole.status, found) == (status, body)
    for each in (response, whole):
        assert each.headers.get("Retry-After") == headers.get("Retry-After")
    path = f"/v1/messages/{response.headers['X-Stream-Id']}"
    _, again = await passed.request("GET", f"{path}?stream=true")
    assert events_in(again) == [body]


async def test_that_our_key_is_not_accepted_is_no_fault_of_the_callers(passed: Api, upstream: Sandbox) -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": f"invalid x-api-key {KEY}"}}
    script(upstream, Reply.json(body, 401), Reply.json({**ERROR, "error": {**ERROR["error"], "message": KEY}}, 400))
    response, said = await ask(passed)
    assert response.status == 502
    assert json.loads(said)["error"]["type"] == "api_error"
    _, other = await ask(passed)
    assert KEY.encode() not in said + other


async def test_a_refusal_in_other_words_is_told_in_these(passed: Api, upstream: Sandbox) -> None:
    script(upstream, Reply.error(404, "No endpoints found"), Reply.raw(b"<html>no</html>", 502))
    response, body = await ask(passed)
    assert response.status == 404
    assert json.loads(body)["error"]["type"] == "not_found_error"
    assert "No endpoints found" in json.loads(body)["error"]["message"]
    response, body = await ask(passed)
    assert (response.status, json.loads(body)["error"]["type"]) == (502, "api_error")


async def test_what_is_too_large_for_upstream_is_told_as_such(passed: Api, upstream: Sandbox) -> None:
    script(upstream, Reply.error(413, "Too large"))
    response, found = await ask_whole(passed)
    assert (response.status, found["error"]["type"]) == (413, "request_too_large")


async def test_a_route_that_upstream_has_not_is_told_as_such(config: Config, upstream: Sandbox) -> None:
    config = changed(passing(config), "upstream", base_url=f"{upstream.base_url}/nothing")
    async with serving(config) as api:
        response, found = await ask_whole(api)
    assert response.status == 502
    assert "upstream.protocols" in found["error"]["message"]


@pytest.mark.parametrize(
    ("steps", "type_", "is_theirs"),
    [
        ((START, *text(0, "Hi"), ERROR, finish(), STOP), "overloaded_error", True),
        ((START, opened(0, type="text", text=""), HangUp()), "api_error", False),
        ((START, *text(0, "Hi")), "api_error", False),
        ((START, *text(0, "Hi"), b"data: [DONE]\n\n"), "api_error", False),
        ((START, b'event: content_block_start\ndata: {"type": "conte\n\n', finish(), STOP), "api_error", False),
        ((START, b'data: {"error": {"code": 429, "message": "slow"}}\n\n'), "rate_limit_error", False),
        ((START, b"event: error\ndata: lost\n\n"), "api_error", False),
        ((ERROR,), "overloaded_error", True),
        ((START, b'data: {"message": {"error": "lost"}}\n\n', STOP), "api_error", False),
    ],
)
async def test_trap_2_what_breaks_ends_with_an_error(
    steps: tuple[dict[str, Any] | Step, ...], type_: str, is_theirs: bool, passed: Api, upstream: Sandbox
) -> None:
    script(upstream, sent(*steps), sent(*steps))
    response, body = await ask(passed)
    assert response.status == 200
    message = read_message(body)
    assert message.error is not None
    assert message.error["type"] == type_
    assert body.endswith(named(ERROR)) == is_theirs
    response, found = await ask_whole(passed)
    assert response.status >= 400
    assert (found["type"], found["error"]["type"]) == ("error", type_)


async def test_an_upstream_that_speaks_chat_completions_instead_is_no_whole_answer(
    passed: Api, upstream: Sandbox
) -> None:
    """Its text could be told in no word of this protocol: the message would be an empty one, and look whole."""
    chunks = Reply.stream(chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}), END)
    script(upstream, chunks, chunks)
    error = read_message((await ask(passed))[1]).error
    assert error is not None
    assert "upstream.protocols" in error["message"]
    response, found = await ask_whole(passed)
    assert (response.status, found["error"]["metadata"]["type"]) == (502, "upstream_protocol")


@pytest.mark.parametrize("status", [200, 503])
async def test_trap_3_an_error_in_a_body_is_a_refusal(status: int, passed: Api, upstream: Sandbox) -> None:
    script(upstream, Reply.json(ERROR, status), Reply.json(ERROR, status))
    response, body = await ask(passed)
    assert response.status == 503
    assert json.loads(body)["error"]["message"] == "Overloaded"
    assert (await ask_whole(passed))[0].status == 503


async def test_a_message_in_place_of_a_stream_is_streamed(passed: Api, upstream: Sandbox) -> None:
    whole = {
        **START["message"],
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 7, "output_tokens": 5},
    }
    script(upstream, Reply.json(whole), Reply.json(whole))
    message = read_message((await ask(passed))[1])
    assert message.texts("text", "text") == "Hi"
    assert (message.stop_reason, message.usage["output_tokens"]) == ("tool_use", 5)
    assert (await ask_whole(passed))[1] == whole


async def test_an_end_that_is_not_marked_is_one_all_the_same(passed: Api, upstream: Sandbox) -> None:
    script(upstream, sent(*HELLO[:-1]))
    assert read_message((await ask(passed))[1]).stop_reason == "end_turn"


async def test_the_same_answer_in_other_words(passed: Api, upstream: Sandbox) -> None:
    """As typed events, as one JSON, as chunks, and as a message again."""
    script(upstream, sent(*WHOLE))
    response, body = await ask(passed)
    stream_id = response.headers["X-Stream-Id"]
    _, typed = await passed.request("GET", f"/chat/{stream_id}")
    events = parse_events(typed)
    assert "".join(event.data["text"] for event in events if event.name == "content") == "Hi 🚀\u2028"
    assert [event.data["name"] for event in events if event.name == "tool_call"] == ["f", "g"]
    assert next(event.data["total_cost"] for event in events if event.name == "usage") == 0.25
    _, whole = await passed.request("GET", f"/v1/chat/completions/{stream_id}")
    assert json.loads(whole)["choices"][0]["message"]["reasoning"] == "Hmm"
    for name in (stream_id, f"msg_{stream_id}"):
        _, again = await passed.request("GET", f"/v1/messages/{name}?stream=true")
        assert again == body
    _, found = await passed.request("GET", "/v1/messages/nothing")
    assert json.loads(found)["error"]["type"] == "not_found_error"


async def test_one_that_is_stopped_is_not_whole(passed: Api, upstream: Sandbox) -> None:
    script(upstream, sent(START, opened(0, type="text", text=""), Hold()))
    async with passed.http.post(passed.url + "/v1/messages", json={**ASKED, "stream": True}) as response:
        begun = await read_until(response, b"content_block_start")
        await passed.request("DELETE", f"/chat/{response.headers['X-Stream-Id']}")
        message = read_message(begun + await response.read())
    assert message.error is not None
    assert message.error["metadata"]["type"] == "stream_interrupted"


@pytest.mark.parametrize("streamed", [True, False])
async def test_trap_9_leaving_closes_upstream(streamed: bool, passed: Api, upstream: Sandbox) -> None:
    script(upstream, sent(START, opened(0, type="text", text=""), Hold()))
    asked = asyncio.create_task(passed.http.post(passed.url + "/v1/messages", json={**ASKED, "stream": streamed}))
    call = await upstream.wait_call(0)
    await call.started.wait()
    if streamed:
        (await asked).close()
    else:
        asked.cancel()
    async with asyncio.timeout(1):
        await call.closed.wait()
    assert call.cancelled


async def test_silences_have_pings(config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    script(upstream, sent(COMMENT, Hold(go_on), *HELLO))
    async with (
        serving(changed(passing(config), "server", ping_interval_s=0.01)) as api,
        api.http.post(api.url + "/v1/messages", json={**ASKED, "stream": True}) as response,
    ):
        silence = await read_until(response, PING * 3)
        go_on.set()
        body = silence + await response.read()
    assert read_message(body).texts("text", "text") == "Hello"
    assert b"\n: ping" not in body


async def test_it_is_tried_again_before_the_first_event(config: Config, upstream: Sandbox) -> None:
    script(upstream, Reply.json(ERROR, 529, {"Retry-After": "0"}), sent(ERROR), sent(*HELLO))
    async with serving(changed(passing(config), "upstream", max_retries=2)) as api:
        assert read_message((await ask(api))[1]).texts("text", "text") == "Hello"
    assert [call.path for call in upstream.calls] == [PATH] * 3


async def test_the_same_key_reads_the_same_answer(passed: Api, upstream: Sandbox) -> None:
    script(upstream, sent(*HELLO))
    headers = {"Idempotency-Key": "k" * 22}
    first, body = await ask(passed, headers=headers)
    again, same = await ask(passed, headers=headers)
    assert (again.headers["X-Stream-Id"], same) == (first.headers["X-Stream-Id"], body)
    assert (await ask_whole(passed, headers=headers))[1]["content"][0]["text"] == "Hello"
    assert len(upstream.calls) == 1


async def test_budgets_and_models_hold(config: Config, upstream: Sandbox) -> None:
    script(upstream, sent(*HELLO[:-2], finish(cost=0.9), STOP))
    ann = Caller("ann", models=("sandbox/*",), budget_usd_per_day=Decimal(1))
    async with serving_for(passing(config), ann) as api:
        response, body = await ask(api, headers=bearer("ann"))
        assert response.status == 403
        assert json.loads(body)["error"]["type"] == "permission_error"
        response, _ = await ask(api, headers=bearer("ann"), model="sandbox/echo", fallbacks=[{"model": "a/b"}])
        assert response.status == 403
        response, _ = await ask(api, headers={"x-api-key": "secret-of-ann"}, model="sandbox/echo")
        assert response.status == 200
        response, body = await api.request("GET", "/v1/key", **bearer("ann"))
        assert json.loads(body)["data"]["usage"] == 0.9
        response, body = await api.request("POST", "/v1/messages", b"{}")
        assert (response.status, json.loads(body)["error"]["type"]) == (401, "authentication_error")

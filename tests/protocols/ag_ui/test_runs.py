"""Runs over sockets: how they begin, fail, are left, stopped and read again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import COMMENT, HangUp, Hold, Reply, Sandbox
from client.streams.names import LONGEST_NAME
from server.config import Config
from tests.protocols.ag_ui.reading import RUN, check_order, parse, run, said_by
from tests.protocols.ag_ui.test_view import expected
from tests.protocols.wire_cases import CASES
from tests.support.chunks import END, STOP, call, calls, chunk, text
from tests.support.serving import Api, changed, serving, with_tokens
from tests.support.sse_reader import parse_events, read_until, text_of

RESUMABLE = {"X-Run-Id": "r1"}


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again; answers go on for a while, and can be read again."""
    config = changed(changed(config, "upstream", max_retries=0), "streams", grace_s=60, retain_s=60)
    async with serving(config) as running:
        yield running


async def test_runs_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, events = await run(once)
        assert said_by(events) == expected(case.said), name
        assert events[0] == {"type": "RUN_STARTED", "threadId": "t1", "runId": "r1", "protocolVersion": "1.0"}
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-Request-Id"] == response.headers["X-Stream-Id"]


async def test_a_run_event_by_event(once: Api, upstream: Sandbox) -> None:
    thought = {"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s"}
    upstream.script(
        Reply.stream(
            chunk({"reasoning": "hm", "reasoning_details": [thought]}),
            text("Hi"),
            calls(call(0, "{}", "f", "c1")),
            chunk({}, "tool_calls"),
            END,
        )
    )
    response, events = await run(once)
    prefix = events[1]["messageId"].removesuffix("1")
    thinking, speaking = {"messageId": prefix + "1"}, {"messageId": prefix + "2"}
    kept = {"subtype": "message", "entityId": prefix + "1", "encryptedValue": json.dumps([thought])}
    kept["encryptedValue"] = kept["encryptedValue"].replace(", ", ",").replace(": ", ":")
    assert events == [
        {"type": "RUN_STARTED", "threadId": "t1", "runId": "r1", "protocolVersion": "1.0"},
        {"type": "REASONING_START", **thinking},
        {"type": "REASONING_MESSAGE_START", **thinking, "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", **thinking, "delta": "hm"},
        {"type": "REASONING_MESSAGE_END", **thinking},
        {"type": "REASONING_END", **thinking},
        {"type": "TEXT_MESSAGE_START", **speaking, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", **speaking, "delta": "Hi"},
        {"type": "TEXT_MESSAGE_END", **speaking},
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "f", "parentMessageId": prefix + "2"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {"type": "REASONING_ENCRYPTED_VALUE", **kept},
        {"type": "CUSTOM", "name": "openrouter.usage", "value": events[13]["value"]},
        {
            "type": "RUN_FINISHED",
            "threadId": "t1",
            "runId": "r1",
            "outcome": {"type": "success", "pendingToolCallIds": ["c1"]},
            "usage": [{"provider": "Acme", "model": "acme/m", "inputTokens": 3, "outputTokens": 2, "totalTokens": 5}],
        },
    ]
    assert events[13]["value"]["cost"] == events[13]["value"]["total_cost"] == 0.001
    _, typed = await once.request("GET", f"/chat/{response.headers['X-Stream-Id']}")
    assert text_of(parse_events(typed)) == "Hi"
    _, listed = await once.request("GET", "/chat")
    assert json.loads(listed)["data"][0]["protocol"] == "ag-ui"


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "type_"), [(402, "insufficient_credits"), (403, "moderation"), (429, "rate_limited")]
)
async def test_a_refusal_of_upstream_is_a_status(status: int, type_: str, once: Api, upstream: Sandbox) -> None:
    reasons = {"reasons": ["x"], "flagged_input": "y"} if status == 403 else {}
    upstream.script(Reply.error(status, "No", reasons, headers={"Retry-After": "60"} if status == 429 else {}))
    async with once.http.post(f"{once.url}/ag-ui", json=RUN) as response:
        found = await response.json()
    assert (response.status, found["type"], found["status"]) == (status, type_, status)
    assert "No" in found["error"]
    if status == 429:
        assert (response.headers["Retry-After"], response.headers["x-should-retry"]) == ("60", "false")


async def test_a_refusal_after_the_first_ping_is_an_event(config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.error(402, "No credit").after(Hold(go_on)))
    async with (
        serving(changed(config, "server", ping_interval_s=0.02)) as api,
        api.http.post(f"{api.url}/ag-ui", json=RUN) as response,
    ):
        await read_until(response, b": ping")
        go_on.set()
        events = [event for _, event in parse(b": ping\n\n" + await response.read())]
    check_order(events)
    assert (events[-1]["code"], len(events)) == ("insufficient_credits", 2)
    assert events[-1]["rawEvent"]["status"] == 402


async def test_trap_3_an_error_under_200_is_a_refusal(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.json({"error": {"code": 402, "message": "No"}}))
    async with once.http.post(f"{once.url}/ag-ui", json=RUN) as response:
        assert response.status == 402


async def test_trap_1_silence_is_filled_with_comments_alone(config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(COMMENT, Hold(go_on), text("Hi"), STOP, END))
    async with (
        serving(changed(config, "server", ping_interval_s=0.02)) as api,
        api.http.post(f"{api.url}/ag-ui", json=RUN, headers=RESUMABLE) as response,
    ):
        body = b""
        while body.count(b": ping\n\n") < 40:
            body += await response.content.readany()
        go_on.set()
        body += await response.read()
    check_order([event for _, event in parse(body)])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no ids": ({"threadId": None, "runId": ""}, "runId"),
    "an endless id": ({"threadId": "x" * (LONGEST_NAME + 1)}, "threadId"),
    "no messages": ({"messages": None}, "messages"),
    "nothing to answer": ({"messages": []}, "messages"),
    "a role of others": ({"messages": [{"role": "robot", "content": ""}]}, "messages.0.role"),
    "no text": ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    "no source": ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0.content.0.source"),
    "a call that is none": ({"messages": [{"role": "assistant", "toolCalls": [5]}]}, "messages.0.toolCalls.0"),
    "a result of nothing": ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.toolCallId"),
    "no tool": ({"tools": ["x"]}, "tools.0"),
    "no grace": ({"forwardedProps": {"grace_s": "long"}}, "forwardedProps.grace_s"),
}


@pytest.mark.parametrize("name", BAD)
async def test_input_that_cannot_be_taken_is_a_400_that_names_it(name: str, once: Api, upstream: Sandbox) -> None:
    more, where = BAD[name]
    async with once.http.post(f"{once.url}/ag-ui", json={**RUN, **more}) as response:
        found = await response.json()
    assert (response.status, found["status"], found["type"]) == (400, 400, "invalid_request")
    assert where in [detail["where"] for detail in found["details"]]
    assert not upstream.calls


async def test_other_refusals_have_the_same_shape(once: Api) -> None:
    for method, path, status in (
        ("POST", "/ag-ui", 400),
        ("DELETE", "/ag-ui", 405),
        ("GET", "/ag-ui", 400),
        ("GET", "/ag-ui/agents", 404),
        ("GET", "/ag-ui?runId=nobody&offset=-1", 404),
        ("GET", "/ag-ui?runId=nobody&offset=nowhere", 400),
    ):
        response, body = await once.request(
            method, path, b"{" if method == "POST" else None, Content_Type="application/json"
        )
        found = json.loads(body)
        assert (response.status, found["status"]) == (status, status), path
        assert isinstance(found["error"], str)
    for headers in ({"X-Run-Id": "x" * (LONGEST_NAME + 1)}, {"Last-Event-ID": "odd"}, {"X-Stream-Grace": "soon"}):
        async with once.http.post(f"{once.url}/ag-ui", json=RUN, headers=headers) as response:
            assert response.status == 400


# -- leaving and stopping -----------------------------------------------------------------------------------------


async def test_trap_9_whoever_leaves_a_plain_run_ends_it(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("a"), text("b"), text("c"), Hold()))
    response = await once.http.post(f"{once.url}/ag-ui", json=RUN)
    await read_until(response, b'"c"')
    response.close()
    call = await upstream.wait_call(0)
    async with asyncio.timeout(1):
        await call.closed.wait()
    assert call.cancelled


async def test_a_stop_from_outside_is_an_outcome(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), calls(call(0, '{"a', "f", "c1")), Hold()))
    async with once.http.post(f"{once.url}/ag-ui", json=RUN) as response:
        body = await read_until(response, b"TOOL_CALL_ARGS")
        await once.request("DELETE", response.headers["Location"])
        body += await response.read()
    events = [event for _, event in parse(body)]
    check_order(events)
    assert events[-1]["outcome"] == {"type": "cancelled"}


# -- reading again ------------------------------------------------------------------------------------------------


async def test_trap_12_a_run_is_read_on_by_the_same_request_and_begun_once(once: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    response = await once.http.post(f"{once.url}/ag-ui", json=RUN, headers=RESUMABLE)
    began = parse((await read_until(response, b"Hel")).rpartition(b"\n\n")[0] + b"\n\n")
    response.close()
    _, active = await once.request("GET", "/ag-ui?threadId=t1&limit=50")
    assert json.loads(active) == {"messages": [], "activeRun": {"runId": "r1"}, "interrupts": []}
    last = began[-1][0]
    again = await once.http.post(f"{once.url}/ag-ui", json=RUN, headers={**RESUMABLE, "Last-Event-ID": str(last)})
    joined = await once.http.get(f"{once.url}/ag-ui?offset=-1&runId=r1")
    go_on.set()
    rest, whole = parse(await again.read()), parse(await joined.read())
    assert [*began, *rest] == whole
    assert len({each for each, _ in whole}) == len(whole)
    assert said_by([event for _, event in whole]).text == "Hello"
    check_order([event for _, event in whole])
    assert len(upstream.calls) == 1
    _, idle = await once.request("GET", "/ag-ui?threadId=t1")
    assert json.loads(idle)["activeRun"] is None
    _, ended = await once.request("GET", f"/ag-ui?runId=r1&offset={whole[-2][0]}")
    assert parse(ended) == whole[-1:]
    _, nothing = await once.request("GET", "/ag-ui?runId=r1", Last_Event_ID=str(whole[-1][0]))
    assert nothing == b""


async def test_names_are_each_callers_own_and_an_id_that_is_used_again_starts_anew(
    config: Config, upstream: Sandbox
) -> None:
    """trap 11, of runs and threads"""
    config = with_tokens(changed(config, "streams", grace_s=60, retain_s=60), "one" * 11, "two" * 11)
    upstream.script(Reply.stream(text("1"), END), Reply.stream(text("2"), END), Reply.stream(text("3"), Hold()))
    one, two = ({"Authorization": f"Bearer {token * 11}"} for token in ("one", "two"))
    async with serving(config) as api:
        first, _ = await run_with_ids(api, one)
        await run_with_ids(api, one)
        assert await text_of_run(api, one, "r1") == "2"
        assert await text_of_run(api, one, first.headers["X-Stream-Id"]) == "1"
        for query in ("runId=r1", f"runId={first.headers['X-Stream-Id']}"):
            async with api.http.get(f"{api.url}/ag-ui?offset=-1&{query}", headers=two) as response:
                assert response.status == 404
        stolen = {**two, **RESUMABLE, "Last-Event-ID": f"{first.headers['X-Stream-Id']}:1"}
        async with api.http.post(f"{api.url}/ag-ui", json=RUN, headers=stolen) as response:
            assert response.status == 404
        running = await api.http.post(f"{api.url}/ag-ui", json=RUN, headers={**one, **RESUMABLE})
        async with api.http.get(f"{api.url}/ag-ui?threadId=t1", headers=two) as response:
            assert (await response.json())["activeRun"] is None
        async with api.http.get(f"{api.url}/ag-ui?threadId=t1", headers=one) as response:
            assert (await response.json())["activeRun"] == {"runId": "r1"}
        await api.streams.stop_all("cancelled")
        running.close()
        api.streams.configure(config.streams.model_copy(update={"retain_s": 0}))
        assert len(api.streams.names) == 0


async def run_with_ids(api: Api, headers: dict[str, str]) -> tuple[Any, list[Any]]:
    async with api.http.post(f"{api.url}/ag-ui", json=RUN, headers={**headers, **RESUMABLE}) as response:
        return response, parse(await response.read())


async def text_of_run(api: Api, headers: dict[str, str], run_id: str) -> str:
    async with api.http.get(f"{api.url}/ag-ui?offset=-1&runId={run_id}", headers=headers) as response:
        return said_by([event for _, event in parse(await response.read())]).text


async def test_an_answer_that_began_in_other_words_is_a_run_too(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), HangUp()))
    response, _ = await once.chat()
    stream_id = response.headers["X-Stream-Id"]
    _, body = await once.request("GET", f"/ag-ui?offset=-1&runId={stream_id}")
    events = [event for _, event in parse(body)]
    check_order(events)
    assert (events[0]["runId"], said_by(events).text, events[-1]["code"]) == (stream_id, "Hi", "stream_interrupted")


async def test_only_who_can_come_back_gets_ids_grace_and_calls_to_run(once: Api, upstream: Sandbox) -> None:
    stream = Reply.stream(calls(call(0, '{"a": 1}', "f", "c1")), chunk({}, "tool_calls"), END)
    upstream.script(stream, stream, Reply.stream(text("a"), Hold()), Reply.stream(text("a"), Hold()))
    async with once.http.post(f"{once.url}/ag-ui", json=RUN) as response:
        plain = parse(await response.read())
    assert {each for each, _ in plain} == {None}
    assert "tool-input-available" not in [event.get("name") for _, event in plain]
    _, found = await run_with_ids(once, {})
    (given,) = [event["value"] for _, event in found if event.get("name") == "tool-input-available"]
    assert given == {"toolCallId": "c1", "toolName": "f", "input": {"a": 1}}
    for headers, grace_s in ((RESUMABLE, 60), ({"X-Stream-Grace": "7"}, 7)):
        response = await once.http.post(f"{once.url}/ag-ui", json=RUN, headers=headers)
        stream_id = response.headers["X-Stream-Id"]
        kept = once.streams.get(stream_id, "local")
        assert kept is not None
        assert kept.grace_s == grace_s
        await once.request("DELETE", f"/chat/{stream_id}")
        response.close()

"""An upstream that speaks Responses itself: its events as they came, under our ids, numbers and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import COMMENT, HangUp, Hold, Reply, Sandbox
from client.sandbox.state import RESPONSES_PATH
from server.config import Config
from server.protocols.responses.reasoning import sealed
from server.protocols.responses.view import view_of
from tests.protocols.responses.test_wire_table import assert_says
from tests.protocols.test_wire_cases import said_by
from tests.protocols.wire_cases import BREAKS, CASES
from tests.streams.test_raw_log import Both
from tests.support.chunks import DONE
from tests.support.responses import ASKED, Kept, Reader, asking, events_in, respond, response_in, texts_in
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import parse_events, read_until

NAMESPACE = {"type": "namespace", "name": "shell", "tools": [{"type": "function", "name": "exec"}]}
CUSTOM = {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}


@pytest.fixture
async def passing(config: Config) -> AsyncIterator[Api]:
    """A server whose upstream speaks Responses."""
    config = changed(config, "upstream", max_retries=0, protocols=("responses",))
    async with serving(changed(config, "streams", grace_s=600, max_grace_s=600, retain_s=60)) as running:
        yield running


def told(body: bytes) -> bytes:
    """A stream of chat completions as upstream would tell it in Responses: with ids and numbers of its own."""
    view = view_of(Kept(holds_chunks=True))
    events = view.view(Both().receive(body).end().records)
    return COMMENT + events.replace(b'"resp_s"', b'"gen-1"').replace(b'"sequence_number":', b'"sequence_number":10')


def frame(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


async def test_what_upstream_says_is_passed_on_and_read_as_anything_else(passing: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        if name in BREAKS or case.said.error is not None:
            continue
        reply = Reply.stream(told(case.body), DONE, frame("response.output_text.delta", delta="leaked"))
        upstream.script(reply, reply, path=RESPONSES_PATH)
        response, body = await respond(passing)
        assert response.status == 200, body
        read = Reader().read(events_in(body)).response
        assert read is not None, name
        assert_says(read, case.said, name)
        path = f"/v1/responses/{read['id']}"
        _, found = await passing.request("GET", path)
        assert json.loads(found) == read, name
        _, again = await passing.request("GET", f"{path}?stream=true&starting_after=1")
        assert events_in(again, 1) == events_in(body)[2:]
        _, typed = await passing.request("GET", f"/chat/{response.headers['X-Stream-Id']}")
        events = parse_events(typed)
        assert [each.name for each in events][-1] == "done"
        found_said = said_by(events)
        assert (found_said.text, found_said.thinking, found_said.calls) == (
            case.said.text,
            case.said.thinking,
            case.said.calls,
        ), name
        assert (found_said.refusal, found_said.images) == (case.said.refusal, case.said.images), name
        assert found_said.total_tokens == case.said.total_tokens, name
        response, whole = await respond(passing, ASKED)
        assert response.status == 200
        assert texts_in(response_in(json.loads(whole))) == case.said.text


async def test_the_request_goes_on_as_it_is_but_for_what_upstream_does_not_keep(
    passing: Api, upstream: Sandbox
) -> None:
    upstream.script_always(Reply.stream(told(CASES["Q17 content with finish"].body), DONE), path=RESPONSES_PATH)
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "Z0FB"}
    ours = sealed([{"type": "reasoning.encrypted", "data": "inner", "index": 0}])
    body = {
        "input": [{"role": "user", "content": "Why?"}, foreign, {**foreign, "encrypted_content": ours}],
        "tools": [NAMESPACE, CUSTOM, {"type": "web_search"}],
        "include": ["reasoning.encrypted_content"],
        "odd": {"kept": 1},
        "text": {"verbosity": "low"},
        "prompt": {"id": "p"},
    }
    asked = {
        **body,
        "client_metadata": {"a": "b"},
        "background": True,
        "store": True,
        "grace_s": 5,
        "stream": True,
        "previous_response_id": None,
    }
    response, answered = await respond(passing, asked)
    assert response.status == 200
    sent = upstream.calls[0].json
    body["input"][2] = {**foreign, "encrypted_content": "inner"}  # type: ignore[index]
    assert sent == {**body, "model": sent["model"], "stream": True}
    assert upstream.calls[0].path == RESPONSES_PATH
    for _, data in events_in(answered):
        if "response" in data:
            assert (data["response"]["background"], data["response"]["store"]) == (True, True)
            assert data["response"]["id"] == f"resp_{response.headers['X-Stream-Id']}"
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    plain = {"role": "assistant", "content": "Hi"}
    await respond(passing, {**asked, "input": [said, call, {**call, "id": "fc_x", "status": "incomplete"}, plain]})
    assert upstream.calls[1].json["input"] == [
        {"type": "message", "id": "msg_0", "status": "completed", **said},
        {"id": "fc_1", "status": "completed", **call},
        {**call, "id": "fc_x", "status": "incomplete"},
        plain,
    ]
    for wrong, field in ((None, "input"), ([], "input")):
        refused, error = await respond(passing, {**asked, "input": wrong})
        assert (refused.status, json.loads(error)["error"]["param"]) == (400, field)
    refused, error = await respond(passing, {**asked, "previous_response_id": "resp_1"})
    assert (refused.status, json.loads(error)["error"]["param"]) == (400, "previous_response_id")


ITEM = {"id": "ct_1", "type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"}


async def test_what_upstream_has_said_here_may_be_referred_to(passing: Api, upstream: Sandbox) -> None:
    reply = Reply.stream(told(CASES["Q45 empty pieces"].body), DONE)
    upstream.script_always(reply, path=RESPONSES_PATH)
    _, body = await respond(passing)
    read = Reader().read(events_in(body)).response
    assert read is not None
    (call,) = read["output"]
    for reference in ({"type": "item_reference", "id": call["id"]}, {"id": call["id"]}):
        await respond(passing, asking(input=[{"role": "user", "content": "Why?"}, reference]))
        assert upstream.calls[-1].json["input"][1] == call
    gone = {"type": "item_reference", "id": "fc_elsewhere"}
    await respond(passing, asking(input=[gone]))
    assert upstream.calls[-1].json["input"] == [gone]


async def test_events_that_nobody_here_knows_pass(passing: Api, upstream: Sandbox) -> None:
    head = {"id": "gen-1", "object": "response", "status": "in_progress", "model": "acme/m", "output": []}
    sent: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"sequence_number": 0, "response": head}),
        ("response.in_progress", {"sequence_number": 1, "response": head}),
        ("response.debug", {"sequence_number": 2, "debug": {"a": 1.0}}),
        ("response.output_item.added", {"sequence_number": 3, "output_index": 0, "item": {**ITEM, "input": ""}}),
        ("response.custom_tool_call_input.delta", {"sequence_number": 5, "output_index": 0, "delta": "*** Begin"}),
        ("response.output_item.done", {"output_index": 0, "item": ITEM}),
        ("response.completed", {"response": {**head, "status": "completed", "output": [ITEM], "usage": None}}),
    ]
    upstream.script(Reply.stream(*(frame(kind, **fields) for kind, fields in sent), DONE), path=RESPONSES_PATH)
    response, body = await respond(passing)
    found = events_in(body)
    assert [kind for kind, _ in found] == [kind for kind, _ in sent]
    for (_, fields), (_, data) in zip(sent, found, strict=True):
        if "response" not in fields:
            assert data == {name: value for name, value in fields.items() if name != "sequence_number"}
    stream_id = response.headers["X-Stream-Id"]
    _, whole = await passing.request("GET", f"/v1/responses/{stream_id}")
    assert response_in(json.loads(whole))["output"] == [ITEM]
    _, typed = await passing.request("GET", f"/chat/{stream_id}")
    (call,) = [each.data for each in parse_events(typed) if each.name == "tool_call"]
    assert (call["name"], call["arguments"], call["complete"]) == ("apply_patch", '{"input":"*** Begin"}', True)


BEGUN = told(CASES["Q17 content with finish"].body)
HALF = BEGUN[: BEGUN.index(b"event: response.output_text.done")]
FAILED = {"code": "rate_limit_exceeded", "message": "Slow down"}


def failed(**beside: Any) -> bytes:
    response = {"id": "gen-1", "object": "response", "status": "failed", "error": FAILED, "output": [], "model": "m"}
    return frame("response.failed", sequence_number=9, response={**response, **beside.pop("more", {})}, **beside)


ENDS: dict[str, tuple[list[Any], str, str]] = {
    "cut": ([HALF, HangUp()], "server_error", "in the middle"),
    "reset": ([HALF, HangUp(reset=True)], "server_error", "in the middle"),
    "ended": ([HALF], "server_error", "in the middle"),
    "ended as chat completions do": ([HALF, DONE], "server_error", "in the middle"),
    "failed": ([HALF, failed(error_type="rate_limit_exceeded"), DONE], "rate_limit_exceeded", "Slow down"),
    "error": ([HALF, frame("error", **FAILED, param=None), DONE], "rate_limit_exceeded", "Slow down"),
    "bare": ([HALF, b'data: {"error":{"code":502,"message":"lost"}}\n\n'], "server_error", "lost"),
    "unreadable": ([HALF, b"data: {\n\n", HangUp()], "server_error", ""),
}


@pytest.mark.parametrize("name", ENDS)
async def test_trap_2_what_breaks_off_ends_as_failed(name: str, passing: Api, upstream: Sandbox) -> None:
    steps, code, words = ENDS[name]
    upstream.script(Reply.stream(*steps), Reply.stream(*steps), path=RESPONSES_PATH)
    response, body = await respond(passing)
    assert response.status == 200
    events = events_in(body)
    assert [kind for kind, _ in events].count("response.failed") == 1
    kind, last = events[-1]
    assert kind == "response.failed"
    found = last["response"]
    assert (found["status"], found["error"]["code"]) == ("failed", code)
    assert words in found["error"]["message"]
    assert any(kind == "response.output_text.delta" for kind, _ in events)
    _, again = await passing.request("GET", f"/v1/responses/{found['id']}")
    told_again = response_in(json.loads(again))
    assert (told_again["status"], told_again["error"]["code"]) == ("failed", code)
    refused, error = await respond(passing, ASKED)
    assert refused.status >= 400
    assert json.loads(error).keys() == {"error"}


async def test_a_failure_before_any_event_has_its_beginning(passing: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(COMMENT, Hold(go_on), HangUp()), path=RESPONSES_PATH)
    async with passing.http.post(f"{passing.url}/v1/responses", json=asking()) as response:
        go_on.set()
        read = Reader().read(events_in(await response.read())).response
    assert read is not None
    assert read["status"] == "failed"


async def test_trap_8_a_refusal_keeps_its_status_and_words(passing: Api, upstream: Sandbox) -> None:
    for status, code in ((402, "insufficient_quota"), (429, "rate_limit_exceeded")):
        body = {"error": {"code": status, "message": "Not now"}, "metadata": {"error_type": "x"}}
        upstream.script_always(Reply.json(body, status), path=RESPONSES_PATH)
        for asked in (ASKED, asking(), asking(background=True)):
            response, refusal = await respond(passing, asked)
            assert (response.status, json.loads(refusal)["error"]["code"]) == (status, code)
            assert "Not now" in json.loads(refusal)["error"]["message"]
        _, found = await passing.request("GET", f"/v1/responses/{response.headers['X-Stream-Id']}")
        assert response_in(json.loads(found))["status"] == "failed"


async def test_trap_10_a_background_answer_of_such_an_upstream_is_resumed(passing: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    rest = BEGUN.removeprefix(HALF)
    upstream.script(Reply.stream(HALF, Hold(go_on), rest, DONE), path=RESPONSES_PATH)
    response = await passing.http.post(f"{passing.url}/v1/responses", json=asking(background=True))
    body = await read_until(response, b"output_text.delta")
    response.close()
    events = events_in(body)
    path = f"/v1/responses/{events[0][1]['response']['id']}"
    _, found = await passing.request("GET", path)
    so_far = response_in(json.loads(found))
    assert (so_far["status"], so_far["background"], texts_in(so_far)) == ("in_progress", True, "Hi")
    go_on.set()
    last = len(events) - 1
    _, more = await passing.request("GET", f"{path}?stream=true&starting_after={last}")
    read = Reader().read([*events, *events_in(more, last)]).response
    assert read is not None
    assert texts_in(read) == "Hi"


async def test_a_cancelled_answer_says_so(passing: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(HALF, Hold()), path=RESPONSES_PATH)
    async with passing.http.post(f"{passing.url}/v1/responses", json=asking(background=True)) as response:
        body = await read_until(response, b"output_text.delta")
        path = f"/v1/responses/{response.headers['X-Stream-Id']}"
        _, found = await passing.request("POST", f"{path}/cancel")
        body += await response.read()
    cancelled = response_in(json.loads(found))
    assert cancelled["status"] == "cancelled"
    assert events_in(body)[-1] == ("response.failed", {"response": cancelled})


@pytest.fixture
async def sandboxed(config: Config) -> AsyncIterator[Api]:
    """A server before the sandbox's own Responses."""
    config = changed(config, "upstream", max_retries=0, protocols=("responses",))
    config = changed(config, "server", max_body_bytes=100_000)
    async with serving(changed(config, "streams", retain_s=60)) as running:
        yield running


FAST = {"tokens_per_s": 0}
TOOL = {
    "type": "function",
    "name": "get_tide",
    "parameters": {"type": "object", "properties": {"p": {"type": "string"}}},
}


async def ask(api: Api, model: str, **more: Any) -> dict[str, Any]:
    body = {"model": f"sandbox/{model}", "input": "Why?", "sandbox": FAST, **more}
    response, streamed = await respond(api, {**body, "stream": True})
    assert response.status == 200, streamed
    read = Reader().read(events_in(streamed)).response
    assert read is not None
    whole, found = await respond(api, body)
    if read["status"] in ("completed", "incomplete"):
        assert whole.status == 200, found
        assert [item["type"] for item in json.loads(found)["output"]] == [item["type"] for item in read["output"]]
    else:
        assert whole.status >= 500
    return read


async def test_the_sandbox_speaks_responses(sandboxed: Api) -> None:
    read = await ask(sandboxed, "echo")
    assert "Why?" in texts_in(read)
    assert read["usage"]["cost"] > 0
    thinking = await ask(sandboxed, "reasoner")
    assert [item["type"] for item in thinking["output"]] == ["reasoning", "message"]
    turn = [{"role": "user", "content": "Why?"}, *thinking["output"], {"role": "user", "content": "Really?"}]
    assert "Really?" in texts_in(await ask(sandboxed, "reasoner", input=turn))
    turn[1] = {**turn[1], "summary": [{"type": "summary_text", "text": "altered"}]}
    response, _ = await respond(sandboxed, {"model": "sandbox/reasoner", "input": turn})
    assert response.status == 400
    called = await ask(sandboxed, "tools", tools=[TOOL])
    (call,) = called["output"]
    assert (call["type"], call["name"]) == ("function_call", "get_tide")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "high"}
    asked = [{"role": "user", "content": "Tide?"}, call, result]
    assert "get_tide answered: high" in texts_in(await ask(sandboxed, "tools", input=asked, tools=[TOOL]))
    pictured = await ask(sandboxed, "painter")
    assert pictured["output"][-1]["type"] == "image_generation_call"
    assert pictured["output"][-1]["result"]
    cited = await ask(sandboxed, "search")
    assert len(cited["output"][0]["content"][0]["annotations"]) == 2
    assert texts_in(await ask(sandboxed, "refuser"), "refusal")
    assert (await ask(sandboxed, "long", max_output_tokens=20))["status"] == "incomplete"
    for model in ("breaks", "hangs-up"):
        assert (await ask(sandboxed, model))["status"] == "failed"
    response, _ = await respond(sandboxed, {"model": "sandbox/no-credits", "input": "x"})
    assert response.status == 402


async def test_the_sandbox_keeps_nothing(upstream: Sandbox, sandboxed: Api) -> None:
    for field, value in (("background", True), ("store", True), ("previous_response_id", "x"), ("input", [])):
        body: dict[str, Any] = {"model": "sandbox/echo", "input": "x", field: value}
        async with sandboxed.http.post(f"{upstream.base_url}/responses", json=body) as response:
            assert response.status == 400


async def test_a_reply_that_is_not_streamed_is_told_as_events(passing: Api, upstream: Sandbox) -> None:
    for name in ("Q25 citations", "Q37 signature alone", "Q46 interleaved", "length", "Q24 refusal", "Q27 picture"):
        view = view_of(Kept(holds_chunks=True))
        view.view(Both().receive(CASES[name].body).end().records)
        upstream.script(Reply.json({**view.answer.response(), "id": "gen-1"}), path=RESPONSES_PATH)
        _, body = await respond(passing)
        read = Reader().read(events_in(body)).response
        assert read is not None
        assert_says(read, CASES[name].said, name)


async def test_an_end_that_repeats_no_items_has_those_that_were_told(passing: Api, upstream: Sandbox) -> None:
    content = [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]
    item = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": content}
    body = {"id": "gen-1", "object": "response", "status": "completed", "output": []}
    events = frame("response.created", response={**body, "status": "in_progress"})
    for kind in ("added", "done"):
        events += frame(f"response.output_item.{kind}", output_index=0, item=item)
    upstream.script(Reply.stream(events, frame("response.completed", response=body)), path=RESPONSES_PATH)
    response, found = await respond(passing, ASKED)
    assert response.status == 200
    assert texts_in(response_in(json.loads(found))) == "Hi"


async def test_trap_3_an_error_under_200_is_a_refusal(passing: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.json({"error": {"code": 402, "message": "No credit"}}), path=RESPONSES_PATH)
    for body in (ASKED, asking()):
        response, refusal = await respond(passing, body)
        assert (response.status, "No credit" in json.loads(refusal)["error"]["message"]) == (402, True)

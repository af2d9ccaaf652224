"""Answers as Ollama's lines of JSON, and whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from client.streams.log_events import EventsOfChunks, EventsOfEvents
from server.config import Config
from server.protocols.ollama.view import OllamaView, head_of
from tests.protocols.wire_cases import CASES, Call, Said
from tests.support.chunks import DONE, END, STOP, USAGE, call, calls, chunk, text
from tests.support.ollama_lines import ASKED, ask, check_line, lines_in, text_in
from tests.support.raw_http import parse_replies
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import read_until


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


def _sayable(said: Said) -> Said:
    """What this protocol has words for."""
    return replace(
        said,
        text=said.text + said.refusal,
        refusal="",
        calls=tuple(call for call in said.calls if call.is_whole),
        images=0,
        annotations=0,
        finish=None if said.error else "length" if said.finish == "length" else "stop",
        total_tokens=None if said.error else said.total_tokens,
        details=(),
    )


def _has_words(said: Said) -> bool:
    """Clients take objects for arguments and nothing else."""
    return all(call.arguments.startswith("{") for call in said.calls)


def _said_by(lines: list[dict[str, Any]]) -> Said:
    last = lines[-1]
    called = [each["function"] for line in lines for each in line.get("message", {}).get("tool_calls", ())]
    is_broken = "error" in last
    return Said(
        text=text_in(lines),
        thinking=text_in(lines, "thinking"),
        calls=() if is_broken else tuple(Call(each["name"], json.dumps(each["arguments"])) for each in called),
        finish=last.get("done_reason"),
        error=last.get("type"),
        total_tokens=last["prompt_eval_count"] + last["eval_count"] if "eval_count" in last else None,
    )


async def test_lines_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    """traps 2, 5, 6: and every way in which the same log comes to a reader gives the same bytes."""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, body = await ask(once)
        if response.status != 200:
            assert json.loads(body)["type"] == case.said.error
            continue
        assert response.content_type == "application/x-ndjson"
        lines = lines_in(body)
        if not _has_words(case.said):
            assert "no object" in lines[-1]["error"]
        else:
            assert _said_by(lines) == _sayable(case.said), name
        await _reads_the_same(once, response.headers["X-Stream-Id"], body)


async def _reads_the_same(api: Api, stream_id: str, body: bytes) -> None:
    stream = api.streams.get(stream_id, "local")
    assert stream is not None
    records, _ = await stream.log.read_after(0, 1 << 30)
    each = [record + b"\n\n" for record in records.split(b"\n\n")[:-1]]
    for size in (1, 2, len(each)):
        view = OllamaView(EventsOfChunks(), head_of("acme/m", stream.created_s), is_chat=True)
        pieces = [view.view(b"".join(each[start : start + size])) for start in range(0, len(each), size)]
        assert b"".join(pieces) == body


async def test_whole_answers_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    """trap 3"""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, body = await ask(once, stream=False)
        found = json.loads(body)
        if case.said.error is not None or not _has_words(case.said):
            assert response.status >= 400, name
            assert found.keys() == {"error", "type"}
            assert found["type"] == (case.said.error or "upstream_protocol")
        else:
            assert response.content_type == "application/json"
            check_line(found, is_last=True)
            assert _said_by([found]) == _sayable(case.said), name


async def test_a_log_of_typed_events_says_the_same(once: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        async with once.http.post(f"{once.url}/chat", json={"message": "Why?"}) as response:
            events = await response.read()
        lines = lines_in(OllamaView(EventsOfEvents(), head_of("m", 0), is_chat=True).view(events))
        if _has_words(case.said):
            assert _said_by(lines) == _sayable(case.said), name


async def test_a_whole_answer_line_by_line(once: Api, upstream: Sandbox) -> None:
    fragments = calls(call(0, "", "tide", "a")) + calls(call(1, "{}", "wind", "b")) + calls(call(0, '{"port":"a"}'))
    upstream.script_always(
        Reply.stream(chunk({"reasoning": "hm"}), text("é"), fragments, chunk({}, "tool_calls"), END)
    )
    response, body = await ask(once)
    stream = once.streams.get(response.headers["X-Stream-Id"], "local")
    assert stream is not None
    head = {**head_of("acme/m", stream.created_s)}
    called = [
        {"function": {"name": "tide", "arguments": {"port": "a"}}},
        {"function": {"name": "wind", "arguments": {}}},
    ]
    *lines, last = lines_in(body)
    assert b"\\u00e9" in body
    assert lines == [
        {**head, "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "é"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "", "tool_calls": called}, "done": False},
    ]
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 3, 2)
    assert last["total_duration"] == last["prompt_eval_duration"] + last["eval_duration"]
    assert last["usage"] == USAGE
    _, whole = await ask(once, stream=False)
    assert json.loads(whole)["message"] == {
        "role": "assistant",
        "content": "é",
        "thinking": "hm",
        "tool_calls": called,
    }


async def test_a_single_prompt(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(chunk({"reasoning": "hm"}), text("Hi"), STOP, END))
    _, body = await ask(once, "/api/generate", system="Brief.")
    lines = lines_in(body)
    assert (text_in(lines, "thinking"), text_in(lines, "response")) == ("hm", "Hi")
    assert upstream.calls[0].json["messages"] == [
        {"role": "system", "content": "Brief."},
        {"role": "user", "content": "Why?"},
    ]
    _, whole = await ask(once, "/api/generate", stream=False)
    found = json.loads(whole)
    check_line(found, is_last=True)
    assert (found["response"], found["thinking"], found["done_reason"]) == ("Hi", "hm", "stop")


async def test_trap_5_letters_in_two_pieces(once: Api, upstream: Sandbox) -> None:
    pieces = [text("\ud83d"), text("\ude80\u2028\u0085"), text("x\ud83d"), text("y\udc00"), text("\ud83d")]
    upstream.script_always(Reply.stream(*pieces, STOP, END))
    assert text_in(lines_in((await ask(once))[1])) == "🚀\u2028\u0085x\ufffdy\ufffd\ufffd"
    _, whole = await ask(once, stream=False)
    assert json.loads(whole)["message"]["content"] == "🚀\u2028\u0085x\ufffdy\ufffd\ufffd"


async def test_silence_has_no_words(config: Config, upstream: Sandbox) -> None:
    """Not even a comment: an empty line breaks clients. So a refusal that comes late is a line."""
    go_on = asyncio.Event()
    upstream.script(Reply.error(402, "No credit").after(Hold(go_on)))
    async with (
        serving(changed(config, "server", ping_interval_s=0.02)) as api,
        api.http.post(f"{api.url}/api/chat", json=ASKED) as response,
    ):
        assert response.status == 200
        go_on.set()
        (line,) = lines_in(await response.read())
    assert "No credit" in line["error"]


async def test_leaving_ends_the_answer_unless_a_grace_was_asked_for(config: Config, upstream: Sandbox) -> None:
    """trap 9"""
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hi"), Hold()), Reply.stream(text("Hi"), Hold(go_on), STOP, END))
    async with serving(changed(config, "streams", grace_s=600, max_grace_s=600)) as api:
        for headers in ({}, {"X-Stream-Grace": "60"}):
            response = await api.http.post(f"{api.url}/api/chat", json=ASKED, headers=headers)
            await read_until(response, b"Hi")
            response.close()
        async with asyncio.timeout(1):
            await upstream.calls[0].closed.wait()
        assert upstream.calls[0].cancelled
        go_on.set()
        await upstream.calls[1].closed.wait()
        assert not upstream.calls[1].cancelled


async def test_a_stop_from_outside_is_told(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), calls(call(0, "{}", "f", "a")), Hold()))
    async with once.http.post(f"{once.url}/api/chat", json=ASKED) as response:
        body = await read_until(response, b"Hi")
        await once.request("DELETE", response.headers["Location"])
        *_, last = lines_in(body + await response.read())
    assert "stopped" in last["error"]


async def test_what_nobody_asked_costs_nothing(api: Api, upstream: Sandbox) -> None:
    """Clients ask so to have a model loaded, or let go."""
    for path, more, reason in (
        ("/api/chat", {"messages": []}, "load"),
        ("/api/generate", {"prompt": ""}, "load"),
        ("/api/generate", {"prompt": "", "keep_alive": 0}, "unload"),
    ):
        response, body = await ask(api, path, **more)
        assert response.status == 200
        assert (json.loads(body)["done"], json.loads(body)["done_reason"]) == (True, reason)
    assert not upstream.calls


async def test_an_answer_without_figures_makes_none_up(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, DONE))
    *_, last = lines_in((await ask(once))[1])
    assert "eval_count" not in last
    assert "eval_count" not in json.loads((await ask(once, stream=False))[1])


async def test_a_caller_that_has_closed_its_side_gets_its_lines(api: Api, upstream: Sandbox) -> None:
    """Whether it is still there is found out with a space, with which JSON may begin."""
    silence = Hold()
    upstream.script(Reply.stream(text("x"), silence, text("y"), STOP, END))
    asked = json.dumps(ASKED).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(asked)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head.encode() + asked)
    writer.write_eof()
    async with asyncio.timeout(5):
        found = await reader.readuntil(b"1\r\n \r\n")
        silence.until.set()
        found += await reader.read()
    writer.close()
    [reply] = parse_replies(found)
    assert text_in(lines_in(reply.body)) == "xy"

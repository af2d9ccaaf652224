"""The table of wire cases as messages, for an upstream that speaks chat completions alone: in events and whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from client.streams.raw_log import records_of
from server.config import Config
from server.protocols.messages.thinking import entries_of
from server.protocols.messages.view import view_of
from tests.protocols.wire_cases import BREAKS, CASES, THOUGHTS, Call, Said
from tests.support.messages import Message, ask, ask_whole, read_message
from tests.support.serving import Api, changed, serving

FINISHES = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again; answers can be read again."""
    config = changed(config, "upstream", max_retries=0)
    async with serving(changed(config, "streams", retain_s=60)) as running:
        yield running


def _expected(said: Said) -> Said:
    """Without what the protocol has no word for: pictures, citations, an unknown finish; a refusal is text."""
    finish = FINISHES.get(said.finish or "", "end_turn") if said.error is None else None
    if any(not call.is_whole for call in said.calls) and said.error is None:
        finish = "max_tokens"
    return replace(
        said, text=said.text + said.refusal, refusal="", images=0, annotations=0, finish=finish, details=()
    )


def _said_by(message: Message) -> Said:
    def total(usage: dict[str, Any]) -> int | None:
        return sum(usage.get(name, 0) for name in ("input_tokens", "output_tokens")) or None

    error = None if message.error is None else message.error["metadata"]["type"]
    calls = [block for block in message.blocks if block["type"] == "tool_use"]
    return Said(
        text=message.texts("text", "text"),
        thinking=message.texts("thinking", "thinking"),
        calls=tuple(_call(block, is_cut=message.stop_reason != "tool_use") for block in calls),
        finish=message.stop_reason,
        error=error,
        total_tokens=total(message.usage),
    )


def _call(block: dict[str, Any], *, is_cut: bool) -> Call:
    assert block["id"]
    assert block["input"] == {}
    return Call(block["name"], block.get("partial_json") or "{}", not is_cut)


async def test_events_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    """traps 2, 5, 6, 7"""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, body = await ask(once)
        if response.status != 200:
            assert name in BREAKS, name
            assert json.loads(body)["error"]["metadata"]["type"] == case.said.error, name
            continue
        message = read_message(body)
        expected = _expected(case.said)
        if message.error is not None:  # what was used is told in an event that an error leaves no room for
            expected = replace(expected, total_tokens=None)
        assert _said_by(message) == expected, name
        if message.start:
            assert message.start["usage"]["input_tokens"] > 0, name
    assert all(call.path == "/chat/completions" for call in upstream.calls)


async def test_whole_answers_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    """traps 2, 3, 6: a call that was cut off is left out."""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, found = await ask_whole(once)
        if case.said.error is not None:
            assert response.status >= 400, name
            assert found["error"]["metadata"]["type"] == case.said.error, name
            continue
        assert response.status == 200, name
        expected = _expected(case.said)
        content = found["content"]
        calls = [Call(each["name"], json.dumps(each["input"])) for each in content if each["type"] == "tool_use"]
        wanted = [call for call in expected.calls if call.is_whole]
        assert calls == wanted, name
        assert "".join(each["text"] for each in content if each["type"] == "text") == expected.text, name
        assert "".join(each["thinking"] for each in content if each["type"] == "thinking") == expected.thinking, name
        assert found["stop_reason"] == expected.finish, name
        assert (found["type"], found["role"], found["model"]) == ("message", "assistant", found["model"]), name


async def test_thinking_comes_back_as_upstream_said_it(once: Api, upstream: Sandbox) -> None:
    """trap 4: whoever made it, and where a signature comes late."""
    for name, case in THOUGHTS.items():
        upstream.script(Reply.stream(*case.steps))
        blocks = read_message((await ask(once))[1]).blocks
        thought = [block for block in blocks if block["type"] in ("thinking", "redacted_thinking")]
        entries, unsigned = entries_of(thought)
        shown = "".join(each.get("text", "") + each.get("summary", "") for each in entries)
        assert unsigned + shown == case.said.thinking, name
        signed = [each for each in case.said.details if each.get("signature") or "data" in each]
        assert [each for each in entries if each.get("signature") or "data" in each] == signed, name


async def test_the_same_bytes_come_however_records_are_fed(once: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, body = await ask(once)
        if response.status != 200:
            continue
        stream = once.streams.get(response.headers["X-Stream-Id"], "local")
        assert stream is not None
        records, _ = await stream.log.read_after(0, 1 << 30)
        assert view_of(stream).view(records) == body, name
        view, pieces = view_of(stream), []
        for own, data in records_of(records):
            head = b"" if own is None else b"event: " + own.encode() + b"\n"
            pieces.append(view.view(head + b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"))
        assert b"".join(pieces) == body, name


async def test_any_answer_can_be_read_as_a_message(once: Api, upstream: Sandbox) -> None:
    """Also what began as typed events, which have thinking merged and at the end."""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, _ = await once.chat()
        path = f"/v1/messages/{response.headers['X-Stream-Id']}"
        got, body = await once.request("GET", f"{path}?stream=true")
        assert got.status == 200, name
        message = read_message(body)
        expected = _expected(case.said)
        if message.error is not None:
            expected = replace(expected, total_tokens=None)
        assert _said_by(message) == expected, name
        if name in THOUGHTS and name != "Q42 thought, call, thought":  # which has two thoughts in one typed text
            thought = [block for block in message.blocks if block["type"] in ("thinking", "redacted_thinking")]
            signed = [each for each in case.said.details if each.get("signature") or "data" in each]
            found = [each for each in entries_of(thought)[0] if each.get("signature") or "data" in each]
            assert found == signed, name
        got, whole = await once.request("GET", path)
        assert ("content" in json.loads(whole)) == (case.said.error is None), name
        assert (got.status >= 400) == (case.said.error is not None), name

"""Asks for answers in the words of Anthropic's Messages, and reads them strictly."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from client.sandbox import Reply
from client.sandbox.script import Step
from tests.support.serving import Api

ASKED: dict[str, Any] = {"model": "acme/m", "max_tokens": 100, "messages": [{"role": "user", "content": "Why?"}]}
_EVENT = re.compile(rb"event: (\w+)\n((?:data: [^\n]*\n)+)")
_STOP_REASONS = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal")
_FIELDS = {"text": "text", "thinking": "thinking", "signature": "signature", "partial_json": "partial_json"}
_KINDS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
}
"""Deltas by the type of the block that takes them."""


async def ask(
    api: Api, path: str = "/v1/messages", headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, bytes]:
    """A streamed answer, read to its end."""
    body = {**ASKED, "stream": True, **more}
    async with api.http.post(api.url + path, json=body, headers=headers) as response:
        return response, await response.read()


async def ask_whole(
    api: Api, path: str = "/v1/messages", headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, Any]:
    """An answer as one message."""
    async with api.http.post(api.url + path, json={**ASKED, **more}, headers=headers) as response:
        return response, await response.json()


def named(event: dict[str, Any]) -> bytes:
    """An event of upstream's as it sends it."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def sent(*steps: dict[str, Any] | Step) -> Reply:
    """What upstream streams: events and other steps."""
    return Reply.stream(*(named(each) if isinstance(each, dict) else each for each in steps))


@dataclass
class Message:
    """What a client makes of events.

    Attributes:
        blocks: whole, with `partial_json` joined for calls.
        error: that of the error event; None without one.
        events: without pings.
    """

    start: dict[str, Any] = field(default_factory=dict)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def texts(self, kind: str, name: str) -> str:
        """All blocks of a type, joined."""
        return "".join(block[name] for block in self.blocks if block["type"] == kind)


def events_in(body: bytes) -> list[dict[str, Any]]:
    """The events of a body, which is proved to hold nothing else; pings are left out."""
    assert body.endswith(b"\n\n"), body[-200:]
    events = []
    for block in body.removesuffix(b"\n\n").split(b"\n\n"):
        match = _EVENT.fullmatch(block + b"\n")
        assert match is not None, block
        data = b"\n".join(line.removeprefix(b"data: ") for line in match[2].splitlines())
        event = json.loads(data, parse_constant=_refuse)
        assert event["type"] == match[1].decode(), block
        if event["type"] != "ping":
            events.append(event)
    return events


def read_message(body: bytes) -> Message:
    """Reads as the strictest client would: every event in its place, one block at a time, one end."""
    message = Message(events=events_in(body))
    events = iter(message.events)
    open_index: int | None = None
    has_finished = has_stopped = False
    for event in events:
        assert not has_stopped, event
        assert message.error is None, event
        kind = event["type"]
        if kind == "error":
            assert isinstance(event["error"]["type"], str)
            assert isinstance(event["error"]["message"], str)
            message.error = event["error"]
            continue
        assert bool(message.start) == (kind != "message_start"), event
        if kind == "message_start":
            message.start = _started(event["message"])
        elif kind == "content_block_start":
            assert open_index is None, event
            assert event["index"] == len(message.blocks), event
            open_index = event["index"]
            message.blocks.append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            assert event["index"] == open_index, event
            _add(message.blocks[-1], event["delta"])
        elif kind == "content_block_stop":
            assert event["index"] == open_index, event
            open_index = None
        elif kind == "message_delta":
            assert open_index is None, event
            assert not has_finished, event
            has_finished = True
            message.stop_reason = event["delta"]["stop_reason"]
            assert message.stop_reason in _STOP_REASONS, event
            message.usage = event["usage"]
        else:
            assert kind == "message_stop", event
            assert has_finished
            has_stopped = True
    assert has_stopped != (message.error is not None)
    return message


def _started(message: dict[str, Any]) -> dict[str, Any]:
    assert message["type"] == "message"
    assert message["role"] == "assistant"
    assert message["content"] == []
    assert message["stop_reason"] is None
    assert message["id"]
    assert message["model"]
    return message


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    assert delta["type"] in _KINDS[block["type"]], (block, delta)
    for name in _FIELDS:
        if name in delta:
            block[name] = block.get(name, "") + delta[name]
    if "citation" in delta:
        block.setdefault("citations", []).append(delta["citation"])


def _refuse(name: str) -> None:
    raise ValueError(name)

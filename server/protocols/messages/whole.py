"""A message put together from its events, for callers that want no stream. Pure module."""

from __future__ import annotations

import re
from typing import Any

from client.border.json_codec import decode_json

_EVENT = re.compile(rb"event: \w+\ndata: ([^\n]*(?:\ndata: [^\n]*)*)\n\n")
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_CUT = ("max_tokens", "model_context_window_exceeded", "refusal")
_OF_DELTA = ("stop_reason", "stop_sequence")


class WholeMessage:
    """Takes the events of one answer in order, whole events at a time.

    Attributes:
        error: the error event; None without one.
    """

    def __init__(self) -> None:
        self.error: dict[str, Any] | None = None
        self._message: dict[str, Any] = {}
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._pieces: dict[tuple[Any, str], list[str]] = {}  # of texts: joined once, not per delta

    def feed(self, events: bytes) -> None:
        """Adds events."""
        for data in _EVENT.findall(events):
            event = decode_json(data.replace(b"\ndata: ", b"\n"))
            if isinstance(event, dict):
                self._take(event)

    def message(self) -> dict[str, Any]:
        """The message so far. A call whose input is no whole JSON is left out: it must not be run."""
        for (index, name), pieces in self._pieces.items():
            self._blocks[index][name] = "".join(pieces)
        blocks = list(self._blocks.values())
        if self._message.get("stop_reason") in _CUT and blocks and _is_unsaid(blocks[-1]):
            blocks.pop()
        content = [block for block in map(_with_input, blocks) if block is not None]
        return {**self._message, "content": content}

    def _take(self, event: dict[str, Any]) -> None:
        index = event.get("index")
        index = index if isinstance(index, int | str) else None
        match event.get("type"):
            case "message_start":
                self._message = dict(_object(event.get("message")))
            case "content_block_start":
                self._blocks[index] = dict(_object(event.get("content_block")))
            case "content_block_delta" if index in self._blocks:
                self._add(index, _object(event.get("delta")))
            case "message_delta":
                self._end(event)
            case "error":
                self.error = event

    def _add(self, index: Any, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        for name, value in delta.items():
            if name == "type":
                continue
            if name == "citation":
                block["citations"] = [*(block.get("citations") or []), value]
            elif isinstance(value, str):
                before = block.get(name)
                self._pieces.setdefault((index, name), [before if isinstance(before, str) else ""]).append(value)
            elif value is not None:
                block[name] = value

    def _end(self, event: dict[str, Any]) -> None:
        """What is known at the end only goes over what the beginning said."""
        told = _object(event.get("delta"))
        self._message |= {name: value for name, value in told.items() if value is not None or name in _OF_DELTA}
        beside = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self._message |= beside
        usage = {name: value for name, value in _object(event.get("usage")).items() if value is not None}
        self._message["usage"] = {**_object(self._message.get("usage")), **usage}


def _is_unsaid(block: dict[str, Any]) -> bool:
    """Whether it is a call of whose input nothing has come."""
    return block.get("type") in _CALLS and not block.get("partial_json") and not block.get("input")


def _with_input(block: dict[str, Any]) -> dict[str, Any] | None:
    if block.get("type") not in _CALLS or "partial_json" not in block:
        return block
    text = block.pop("partial_json")
    found = decode_json(text.encode("utf-8", "surrogatepass")) if text.strip() else block.get("input")
    return None if found is None else {**block, "input": found}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

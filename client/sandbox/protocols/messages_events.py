"""An answer as the events of Anthropic's Messages, and these as a whole message. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from client.sandbox.generations import Generation
from client.sandbox.models.catalogue import PROVIDER

Event = dict[str, Any]
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_TELLS_PROMPT_LATE = "sandbox/search"
"""The model whose `message_start` says 0 for the tokens of the prompt, as some of OpenRouter's do."""


class MessageEvents:
    """Makes the events of one answer: one block at a time."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._index = -1
        self._open: str | None = None  # type of the block under way

    def start(self) -> Iterator[Event]:
        """Ahead of all blocks."""
        usage = self._usage()
        if self._generation.model["id"] == _TELLS_PROMPT_LATE:
            usage["input_tokens"] = 0
        message = {
            "id": self._generation.id,
            "type": "message",
            "role": "assistant",
            "model": self._generation.model["canonical_slug"],
            "provider": PROVIDER,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        yield {"type": "message_start", "message": message}
        yield {"type": "ping"}

    def show(self, delta: dict[str, Any]) -> Iterator[Event]:
        """A piece of the answer; a picture has no block here."""
        for call in delta.get("tool_calls") or []:
            function = call["function"]
            if "id" in call:
                yield from self._begin("tool_use", id=call["id"], name=function["name"], input={})
            if function["arguments"]:
                yield self._delta("input_json_delta", partial_json=function["arguments"])
        if delta.get("reasoning"):
            yield from self._be_in("thinking", thinking="", signature="")
            yield self._delta("thinking_delta", thinking=delta["reasoning"])
        for detail in delta.get("reasoning_details") or []:
            if "signature" in detail:
                yield from self._be_in("thinking", thinking="", signature="")
                yield self._delta("signature_delta", signature=detail["signature"])
        for annotation in delta.get("annotations") or []:
            cited = annotation["url_citation"]
            yield from self._be_in("text", text="")
            page = {"url": cited["url"], "title": cited["title"], "cited_text": cited["content"]}
            yield self._delta("citations_delta", citation={"type": "web_search_result_location", **page})
        if text := delta.get("content") or delta.get("refusal"):
            yield from self._be_in("text", text="")
            yield self._delta("text_delta", text=text)

    def finish(self, finish_reason: str) -> Iterator[Event]:
        """Behind all blocks."""
        yield from self._close()
        delta = {"stop_reason": _STOP_REASONS[finish_reason], "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {**self._usage(), **self._cost()}}
        yield {"type": "message_stop"}

    def _be_in(self, kind: str, **block: Any) -> Iterator[Event]:
        if self._open != kind:
            yield from self._begin(kind, **block)

    def _begin(self, kind: str, **block: Any) -> Iterator[Event]:
        yield from self._close()
        self._index += 1
        self._open = kind
        yield {"type": "content_block_start", "index": self._index, "content_block": {"type": kind, **block}}

    def _close(self) -> Iterator[Event]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._index}

    def _delta(self, kind: str, **delta: Any) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": {"type": kind, **delta}}

    def _usage(self) -> dict[str, Any]:
        return {
            "input_tokens": self._generation.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self._generation.completion_tokens,
        }

    def _cost(self) -> dict[str, Any]:
        usage = self._generation.usage()
        cost = {name: usage[name] for name in ("cost", "is_byok", "cost_details")}
        searched = usage.get("server_tool_use_details")
        return cost if searched is None else {**cost, "server_tool_use": searched}


def whole_message(events: Iterable[Event]) -> dict[str, Any]:
    """The message that the events of an answer to its end amount to."""
    message: dict[str, Any] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append({**event["content_block"]})
            case "content_block_delta":
                _add(message["content"][-1], event["delta"])
            case "message_delta":
                message |= {**event["delta"], "usage": event["usage"]}
    for block in message["content"]:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block.pop("partial_json", "{}"))
    return message


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "citation":
            block.setdefault("citations", []).append(value)
        elif name != "type":
            block[name] = block.get(name, "") + value

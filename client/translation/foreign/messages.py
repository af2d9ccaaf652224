"""Anthropic's Messages, streamed or whole, as chunks of chat completions.

What OpenRouter adds to it (`provider`, and the cost in `usage`) is read too. Blocks of tools that upstream runs have
no chunks: readers of the protocol itself see them. Pure module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from client.border.fit import count_of
from client.border.json_codec import encode_json
from client.translation.chunks.shape import Path
from client.translation.foreign.front import END, LIFE, Chunk

FORMAT = "anthropic-claude-v1"
"""What OpenRouter calls the entries of `reasoning_details` that hold Anthropic's thinking."""

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_SAME_IN_USAGE = ("cost", "cost_details", "is_byok")
_GENERATION = "gen-"
"""How ids begin under which OpenRouter tells what an answer cost; Anthropic's own are none."""


class MessagesFront:
    """One answer of `/messages` (`client.translation.foreign.front.Front`)."""

    text_path: Path | None = ("delta", "text")
    has_done_marker = False

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._calls: dict[Any, int] = {}  # number of the call, by the index of its block
        self._inputs: dict[Any, str] = {}  # what a call was opened with, until it is seen whether pieces follow
        self._others: set[Any] = set()  # indexes of blocks that have no chunks

    def chunks_of(self, event: dict[str, Any]) -> Iterable[Chunk | None]:
        """See `Front`."""
        match event.get("type"):
            case "content_block_delta":
                return self._piece(event.get("index"), _object(event.get("delta")))
            case "message_start":
                return self._start(_object(event.get("message")))
            case "content_block_start":
                return self._open(event.get("index"), _object(event.get("content_block")))
            case "content_block_stop":
                return self._close(event.get("index"))
            case "message_delta":
                return self._finish(event)
            case "message_stop":
                return [END]
            case "ping":
                return []
            case "error":
                return [{"error": event.get("error", event)}]
            case str() if "error" not in event:
                return [LIFE]
        return [event]

    def events_of_whole(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Front`."""
        content = found.get("content")
        if found.get("type") != "message" or not isinstance(content, list):
            return []
        beside = {name: found[name] for name in ("stop_reason", "stop_sequence", "container") if name in found}
        start = {**found, "content": [], "stop_reason": None, "stop_sequence": None}
        end = {"type": "message_delta", "delta": beside, "usage": _object(found.get("usage"))}
        blocks = [event for index, block in enumerate(content) for event in _events_of_block(index, block)]
        return [{"type": "message_start", "message": start}, *blocks, end, {"type": "message_stop"}]

    def _start(self, message: dict[str, Any]) -> list[Chunk]:
        names = {name: message[name] for name in ("model", "provider") if message.get(name)}
        id_ = message.get("id")
        if isinstance(id_, str) and id_.startswith(_GENERATION):
            names["id"] = id_
        self._head = names
        self._usage = _object(message.get("usage"))
        return [{**names, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]

    def _delta(self, **delta: Any) -> list[Chunk]:
        return [{**self._head, "choices": [{"index": 0, "delta": delta}]}]

    def _open(self, index: Any, block: dict[str, Any]) -> list[Chunk]:
        match block.get("type"):
            case "text":
                return self._text(block.get("text"))
            case "thinking":
                opened = self._thinking(index, block.get("thinking"), block.get("signature"))
                return opened or [LIFE]
            case "redacted_thinking":
                entry = {"type": "reasoning.encrypted", "data": block.get("data"), "format": FORMAT, "index": index}
                return self._delta(reasoning_details=[entry])
            case "tool_use":
                return self._open_call(index, block)
        self._others.add(_key(index))
        return [LIFE]

    def _open_call(self, index: Any, block: dict[str, Any]) -> list[Chunk]:
        number = self._calls[_key(index)] = len(self._calls)
        if block.get("input"):
            self._inputs[_key(index)] = encode_json(block["input"]).decode()
        function = {"name": block.get("name"), "arguments": ""}
        call = {"index": number, "id": block.get("id"), "type": "function", "function": function}
        return self._delta(tool_calls=[call])

    def _piece(self, index: Any, delta: dict[str, Any]) -> list[Chunk]:
        match delta.get("type"):
            case "text_delta":
                return self._text(delta.get("text"))
            case "thinking_delta":
                return self._thinking(index, delta.get("thinking"), None) or [LIFE]
            case "signature_delta":
                return self._thinking(index, None, delta.get("signature")) or [LIFE]
            case "input_json_delta" if _key(index) not in self._others:
                return self._arguments(index, delta.get("partial_json"))
            case "citations_delta":
                return self._citation(_object(delta.get("citation")))
        return [LIFE]

    def _text(self, text: Any) -> list[Chunk]:
        return self._delta(content=text) if isinstance(text, str) and text else [LIFE]

    def _thinking(self, index: Any, text: Any, signature: Any) -> list[Chunk]:
        entry = {"type": "reasoning.text", "format": FORMAT, "index": index}
        if isinstance(signature, str) and signature:
            entry["signature"] = signature
        if isinstance(text, str) and text:
            return self._delta(reasoning=text, reasoning_details=[{**entry, "text": text}])
        return self._delta(reasoning_details=[entry]) if "signature" in entry else []

    def _arguments(self, index: Any, piece: Any) -> list[Chunk]:
        if not isinstance(piece, str) or not piece:
            return [LIFE]
        self._inputs.pop(_key(index), None)
        number = self._calls.setdefault(_key(index), len(self._calls))
        return self._delta(tool_calls=[{"index": number, "function": {"arguments": piece}}])

    def _close(self, index: Any) -> list[Chunk]:
        given = self._inputs.pop(_key(index), None)
        return [LIFE] if given is None else self._arguments(index, given)

    def _citation(self, citation: dict[str, Any]) -> list[Chunk]:
        """One of a page; those of the caller's own documents name places that no chunk has a word for."""
        if not citation.get("url"):
            return [LIFE]
        page = {name: citation[name] for name in ("url", "title") if citation.get(name)}
        page |= {"content": citation.get("cited_text") or "", "start_index": 0, "end_index": 0}
        return self._delta(annotations=[{"type": "url_citation", "url_citation": page}])

    def _finish(self, event: dict[str, Any]) -> list[Chunk]:
        said = _object(event.get("delta")).get("stop_reason")
        choice: dict[str, Any] = {"index": 0, "delta": {}}
        if isinstance(said, str):
            choice |= {"finish_reason": FINISH_REASONS.get(said, said), "native_finish_reason": said}
        chunk = {**self._head, "choices": [choice]}
        usage = event.get("usage")
        if isinstance(usage, dict) and usage:
            self._usage = self._usage | {name: value for name, value in usage.items() if value is not None}
            chunk["usage"] = usage_of(self._usage)
        return [chunk]


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's usage in the words of chat completions; there the prompt includes what was cached."""
    cached, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    prompt = _count(usage, "input_tokens") + cached + written
    completion = _count(usage, "output_tokens")
    found: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        **{name: usage[name] for name in _SAME_IN_USAGE if name in usage},
    }
    details = _object(usage.get("output_tokens_details"))
    thought = count_of(details.get("thinking_tokens", details.get("reasoning_tokens")))
    if thought is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": thought}
    if isinstance(usage.get("server_tool_use"), dict):
        found["server_tool_use_details"] = usage["server_tool_use"]
    return found


def _count(usage: dict[str, Any], name: str) -> int:
    return count_of(usage.get(name)) or 0


def _events_of_block(index: int, block: Any) -> list[dict[str, Any]]:
    """A block as it would have been streamed: opened empty, and filled in one piece."""
    opened, delta = dict(_object(block)), None
    match opened.get("type"):
        case "text":
            delta = {"type": "text_delta", "text": opened.pop("text", "")}
            opened["text"] = ""
        case "thinking":
            delta = {"type": "thinking_delta", "thinking": opened.pop("thinking", "")}
            opened["thinking"] = ""
        case "tool_use" | "server_tool_use":
            delta = {"type": "input_json_delta", "partial_json": encode_json(opened.pop("input", {})).decode()}
            opened["input"] = {}
    deltas = [] if delta is None else [delta]
    if opened.get("type") == "thinking" and (signature := opened.pop("signature", None)):
        deltas.append({"type": "signature_delta", "signature": signature})
        opened["signature"] = ""
    return [
        {"type": "content_block_start", "index": index, "content_block": opened},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _key(index: Any) -> Any:
    """An index under which something can be kept; what is none stands for one block."""
    return index if isinstance(index, int | str) else None

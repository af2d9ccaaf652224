"""Pieces of OpenRouter's stream, in the notation of its chunk format."""

from __future__ import annotations

import json
from typing import Any

COMMENT = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.001}
HEAD = {"id": "gen-1", "object": "chat.completion.chunk", "model": "acme/m", "provider": "Acme"}


def event(value: Any) -> bytes:
    """One event with that JSON as data."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(delta: Any = None, finish: str | None = None, native: str | None = None, **top: Any) -> bytes:
    """One chunk with one choice."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    choice["native_finish_reason"] = native if native is not None else finish
    return event({**HEAD, "choices": [choice], **top})


def text(content: str) -> bytes:
    """A chunk with a piece of the answer."""
    return chunk({"role": "assistant", "content": content})


def call(index: int | None, arguments: Any, name: str | None = None, id: str | None = None) -> dict[str, Any]:
    """A tool-call fragment."""
    fragment: dict[str, Any] = {"type": "function", "function": {"arguments": arguments}}
    if index is not None:
        fragment["index"] = index
    if name is not None:
        fragment["function"]["name"] = name
    if id is not None:
        fragment["id"] = id
    return fragment


def calls(*fragments: dict[str, Any], finish: str | None = None, native: str | None = None) -> bytes:
    """A chunk with tool-call fragments."""
    return chunk({"role": "assistant", "content": None, "tool_calls": list(fragments)}, finish, native)


STOP = chunk({"content": ""}, "stop")
END = chunk({"content": ""}, "stop", usage=USAGE) + DONE
"""The current form of the end: the finish is repeated beside the usage."""

"""Text and parts in a delta or a message, in whatever spelling an upstream has for them. Pure module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TEXT_FIELDS = ("text", "thinking", "reasoning", "content", "summary", "value", "refusal")
_THINKING = ("thinking", "reasoning", "redacted", "summary", "thought")
"""How types of parts of thinking begin; `redacted_thinking` holds no text."""
_DEEPEST = 8

CONTENT, REASONING, DETAILS, REFUSAL, IMAGE, AUDIO, CALL, UNKNOWN = (
    "content",
    "reasoning",
    "reasoning_details",
    "refusal",
    "image",
    "audio",
    "tool_call",
    "unknown",
)
"""What a part is."""


def text_of(value: Any, depth: int = 0) -> str:
    """The text of a string, a number, a part, or a list of them; empty for what has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or depth >= _DEEPEST:
        return ""
    if isinstance(value, int | float):
        return _number_text(value)
    if isinstance(value, list):
        return "".join(text_of(item, depth + 1) for item in value)
    if isinstance(value, dict):
        texts = (text_of(value.get(field), depth + 1) for field in _TEXT_FIELDS)
        return next(filter(None, texts), "")
    return ""


def _number_text(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than CPython writes
        return ""


def parts_of(content: Any) -> Iterator[tuple[str, Any]]:
    """What a `content` that is no string holds, in order: kind and value of each part."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            yield from _read_part(part)
        elif text := text_of(part):
            yield CONTENT, text
        elif part is not None and part != "":
            yield UNKNOWN, part


def _read_part(part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    kind = part.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind.startswith(_THINKING):
        yield from _read_thinking(part)
    elif kind == "refusal":
        yield REFUSAL, text_of(part)
    elif "image" in kind:
        yield IMAGE, part
    elif "audio" in kind:
        audio = part.get(kind, part.get("audio"))
        yield AUDIO, audio if isinstance(audio, dict) else part
    elif kind in ("tool_use", "tool_call", "function_call", "function"):
        yield CALL, _call_of(part)
    elif text := text_of(part):
        yield CONTENT, text
    elif kind != "text":
        yield UNKNOWN, part


def _read_thinking(part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Thinking as text; what must be sent back with it as an entry of `reasoning_details`."""
    text = text_of(part)
    if part.get("signature"):
        yield DETAILS, {"type": "reasoning.text", "text": text, "signature": part["signature"]}
    elif part.get("data"):
        yield DETAILS, {"type": "reasoning.encrypted", "data": part["data"]}
    if text:
        yield REASONING, text


def _call_of(part: dict[str, Any]) -> dict[str, Any]:
    """A call that is a part of the content, as an entry of `tool_calls`."""
    if isinstance(part.get("function"), dict):
        return part
    arguments = next((part[field] for field in ("arguments", "input", "args") if part.get(field) is not None), None)
    id_ = part.get("id") or part.get("call_id")
    return {"id": id_, "function": {"name": part.get("name"), "arguments": arguments}}

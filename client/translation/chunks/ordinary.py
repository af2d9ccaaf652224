"""Chunks in OpenRouter's own shape, read in one step by their types: the short way to what `chunk` reads bit by bit.

The first chunk of an answer, its thinking and calls, its finish and its usage mostly look like this. Whatever has a
field that is not named here, or of another type, is left to `chunk`, and both give the same. Pure module.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from client.translation.chunks.chunk import Chunk, Piece, finish_of
from client.translation.events import ContentDelta, ReasoningDelta, ReasoningDetails, ToolCall
from client.translation.reasoning import text_of as text_of_details

_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter", "error"})
"""Words that mean what they say: not looked up among those for a finish that has not come."""


class _Strict(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A field that is not named here makes it another kind of chunk; None: it may stand there, but says nothing."""


class _Delta(_Strict, gc=False, kw_only=True):
    content: str | None = None
    role: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    tool_calls: list[Any] | None = None
    reasoning_content: None = None
    refusal: None = None
    function_call: None = None


class _Choice(_Strict, gc=False, kw_only=True):
    delta: _Delta
    index: Literal[0] = 0
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: None = None


class _Chunk(_Strict, gc=False, kw_only=True):
    choices: tuple[_Choice]
    id: str | None = None
    model: str | None = None
    provider: str | None = None
    usage: dict[str, Any] | None = None
    object: msgspec.Raw = msgspec.Raw()
    created: Any = None
    system_fingerprint: None = None
    service_tier: None = None
    error: None = None


_decode = msgspec.json.Decoder(_Chunk).decode


def ordinary_chunk(payload: bytes) -> Chunk | None:
    """What `chunk_of` would read in such a payload; None for any other, also where it is no JSON."""
    try:
        found = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    choice = found.choices[0]
    delta = choice.delta
    pieces: list[Piece] = []
    details = delta.reasoning_details
    if details:
        pieces.append((ReasoningDetails, details))
    if text := delta.reasoning or (text_of_details(details) if details else ""):
        pieces.append((ReasoningDelta, text))
    if delta.content:
        pieces.append((ContentDelta, delta.content))
    if delta.tool_calls:
        pieces.append((ToolCall, delta.tool_calls))
    finish, native = choice.finish_reason, choice.native_finish_reason
    return Chunk(
        found.id,
        found.model,
        found.provider,
        found.usage,
        None,
        True,  # it is stated, by its choices
        True,
        False,
        pieces,
        False,
        finish if finish is None or finish in _FINISHES else finish_of(finish),
        native if native is None or native in _FINISHES else finish_of(native),
        created=found.created,
    )

"""One decoded upstream JSON object (a *chunk*), and two ways to decode it.

The fast way decodes only the fields that are used, typed. What does not fit its types (a list as content, lone
surrogates, an id that is a number) goes the careful way, which takes what it can use and drops the rest: the
reference's rule is never to fail on what one does not know. Pure module.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from client.json_codec import decode_json


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds. `message` of a non-stream reply has the same fields."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    tool_calls: list[Any] | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    images: list[Any] | None = None
    audio: dict[str, Any] | None = None
    reasoning_content: str | None = None


class Choice(msgspec.Struct, gc=False):
    """The one choice of a chunk."""

    delta: Delta | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """The fields of `chat.completion.chunk` that are used."""

    id: str | None = None
    model: str | None = None
    provider: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_decode_typed = msgspec.json.Decoder(Chunk).decode


class _NothingElse(msgspec.Struct, gc=False, kw_only=True):
    """What is not there, or null, in a delta that is text or thinking alone."""

    tool_calls: None = None
    refusal: None = None
    annotations: None = None
    images: None = None
    audio: None = None
    reasoning_content: None = None


class _PlainDelta(_NothingElse, gc=False, kw_only=True):
    content: str
    reasoning: None = None
    reasoning_details: None = None


class _ReasoningDelta(_NothingElse, gc=False, kw_only=True):
    reasoning: str
    reasoning_details: list[dict[str, Any]] | None = None
    content: Literal[""] | None = None


_Only = TypeVar("_Only", bound=_NothingElse)


class _OneChoice(msgspec.Struct, Generic[_Only], gc=False):
    delta: _Only
    finish_reason: None = None
    native_finish_reason: None = None
    error: None = None


class _OneDelta(msgspec.Struct, Generic[_Only], gc=False):
    """A chunk that only adds text or thinking, as nearly all do; nothing else that is used is there or not null."""

    choices: tuple[_OneChoice[_Only]]
    usage: None = None
    error: None = None


_decode_plain = msgspec.json.Decoder(_OneDelta[_PlainDelta]).decode
_decode_reasoning = msgspec.json.Decoder(_OneDelta[_ReasoningDelta]).decode


def plain_content(payload: bytes) -> str | None:
    """The text of a chunk that holds nothing else that is used; None for any other."""
    try:
        return _decode_plain(payload).choices[0].delta.content
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def plain_reasoning(payload: bytes) -> tuple[str, list[dict[str, Any]] | None] | None:
    """Text and details of a chunk that holds nothing else that is used; None for any other."""
    try:
        delta = _decode_reasoning(payload).choices[0].delta
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return delta.reasoning, delta.reasoning_details


def decode_chunk(payload: bytes) -> Chunk | None:
    """The chunk in an event's data; None when it is no JSON object.

    Invalid UTF-8 becomes U+FFFD, as the SSE standard decodes it.
    """
    try:
        return _decode_typed(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = decode_json(payload)
        return chunk_of(found) if isinstance(found, dict) else None


def chunk_of(found: dict[str, Any]) -> Chunk:
    """A chunk from a decoded object, field by field; `message` stands in for a missing `delta`."""
    choices = found.get("choices")
    usage = found.get("usage")
    return Chunk(
        id=_text_or_none(found.get("id")),
        model=_text_or_none(found.get("model")),
        provider=_text_or_none(found.get("provider")),
        choices=[_choice_of(item) for item in choices if isinstance(item, dict)]
        if isinstance(choices, list)
        else None,
        usage=usage if isinstance(usage, dict) else None,
        error=found.get("error"),
    )


def _choice_of(found: dict[str, Any]) -> Choice:
    delta = found.get("delta")
    if not isinstance(delta, dict):
        delta = found.get("message")
    return Choice(
        delta=_delta_of(delta) if isinstance(delta, dict) else None,
        finish_reason=_text_or_none(found.get("finish_reason")),
        native_finish_reason=_text_or_none(found.get("native_finish_reason")),
        error=found.get("error"),
    )


def _delta_of(found: dict[str, Any]) -> Delta:
    audio = found.get("audio")
    return Delta(
        content=_text_of_parts(found.get("content")),
        reasoning=_text_or_none(found.get("reasoning")),
        reasoning_details=_list_or_none(found.get("reasoning_details")),
        tool_calls=_list_or_none(found.get("tool_calls")),
        refusal=_text_or_none(found.get("refusal")),
        annotations=_list_or_none(found.get("annotations")),
        images=_list_or_none(found.get("images")),
        audio=audio if isinstance(audio, dict) else None,
        reasoning_content=_text_or_none(found.get("reasoning_content")),
    )


def _text_or_none(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return str(value)
    return value if isinstance(value, str) else None


def _list_or_none(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _text_of_parts(value: Any) -> str | None:
    """`content` may be a list of parts, of which the text ones count."""
    if not isinstance(value, list):
        return _text_or_none(value)
    texts = [part.get("text") for part in value if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))

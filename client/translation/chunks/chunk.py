"""One decoded upstream JSON object (a *chunk*), read by one rule.

The same rule reads a chunk of a stream and a whole completion, with `delta` or `message`: it takes what it can use,
in whatever spelling it comes, names what it does not know (`extra`), and never fails. Most chunks of an answer are
never read here: `shape` knows those that differ from one before in their text alone. Pure module.
"""

from __future__ import annotations

from typing import Any

import msgspec

from client.border.fit import fit_json
from client.translation.chunks import parts
from client.translation.chunks.parts import parts_of, text_of
from client.translation.errors.shapes import is_error
from client.translation.events import (
    Annotation,
    Audio,
    ContentDelta,
    Image,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    ToolCall,
)
from client.translation.reasoning import text_of as text_of_details

Piece = tuple[type, Any]
"""What a chunk adds, as the kind of event that comes of it and the value: text, object, or list."""

_NOTHING = frozenset(
    {
        "",
        "null",
        "none",
        "nil",
        "undefined",
        "nan",
        "false",
        "0",
        "unspecified",
        "finish_reason_unspecified",
        "not_finished",
        "unfinished",
        "in_progress",
        "continue",
        "continuing",
        "running",
        "streaming",
        "generating",
        "pending",
        "ongoing",
    }
)
"""Words for a finish that has not come: sglang, Ollama, Gemini and others have one in every chunk."""

_KNOWN = frozenset({"id", "object", "created", "model", "provider", "choices", "usage", "error", "obfuscation"})
"""Of a chunk; `object` and `created` are of its envelope, and `obfuscation` is there to say nothing."""
_KNOWN_OF_CHOICE = frozenset(
    {"index", "delta", "message", "finish_reason", "native_finish_reason", "logprobs", "error", "usage", "text"}
)
_REASONING = ("reasoning", "reasoning_content", "reasoning_text", "thinking", "thinking_blocks", "thought")
"""Spellings of thinking, of which the first that says something counts: they repeat one another."""
_REASONING_NAMES = frozenset(_REASONING)
_KNOWN_OF_DELTA = frozenset(
    {
        "role",
        "content",
        "reasoning_details",
        "refusal",
        "annotations",
        "images",
        "audio",
        "tool_calls",
        "function_call",
        *_REASONING,
    }
)
_OBJECTS = (("annotations", Annotation), ("images", Image), ("audio", Audio))
_OBJECT_NAMES = frozenset(name for name, _ in _OBJECTS)
_ELSEWHERE = frozenset({"message", "text"})
_ROLE_AND_TEXT = frozenset({"role", "content"})
_KIND_OF_PART = {
    parts.CONTENT: ContentDelta,
    parts.REASONING: ReasoningDelta,
    parts.DETAILS: ReasoningDetails,
    parts.REFUSAL: RefusalDelta,
    parts.IMAGE: Image,
    parts.AUDIO: Audio,
    parts.CALL: ToolCall,
}


class Chunk(msgspec.Struct):
    """What a chunk says of an answer.

    Attributes:
        is_stated: whether it says that it is one: it has an id or choices, if only an empty list of them.
        has_choice: whether it holds the answer's choice, the one of index 0.
        has_other_choice: whether it holds another one, which is never mixed in.
        pieces: what the choice adds, in order.
        is_whole: the pieces are those of a `message`: all that the answer says, not what is new.
        finish_reason: None also where upstream has another word for "not yet".
        logprobs: of the choice's text.
        extra: what of the chunk this product has no word for.
        extra_of_choice: the same of its choice and delta.
        created: as it says.
    """

    id: str | None = None
    model: str | None = None
    provider: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    is_stated: bool = False
    has_choice: bool = False
    has_other_choice: bool = False
    pieces: list[Piece] = []
    is_whole: bool = False
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: Any = None
    extra: dict[str, Any] = {}
    extra_of_choice: dict[str, Any] = {}
    created: Any = None

    @property
    def has_text(self) -> bool:
        """Whether it adds text, a call, or thinking of any kind."""
        return any(kind not in (Annotation, Image, Audio) for kind, _ in self.pieces)


def chunk_of(found: dict[str, Any]) -> Chunk:
    """A chunk from a decoded object, field by field."""
    get = found.get
    chunk = Chunk(name_of(get("id")), name_of(get("model")), name_of(get("provider")), created=get("created"))
    if isinstance(usage := get("usage"), dict):
        chunk.usage = usage
    chunk.error = error if is_error(error := get("error")) else None
    choices = get("choices")
    chunk.is_stated = chunk.id is not None or isinstance(choices, (list, dict))
    if choices:
        _read_choices(chunk, choices)
    if not _KNOWN.issuperset(found):
        chunk.extra = {name: value for name, value in found.items() if name not in _KNOWN and value is not None}
    return chunk


def fit_chunk(chunk: Chunk) -> None:
    """Makes what is passed on as it is readable for all, in a chunk whose JSON is odd: nested a thousand times, say.

    Text stays as it is, and so do the arguments of calls, which are text to us.
    """
    if chunk.usage is not None:
        chunk.usage = fit_json(chunk.usage)
    chunk.logprobs, chunk.error = fit_json(chunk.logprobs), fit_json(chunk.error)
    chunk.pieces = [(kind, value if kind is ToolCall else fit_json(value)) for kind, value in chunk.pieces]


def finish_of(value: Any) -> str | None:
    """A finish reason; None for every spelling of none."""
    if isinstance(value, dict):
        value = value.get("type") or value.get("reason")
    word = name_of(value)
    return None if word is None or word.strip().lower() in _NOTHING else word


def name_of(value: Any) -> str | None:
    """A name, also where it is a number; None for what is none."""
    if isinstance(value, str):
        return value
    return text_of(value) or None if isinstance(value, (int, float)) else None


def _read_choices(chunk: Chunk, choices: Any) -> None:
    if isinstance(choices, dict):
        is_choice = not choices.keys().isdisjoint(_KNOWN_OF_CHOICE)
        choices = [choices] if is_choice else list(choices.values())
    if not isinstance(choices, list):
        return
    for position, choice in enumerate(choices):
        if isinstance(choice, dict):
            if _index_of(choice.get("index"), position) == 0:
                _read_choice(chunk, choice)
            else:
                chunk.has_other_choice = True


def _index_of(index: Any, position: int) -> float:
    """Which of the answers it is; where nothing says so, its place does."""
    if isinstance(index, str):
        index = int(index) if index.isascii() and index.isdigit() and len(index) < 10 else None
    return position if index is None or not isinstance(index, int | float) else index


def _read_choice(chunk: Chunk, choice: dict[str, Any]) -> None:
    chunk.has_choice = True
    extra: dict[str, Any] = {}
    if not _KNOWN_OF_CHOICE.issuperset(choice):
        extra = {name: value for name, value in choice.items() if name not in _KNOWN_OF_CHOICE and value is not None}
    _read_said(chunk, choice, extra)
    if extra:
        chunk.extra_of_choice = {**chunk.extra_of_choice, **extra}
    get = choice.get
    if (reason := get("finish_reason")) is not None:
        chunk.finish_reason = finish_of(reason) or chunk.finish_reason
    if (reason := get("native_finish_reason")) is not None:
        chunk.native_finish_reason = finish_of(reason) or chunk.native_finish_reason
    if logprobs := get("logprobs"):
        chunk.logprobs = logprobs
    if chunk.error is None and (error := get("error")) is not None:
        chunk.error = error if is_error(error) else None
    if chunk.usage is None and isinstance(usage := get("usage"), dict):
        chunk.usage = usage


def _read_said(chunk: Chunk, choice: dict[str, Any], extra: dict[str, Any]) -> None:
    """`delta`; `message` where that says nothing; `text` where there is neither."""
    delta = choice.get("delta")
    if isinstance(delta, dict) and _ROLE_AND_TEXT.issuperset(delta):
        content = delta.get("content")
        if isinstance(content, str) and (content or _ELSEWHERE.isdisjoint(choice)):  # as most are
            if content:
                chunk.pieces.append((ContentDelta, content))
            return
    for each in delta if isinstance(delta, list) else [delta]:
        if isinstance(each, dict):
            _read_delta(chunk.pieces, each, extra)
        elif text := text_of(each):
            chunk.pieces.append((ContentDelta, text))
    message = choice.get("message")
    if not chunk.pieces and isinstance(message, dict):
        _read_delta(chunk.pieces, message, extra)
        chunk.is_whole = True
    if not chunk.pieces and isinstance(choice.get("text"), str) and choice["text"]:
        chunk.pieces.append((ContentDelta, choice["text"]))


def _read_delta(pieces: list[Piece], delta: dict[str, Any], extra: dict[str, Any]) -> None:
    details = delta.get("reasoning_details")
    if details and (entries := _listed(details)):
        pieces.append((ReasoningDetails, entries))
    reasoning = _reasoning_of(delta, details)
    if reasoning:
        pieces.append((ReasoningDelta, reasoning))
    content = delta.get("content")
    if content:
        if isinstance(content, str):
            pieces.append((ContentDelta, content))
        else:
            _read_parts(pieces, content, reasoning, extra)
    elif content == 0 and content is not False:  # a number that is no piece of nothing
        pieces.append((ContentDelta, text_of(content)))
    if (refusal := delta.get("refusal")) and (text := text_of(refusal)):
        pieces.append((RefusalDelta, text))
    if not _OBJECT_NAMES.isdisjoint(delta):
        _read_objects(pieces, delta, extra)
    calls = _listed(delta.get("tool_calls"))
    if calls:
        pieces.append((ToolCall, calls))
    function = delta.get("function_call")
    if isinstance(function, dict) and function and not calls:  # beside `tool_calls` it says the same
        pieces.append((ToolCall, [{"function": function}]))
    if not _KNOWN_OF_DELTA.issuperset(delta):
        known = _KNOWN_OF_DELTA
        extra |= {name: value for name, value in delta.items() if name not in known and value is not None}


def _reasoning_of(delta: dict[str, Any], details: Any) -> str:
    """The text of the thinking, once: `reasoning`, else what the details say, else another spelling of it."""
    reasoning = delta.get("reasoning")
    if reasoning and (text := text_of(reasoning)):
        return text
    if details and (text := text_of_details(_listed(details))):
        return text
    if _REASONING_NAMES.isdisjoint(delta):
        return ""
    return next(filter(None, (text_of(delta.get(name)) for name in _REASONING)), "")


def _read_parts(pieces: list[Piece], content: Any, reasoning: str, extra: dict[str, Any]) -> None:
    """`content` as parts: text, thinking, pictures, calls."""
    unknown = []
    for kind, value in parts_of(content):
        if kind == parts.UNKNOWN:
            unknown.append(value)
        elif not (kind == parts.REASONING and value == reasoning):  # said beside the content already
            is_listed = kind in (parts.DETAILS, parts.CALL)
            pieces.append((_KIND_OF_PART[kind], [value] if is_listed else value))
    if unknown:
        extra["content"] = unknown


def _read_objects(pieces: list[Piece], delta: dict[str, Any], extra: dict[str, Any]) -> None:
    for name, kind in _OBJECTS:
        if value := delta.get(name):
            unknown = []
            for item in _listed(value) or [value]:
                if isinstance(item, str) and kind is Image:
                    item = {"type": "image_url", "image_url": {"url": item}}
                if isinstance(item, dict):
                    pieces.append((kind, item))
                else:
                    unknown.append(item)
            if unknown:
                extra[name] = unknown


def _listed(value: Any) -> list[Any]:
    """A list, also where an object stands alone."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) and value else []

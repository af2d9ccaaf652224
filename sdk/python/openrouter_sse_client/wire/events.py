"""The events of an answer: one class each, and the union of them.

Every event has `event_id` (`<stream_id>:<n>`, what to resume after) and `data`, the JSON object as it came, with
fields that no attribute here is for (`logprobs`, `extra`, …). A name that is not known here, and data that are not
what the name promises, become `Unknown`. Pure module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

_T = TypeVar("_T", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    event_id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def event_name(self) -> str:
        """The name that the event has on the wire."""
        return _NAMES[type(self)]


@dataclass(frozen=True, slots=True)
class Start(_Event):
    """The model has begun; once, before anything of it."""

    stream_id: str | None = None
    generation_id: str | None = None
    model: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Reasoning(_Event):
    """A piece of thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Content(_Event):
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal(_Event):
    """A piece of the model's refusal, which is no answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta(_Event):
    """A piece of a tool call; `id` and `name` come with the first one."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCall(_Event):
    """A tool call, whole. With `complete` false its JSON was cut: do not run it."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Annotation(_Event):
    """A citation, or what was read of a file."""

    annotation: Mapping[str, Any] = field(hash=False)

    @property
    def url(self) -> str | None:
        """Where a citation leads."""
        return _within(self.annotation, "url_citation", "url")

    @property
    def title(self) -> str | None:
        """What a citation is called."""
        return _within(self.annotation, "url_citation", "title")


@dataclass(frozen=True, slots=True)
class Image(_Event):
    """A picture that the model made."""

    image: Mapping[str, Any] = field(hash=False)

    @property
    def url(self) -> str | None:
        """A `data:` URL, as a rule."""
        return _within(self.image, "image_url", "url")


@dataclass(frozen=True, slots=True)
class Audio(_Event):
    """A piece of sound."""

    audio: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ReasoningDetails(_Event):
    """The thinking as it must be sent back with the next turn."""

    reasoning_details: tuple[Any, ...] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Usage(_Event):
    """Tokens and cost. None is unknown, never zero; `total_cost` is in USD."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    total_cost: float | None = None
    generation_id: str | None = None
    model: str | None = None
    provider: str | None = None
    duration_ms: float | None = None
    time_to_first_token_ms: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Error(_Event):
    """The answer failed; what came before stays valid, and `Done` follows.

    Attributes:
        error: what happened and what to do, for a person.
        type: `rate_limited`, `stream_interrupted`, …
        retry_after_s: seconds after which to try again; None when nobody said.
    """

    error: str
    type: str = "internal"
    status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    details: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    upstream: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Done(_Event):
    """The end: exactly once, and nothing follows."""

    completed: bool
    finish_reason: str | None = None
    native_finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event that this version does not know; `data` is what JSON said, or the text that is none."""

    name: str
    data: Any = field(hash=False)
    event_id: str = field(default="", kw_only=True)

    @property
    def event_name(self) -> str:
        """The name that the event has on the wire."""
        return self.name


Event = (
    Start
    | Reasoning
    | Content
    | Refusal
    | ToolCallDelta
    | ToolCall
    | Annotation
    | Image
    | Audio
    | ReasoningDetails
    | Usage
    | Error
    | Done
    | Unknown
)


def event_of(name: str, data: str, event_id: str = "") -> Event:
    """The event of that name and those data; never raises."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return Unknown(name, data, event_id=event_id)
    make = _MAKERS.get(name)
    if make is None or not isinstance(found, dict):
        return Unknown(name, found, event_id=event_id)
    try:
        return make(found, event_id)
    except _NotAsPromised:
        return Unknown(name, found, event_id=event_id)


def error_of(data: Mapping[str, Any], event_id: str = "") -> Error:
    """The failure that an object in the shape of errors tells."""
    details = data.get("details")
    upstream = data.get("upstream")
    return Error(
        _text(data, "error"),
        _text_or_none(data, "type") or "internal",
        _number_or_none(data, "status", int),
        data.get("retryable") is True,
        _number_or_none(data, "retry_after_s", float),
        tuple(each for each in details if isinstance(each, dict)) if isinstance(details, list) else (),
        upstream if isinstance(upstream, dict) else None,
        event_id=event_id,
        data=data,
    )


class _NotAsPromised(Exception):
    """The data lack what events of this name have."""


def _start(data: dict[str, Any], event_id: str) -> Start:
    names = ("stream_id", "generation_id", "model", "provider")
    return Start(*(_text_or_none(data, name) for name in names), event_id=event_id, data=data)


def _reasoning(data: dict[str, Any], event_id: str) -> Reasoning:
    return Reasoning(_text(data, "text"), event_id=event_id, data=data)


def _content(data: dict[str, Any], event_id: str) -> Content:
    return Content(_text(data, "text"), event_id=event_id, data=data)


def _refusal(data: dict[str, Any], event_id: str) -> Refusal:
    return Refusal(_text(data, "text"), event_id=event_id, data=data)


def _tool_call_delta(data: dict[str, Any], event_id: str) -> ToolCallDelta:
    names = _text_or_none(data, "id"), _text_or_none(data, "name")
    return ToolCallDelta(_index(data), *names, _text(data, "arguments"), event_id=event_id, data=data)


def _tool_call(data: dict[str, Any], event_id: str) -> ToolCall:
    names = _text_or_none(data, "id"), _text_or_none(data, "name")
    complete = data.get("complete") is True
    return ToolCall(_index(data), *names, _text(data, "arguments"), complete, event_id=event_id, data=data)


def _annotation(data: dict[str, Any], event_id: str) -> Annotation:
    return Annotation(data, event_id=event_id, data=data)


def _image(data: dict[str, Any], event_id: str) -> Image:
    return Image(data, event_id=event_id, data=data)


def _audio(data: dict[str, Any], event_id: str) -> Audio:
    return Audio(data, event_id=event_id, data=data)


def _reasoning_details(data: dict[str, Any], event_id: str) -> ReasoningDetails:
    details = data.get("reasoning_details")
    if not isinstance(details, list):
        raise _NotAsPromised
    return ReasoningDetails(tuple(details), event_id=event_id, data=data)


def _usage(data: dict[str, Any], event_id: str) -> Usage:
    return Usage(
        _number_or_none(data, "prompt_tokens", int),
        _number_or_none(data, "completion_tokens", int),
        _number_or_none(data, "total_tokens", int),
        _number_or_none(data, "total_cost", float),
        _text_or_none(data, "generation_id"),
        _text_or_none(data, "model"),
        _text_or_none(data, "provider"),
        _number_or_none(data, "duration_ms", float),
        _number_or_none(data, "time_to_first_token_ms", float),
        _number_or_none(data, "tokens_per_second", float),
        event_id=event_id,
        data=data,
    )


def _done(data: dict[str, Any], event_id: str) -> Done:
    reasons = _text_or_none(data, "finish_reason"), _text_or_none(data, "native_finish_reason")
    return Done(data.get("completed") is True, *reasons, event_id=event_id, data=data)


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _NotAsPromised
    return value


def _text_or_none(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None


def _number_or_none(data: Mapping[str, Any], name: str, kind: type[_T]) -> _T | None:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:  # nor NaN
        return None
    return kind(value)


def _index(data: Mapping[str, Any]) -> int:
    index = _number_or_none(data, "index", int)
    if index is None:
        raise _NotAsPromised
    return index


def _within(data: Mapping[str, Any], *path: str) -> str | None:
    """A text in objects in objects."""
    found: Any = data
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None


_MAKERS: dict[str, Callable[[dict[str, Any], str], Event]] = {
    "start": _start,
    "reasoning": _reasoning,
    "content": _content,
    "refusal": _refusal,
    "tool_call_delta": _tool_call_delta,
    "tool_call": _tool_call,
    "annotation": _annotation,
    "image": _image,
    "audio": _audio,
    "reasoning_details": _reasoning_details,
    "usage": _usage,
    "error": error_of,
    "done": _done,
}

_NAMES: dict[type, str] = {
    Start: "start",
    Reasoning: "reasoning",
    Content: "content",
    Refusal: "refusal",
    ToolCallDelta: "tool_call_delta",
    ToolCall: "tool_call",
    Annotation: "annotation",
    Image: "image",
    Audio: "audio",
    ReasoningDetails: "reasoning_details",
    Usage: "usage",
    Error: "error",
    Done: "done",
}

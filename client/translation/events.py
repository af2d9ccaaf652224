"""The typed events of an answer, one class each, and their union.

Every stream of events is: at most one `StreamStarted`, then deltas in upstream's order, then at most one each of
`ReasoningDetails`, `UsageReport` and `StreamFailed`, and exactly one `Done`, last. Pure module: knows nothing of
SSE, JSON or HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from client.errors import Failure


class StreamStarted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The model's first chunk came.

    Attributes:
        extra: what upstream said of the whole answer and no other field is for, such as `service_tier`.
    """

    generation_id: str | None
    model: str | None
    provider: str | None
    extra: dict[str, Any] | None = None


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A piece of thinking, as text.

    Attributes:
        logprobs: of this text, as upstream gave them.
        extra: what else upstream said with it and no other field is for.
    """

    text: str
    logprobs: Any = None
    extra: dict[str, Any] | None = None


class ContentDelta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A piece of the visible answer.

    Attributes:
        logprobs: of this text, as upstream gave them.
        extra: what else upstream said with it and no other field is for.
    """

    text: str
    logprobs: Any = None
    extra: dict[str, Any] | None = None


class RefusalDelta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A piece of the text with which the model declines.

    Attributes:
        logprobs: of this text, as upstream gave them.
        extra: what else upstream said with it and no other field is for.
    """

    text: str
    logprobs: Any = None
    extra: dict[str, Any] | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A piece of a tool call.

    Attributes:
        index: which of the answer's calls it belongs to.
        id: on the first piece only.
        name: the function's; on the first piece only.
        arguments: a piece of their JSON.
        logprobs: of this piece, as upstream gave them.
        extra: what else upstream said with it and no other field is for.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str
    logprobs: Any = None
    extra: dict[str, Any] | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A whole tool call.

    Attributes:
        arguments: their JSON, as text.
        complete: false when that JSON was cut off; the call must not be run then.
    """

    index: int
    id: str
    name: str
    arguments: str
    complete: bool


class Annotation(msgspec.Struct, frozen=True):
    """A citation or a parsed file, as upstream gave it."""

    annotation: dict[str, Any]


class Image(msgspec.Struct, frozen=True):
    """An image object, as upstream gave it."""

    image: dict[str, Any]


class Audio(msgspec.Struct, frozen=True):
    """A piece of audio, as upstream gave it."""

    audio: dict[str, Any]


class ReasoningDetails(msgspec.Struct, frozen=True):
    """All reasoning entries, merged and ready to be sent back on the next turn."""

    reasoning_details: list[Any]


class UsageReport(msgspec.Struct, frozen=True):
    """What the answer cost, with upstream's usage object whole.

    Attributes:
        usage: OpenRouter's object, untouched.
        total_cost: USD, own-key charges included; None when upstream gave no cost.
        duration_ms: from sending the request to this report.
        time_to_first_token_ms: None when no token came.
        tokens_per_second: completion tokens over the time after the first token; None when unknown.
        extra: what upstream said of the whole answer since it began, beside its usage.
    """

    usage: dict[str, Any]
    generation_id: str | None
    model: str | None
    provider: str | None
    total_cost: float | None
    duration_ms: int
    time_to_first_token_ms: int | None
    tokens_per_second: float | None
    extra: dict[str, Any] | None = None


class StreamFailed(msgspec.Struct, frozen=True):
    """Something went wrong; what was sent before stays valid."""

    failure: Failure


class Done(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The end.

    Attributes:
        completed: false after a failure or a stop.
        finish_reason: upstream's word, or `cancelled`, `abandoned`, `interrupted`, `shutting_down`.
        warning: set when the answer is whole but upstream ended it unusually (`missing_done_marker`).
        extra: what upstream said of the whole answer and no event before could carry.
    """

    completed: bool
    finish_reason: str | None
    native_finish_reason: str | None
    warning: str | None = None
    extra: dict[str, Any] | None = None


ChatEvent = (
    StreamStarted
    | ReasoningDelta
    | ContentDelta
    | RefusalDelta
    | ToolCallDelta
    | ToolCall
    | Annotation
    | Image
    | Audio
    | ReasoningDetails
    | UsageReport
    | StreamFailed
    | Done
)

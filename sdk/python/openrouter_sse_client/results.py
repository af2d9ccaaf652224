"""A whole answer as one object. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What the server has of an answer.

    Attributes:
        id: the generation's id at OpenRouter.
        running: whether more may come.
        finish_reason: None while it runs; `cancelled` when it was stopped.
        usage: with `settled`: false while the true cost of a cut answer is still looked up.
        error: the failure, in the server's shape.
        data: the whole reply as it came.
    """

    stream_id: str
    id: str | None
    running: bool
    model: str | None
    provider: str | None
    content: str
    reasoning: str
    refusal: str | None
    finish_reason: str | None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    annotations: tuple[Mapping[str, Any], ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()
    reasoning_details: tuple[Any, ...] = ()
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_settled(self) -> bool:
        """Whether the cost is known for good."""
        return self.usage is not None and self.usage.get("settled") is True


def result_of(data: Mapping[str, Any], stream_id: str) -> Result:
    """The result that a reply tells."""
    return Result(
        stream_id=data.get("stream_id") or stream_id,
        id=data.get("id"),
        running=data.get("running") is True,
        model=data.get("model"),
        provider=data.get("provider"),
        content=data.get("content") or "",
        reasoning=data.get("reasoning") or "",
        refusal=data.get("refusal"),
        finish_reason=data.get("finish_reason"),
        tool_calls=tuple(data.get("tool_calls") or ()),
        annotations=tuple(data.get("annotations") or ()),
        images=tuple(data.get("images") or ()),
        reasoning_details=tuple(data.get("reasoning_details") or ()),
        usage=data.get("usage"),
        error=data.get("error"),
        data=data,
    )

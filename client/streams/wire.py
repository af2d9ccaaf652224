"""Typed events to the bytes of our own event stream. The only place where event names are spelled.

An event is `event:`, `id:` and one `data:` line of JSON, and an empty line. Ids are `<stream_id>:<n>`, n from 1.
Pure module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from client.border.json_codec import encode_json, encode_text, encode_texts
from client.translation.events import (
    Annotation,
    Audio,
    ChatEvent,
    ContentDelta,
    Done,
    Image,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    StreamFailed,
    StreamStarted,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)

EVENT_NAMES = (
    "start",
    "reasoning",
    "content",
    "refusal",
    "tool_call_delta",
    "tool_call",
    "annotation",
    "image",
    "audio",
    "reasoning_details",
    "usage",
    "error",
    "done",
)

PING = b": ping\n\n"

_encode = msgspec.json.Encoder().encode


class EventEncoder:
    """Numbers and encodes the events of one stream."""

    __slots__ = ("_content", "_other", "_reasoning", "_stream_id", "count")

    alike = None  # these are no chunks of upstream

    def __init__(self, stream_id: str) -> None:
        self.count = 0
        self._stream_id = stream_id
        head = b"id: " + stream_id.encode() + b":%d\n"
        self._content = b"event: content\n" + head + b'data: {"text":%b}\n\n'
        self._reasoning = b"event: reasoning\n" + head + b'data: {"text":%b}\n\n'
        self._other = b"event: %b\n" + head + b"data: %b\n\n"

    def encode(self, events: Sequence[ChatEvent]) -> bytes:
        """The bytes of the next events."""
        number, content = self.count, self._content
        pieces: list[bytes] = []
        for event in events:
            number += 1
            kind = type(event)
            if kind is ContentDelta and event.logprobs is None and event.extra is None:  # type: ignore[union-attr]
                text: str = event.text  # type: ignore[union-attr]
                pieces.append(content % (number, _encode(text) if text.isascii() else encode_text(text)))
            elif kind is ReasoningDelta and event.logprobs is None and event.extra is None:  # type: ignore[union-attr]
                pieces.append(self._reasoning % (number, encode_text(event.text)))  # type: ignore[union-attr]
            else:
                name, data = _payload(event, self._stream_id)
                pieces.append(self._other % (name.encode(), number, encode_json(data)))
        self.count = number
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encode_texts(self, events: Sequence[ChatEvent], _source: object = None) -> bytes:
        """The bytes of the next events, all pieces of the answer, or all of thinking, with nothing beside them."""
        content = self._content if type(events[0]) is ContentDelta else self._reasoning
        encode = _encode
        if len(events) == 1:  # as in most reads
            self.count += 1
            only: str = events[0].text  # type: ignore[union-attr]
            return content % (self.count, encode(only) if only.isascii() else encode_text(only))
        texts: list[str] = [event.text for event in events]  # type: ignore[union-attr]
        first = self.count + 1
        self.count += len(texts)
        numbers = range(first, first + len(texts))
        return b"".join(map(content.__mod__, zip(numbers, encode_texts(texts), strict=True)))

    def bare_done(self) -> bytes:
        """The `done` of an answer of which nothing else can be said any more."""
        self.count += 1
        data = b'{"completed":false,"finish_reason":"interrupted","native_finish_reason":null}'
        return self._other % (b"done", self.count, data)


def _payload(event: ChatEvent, stream_id: str) -> tuple[str, Any]:
    """Name and data of an event. Those come first that every answer has."""
    match event:
        case Done():
            return "done", event
        case StreamStarted():
            return "start", _start_data(event, stream_id)
        case UsageReport():
            return "usage", _usage_data(event)
        case ToolCallDelta():
            return "tool_call_delta", event
        case ContentDelta():
            return "content", event
        case ReasoningDelta():
            return "reasoning", event
        case RefusalDelta():
            return "refusal", event
        case ToolCall():
            return "tool_call", event
        case Annotation(annotation):
            return "annotation", annotation
        case Image(image):
            return "image", image
        case Audio(audio):
            return "audio", audio
        case ReasoningDetails():
            return "reasoning_details", event
        case StreamFailed(failure):
            return "error", failure
    assert_never(event)  # pragma: no cover


def _start_data(event: StreamStarted, stream_id: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "stream_id": stream_id,
        "generation_id": event.generation_id,
        "model": event.model,
        "provider": event.provider,
    }
    if event.extra is not None:
        data["extra"] = event.extra
    return data


def _usage_data(event: UsageReport) -> dict[str, Any]:
    """OpenRouter's object and our figures side by side."""
    data = {
        **event.usage,
        "generation_id": event.generation_id,
        "model": event.model,
        "provider": event.provider,
        "total_cost": event.total_cost,
        "duration_ms": event.duration_ms,
        "time_to_first_token_ms": event.time_to_first_token_ms,
        "tokens_per_second": event.tokens_per_second,
    }
    if event.extra is not None:
        own = event.usage.get("extra")
        data["extra"] = own | event.extra if isinstance(own, dict) else event.extra
    return data

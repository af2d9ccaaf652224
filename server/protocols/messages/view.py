"""A log as the events of Messages. Pure module."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from client.border.json_codec import decode_json
from client.errors import Failure
from client.streams.log_events import LogEvent, ReasoningFragments, log_events_of
from client.streams.raw_log import records_of
from client.streams.readable import Readable
from client.translation.events import (
    ContentDelta,
    Done,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    StreamFailed,
    StreamStarted,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from server.protocols.event_view import EventView
from server.protocols.messages.blocks import BlockWriter, event_bytes
from server.protocols.messages.failures import error_of
from server.protocols.messages.thinking import TEXT_FIELDS, data_of, text_of
from server.protocols.messages.usage import usage_of
from server.routes.readers import View

PROTOCOL = "messages"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_STOP = event_bytes({"type": "message_stop"})
_TYPE = re.compile(rb'\{\s*"type"\s*:\s*"(\w+)"')
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def message_id(stream_id: str) -> str:
    """What a message is called that upstream has given no such name."""
    return f"msg_{stream_id}"


def view_of(stream: Readable) -> View:
    """A new reader's view of a stream, whatever its log holds."""
    if stream.holds_chunks and stream.upstream_protocol == PROTOCOL:
        return PassedView(stream.id)
    asked = stream.asked if isinstance(stream.asked, int) and stream.protocol == PROTOCOL else 1
    return TranslatedView(stream, asked)


def stopped(done: Done) -> Failure:
    """What a reader is told of an answer that somebody has stopped."""
    reason = done.finish_reason or "interrupted"
    return Failure(
        error=f"The answer was stopped ({reason}) before it was whole.",
        type="stream_interrupted",
        status=499,
        retryable=reason != "cancelled",
    )


class PassedView:
    """Upstream's own events, byte for byte; behind its end, or its error, nothing.

    Args:
        request_id: for errors of ours.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._is_over = False
        self._stop: bytes | None = None  # upstream's own, until it is known that the answer is whole

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records."""
        return b"".join(self._say(name, data) for name, data in records_of(records) if not self._is_over)

    def _say(self, name: str | None, data: bytes) -> bytes:
        match name:
            case None:
                return self._pass(data) if self._stop is None else b""
            case "error":
                return self._fail(msgspec.convert(decode_json(data)["failure"], Failure))
            case "done":
                done = msgspec.convert(decode_json(data), Done)
                self._is_over = True
                return (self._stop or _STOP) if done.completed else self._fail(stopped(done))
        return b""

    def _pass(self, data: bytes) -> bytes:
        found = _TYPE.match(data)
        type_ = found[1] if found else _type_of(data)
        if not type_:
            return b""  # an error in a wrapping that is none of the protocol's; ours follows
        self._is_over = type_ == b"error"
        lines = data if b"\n" not in data else data.replace(b"\n", b"\ndata: ")
        event = b"event: " + type_ + b"\ndata: " + lines + b"\n\n"
        if type_ != b"message_stop":
            return event
        self._stop = event
        return b""

    def _fail(self, failure: Failure) -> bytes:
        self._is_over = True
        return event_bytes(error_of(failure, self._request_id))


def _type_of(data: bytes) -> bytes:
    """The type of an event that does not begin with it."""
    found = decode_json(data)
    type_ = found.get("type") if isinstance(found, dict) else None
    return type_.encode() if isinstance(type_, str) and re.fullmatch(r"\w+", type_) else b""


class TranslatedView(EventView):
    """The events of Messages made of those of any other log.

    Args:
        estimated_tokens: what the prompt is told to have until upstream has counted it.
    """

    def __init__(self, stream: Readable, estimated_tokens: int) -> None:
        super().__init__(log_events_of(stream))
        self._id = stream.id
        self._model = stream.requested_model
        self._estimated_tokens = estimated_tokens
        self._blocks = BlockWriter()
        self._has_begun = False
        self._has_failed = False
        self._has_fragments = False
        self._has_cut_call = False
        self._calls: set[int] = set()  # of which something was said
        self._is_shown = False  # the thinking of the chunk under way, by its fragments
        self._usage: dict[str, Any] = {}

    def say(self, event: LogEvent) -> bytes:
        """The bytes for one event."""
        match event:
            case ContentDelta() | RefusalDelta():
                return self._blocks.text(event.text) if event.text else b""
            case ReasoningFragments():
                self._has_fragments = True
                return b"".join(map(self._think, event.entries))
            case ReasoningDelta():
                is_shown, self._is_shown = self._is_shown, False
                return b"" if is_shown else self._blocks.thinking(None, event.text)
            case ToolCallDelta():
                self._calls.add(event.index)
                return self._blocks.call(event.index, event.id, event.name, event.arguments)
            case ToolCall():
                return self._whole_call(event)
            case StreamStarted():
                self._model = event.model or self._model
                return self._begin()
            case ReasoningDetails():
                return b"" if self._has_fragments else b"".join(map(self._sign, event.reasoning_details))
            case UsageReport():
                self._usage = usage_of(event.usage)
            case StreamFailed():
                self._has_failed = True
                return event_bytes(error_of(event.failure, self._id))
            case Done():
                return self._end(event)
        return b""

    def _begin(self) -> bytes:
        self._has_begun = True
        message: dict[str, Any] = {
            "id": message_id(self._id),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**usage_of({}), "input_tokens": self._estimated_tokens, "output_tokens": 1},
        }
        return event_bytes({"type": "message_start", "message": message})

    def _think(self, entry: Any) -> bytes:
        """A fragment of thinking, in the block of its entry."""
        field = TEXT_FIELDS.get(text_of(entry.get("type"))) if isinstance(entry, dict) else None
        if field is None:
            return self._blocks.redacted(data_of(entry))
        text = entry.get(field)
        text = text if isinstance(text, str) else ""
        self._is_shown |= bool(text)
        return self._blocks.thinking((entry.get("type"), _plain(entry.get("index"))), text, entry)

    def _sign(self, entry: Any) -> bytes:
        """What is left to be said of an entry whose text was shown before."""
        if not isinstance(entry, dict) or text_of(entry.get("type")) not in TEXT_FIELDS:
            return self._blocks.redacted(data_of(entry))
        return self._blocks.thinking((entry["type"], _plain(entry.get("index"))), "", entry)

    def _whole_call(self, call: ToolCall) -> bytes:
        self._has_cut_call |= not call.complete
        if call.index in self._calls:
            return b""
        return self._blocks.call(call.index, call.id, call.name, call.arguments)

    def _end(self, done: Done) -> bytes:
        if self._has_failed:
            return b""
        if not done.completed:
            return event_bytes(error_of(stopped(done), self._id))
        delta = {"stop_reason": self._stop_reason(done), "stop_sequence": None}
        usage = self._usage or usage_of({})
        begun = b"" if self._has_begun else self._begin()
        return (
            begun
            + self._blocks.end()
            + event_bytes({"type": "message_delta", "delta": delta, "usage": usage})
            + _STOP
        )

    def _stop_reason(self, done: Done) -> str:
        """A call that was cut is never told as one to be run; a model of Anthropic's says its own word."""
        if self._has_cut_call:
            return "max_tokens"
        if done.finish_reason == "stop" and done.native_finish_reason in ("stop_sequence", "pause_turn"):
            return done.native_finish_reason
        return _STOP_REASONS.get(done.finish_reason or "", "end_turn")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else None

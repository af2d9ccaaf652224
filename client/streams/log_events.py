"""The events of any log again, whether it holds typed events or upstream's chunks: what readers of every protocol are
made of. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from client.border.json_codec import decode_json
from client.errors import Failure
from client.streams.raw_log import EventsOfRecords, chunk_records, has_own_records, records_of
from client.translation.chunks.chunk import chunk_of
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
from client.translation.foreign.fronts import CHAT


class ReasoningFragments(msgspec.Struct, frozen=True):
    """Entries of `reasoning_details` as one chunk of upstream's had them, in front of that chunk's own events.

    Typed logs have none of these: they keep the entries merged, in `ReasoningDetails` near the end.
    """

    entries: list[Any]


LogEvent = ChatEvent | ReasoningFragments


class LogEvents(Protocol):
    """Makes events of one log, fed from its beginning."""

    @property
    def failure(self) -> Failure | None:
        """What the answer failed of, once the log says so; None without a failure."""

    @property
    def done(self) -> Done | None:
        """How it ended; None while it runs."""

    def feed(self, records: bytes) -> list[LogEvent]:
        """The events of whole records, in order."""


class Kept(Protocol):
    """A stream, as far as its log must be known."""

    @property
    def holds_chunks(self) -> bool:
        """Whether the log holds upstream's chunks, else typed events."""

    @property
    def upstream_protocol(self) -> str:
        """In which protocol upstream answers."""


def log_events_of(stream: Kept) -> LogEvents:
    """A new reader's events of the stream's log."""
    return EventsOfChunks(stream.upstream_protocol) if stream.holds_chunks else EventsOfEvents()


class EventsOfChunks:
    """Events of a log that holds upstream's chunks, fragments of `reasoning_details` included.

    Args:
        upstream_protocol: that of upstream's records.
    """

    def __init__(self, upstream_protocol: str = CHAT) -> None:
        self._chunks_of = chunk_records(upstream_protocol)
        self._events = EventsOfRecords()

    @property
    def failure(self) -> Failure | None:
        """What the answer failed of, once the log says so."""
        return self._events.failure

    @property
    def done(self) -> Done | None:
        """How it ended; None while it runs."""
        return self._events.done

    def feed(self, records: bytes) -> list[LogEvent]:
        """The events of whole records, in order."""
        if self._chunks_of is not None:
            records = self._chunks_of(records)
        if b"reasoning_details" not in records:
            return list(self._events.feed(records))
        events: list[LogEvent] = []
        for record, data in _each(records):
            entries = [] if data is None or self.failure is not None else _entries_of(data)
            said = self._events.feed(record)
            if entries:
                place = 1 if said and isinstance(said[0], StreamStarted) else 0
                events += [*said[:place], ReasoningFragments(entries), *said[place:]]
            else:
                events += said
        return events


def _each(records: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Records one by one, each with its data when it is a chunk that has such entries."""
    for record in records.split(b"\n\n")[:-1]:
        record += b"\n\n"
        if b"reasoning_details" not in record or has_own_records(record):
            yield record, None
        else:
            yield record, next(data for _, data in records_of(record))


def _entries_of(data: bytes) -> list[Any]:
    found = decode_json(data)
    if not isinstance(found, dict):
        return []
    return [entry for kind, value in chunk_of(found).pieces if kind is ReasoningDetails for entry in value]


_EVENT = re.compile(rb"event: (\w+)\nid: [^\n]*\ndata: ([^\n]*)\n\n")
_OBJECTS: dict[str, Callable[[Any], LogEvent]] = {"annotation": Annotation, "image": Image, "audio": Audio}
_STRUCTS: dict[str, type[Any]] = {
    "start": StreamStarted,
    "reasoning": ReasoningDelta,
    "content": ContentDelta,
    "refusal": RefusalDelta,
    "tool_call_delta": ToolCallDelta,
    "tool_call": ToolCall,
    "reasoning_details": ReasoningDetails,
    "done": Done,
}
_OURS_IN_USAGE = frozenset(UsageReport.__struct_fields__) - {"usage"}


class EventsOfEvents:
    """Events of a log that holds typed ones.

    Attributes:
        failure, done: those of `LogEvents`.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.done: Done | None = None

    def feed(self, records: bytes) -> list[LogEvent]:
        """The events of whole records, in order."""
        return [self._event(name.decode(), decode_json(data)) for name, data in _EVENT.findall(records)]

    def _event(self, name: str, data: Any) -> LogEvent:
        if name == "usage":
            ours = {field: value for field, value in data.items() if field in _OURS_IN_USAGE}
            usage = {field: value for field, value in data.items() if field not in _OURS_IN_USAGE}
            return msgspec.convert({**ours, "usage": usage}, UsageReport)
        if name == "error":
            self.failure = msgspec.convert(data, Failure)
            return StreamFailed(self.failure)
        if name in _OBJECTS:
            return _OBJECTS[name](data)
        event: LogEvent = msgspec.convert(data, _STRUCTS[name])
        if isinstance(event, Done):
            self.done = event
        return event

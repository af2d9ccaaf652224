"""A log that holds what upstream said: its chunks byte for byte, and behind them how the answer ended.

Typed events lose what they have no word for (fragments of `reasoning_details`, the shape of upstream's error), so an
answer that was asked for in another protocol keeps the chunks themselves. Each record is one server-sent event, so
that a log need not know which kind it holds:

    data: <JSON of a chunk, or of an event of another protocol that upstream answers in, as upstream sent it>
    event: opened   {"generation_id"}: as upstream named it at first, in the head of its reply or in a chunk
    event: usage    our report of it: upstream's object, of all attempts, and what we add
    event: error    {"failure", "is_upstreams"}: whether upstream's own frame, which told of it, stands before it
    event: done     the data of our `done` event

An answer whose end somebody else has told has `error` and `done` of another kind (`client.streams.seal`).

`[DONE]` is not kept: how an answer ended is ours to say. What readers of any protocol get is made of these records by
pure functions, and by the same ones whether they read along or come back later. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from client.border.json_codec import decode_json, encode_json
from client.border.redaction import Redaction
from client.errors import Failure
from client.streams.seal import sealed_behind
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent, ContentDelta, Done, StreamFailed, StreamStarted, UsageReport
from client.translation.foreign.fronts import CHAT, front_of
from client.translation.foreign.records import PayloadsAsChunks
from client.translation.payloads import Payloads
from client.translation.translate import ChatTranslator

_MESSAGE = b'"message"'
_ERROR = b'"error"'
_ESCAPE = b"\\u00"
_OURS = b"event: "
_LINE = b"\ndata: "
_END = b"\n\n"
_THEN_OURS = _END + _OURS
_LF, _CR, _BACKSLASH = b"\n\r\\"
_ANY_SIZE = 1 << 62
"""The chunks of a log have been measured."""
_RECORD = re.compile(rb"(?:event: (\w+)\n)?data: ([^\n]*(?:\ndata: [^\n]*)*)\n\n")
_ENDS = (UsageReport, StreamFailed, Done)
_MARKS = (StreamStarted, *_ENDS)


ReadChunks = Callable[[], tuple[list[bytes], list[bytes], bool]]


class PlainPayloads(Protocol):
    """Whence upstream's chunks come, as most of them do (`ChatTranslator`).

    Attributes:
        same: what all of them are like, which differ in nothing but a piece of the answer.
        payloads: what is kept of them; None where nothing is.
    """

    same: object | None
    payloads: Payloads | None

    def take_plain_payloads(self) -> list[bytes] | None:
        """Those since the last time; None where they have to be asked for in the other way."""


class RawEncoder:
    """Numbers and encodes the records of one stream.

    Attributes:
        count: records so far.
        alike: of what kind the pieces are, if the last ones are chunks like others before them but for those: as
            upstream sent them, without thinking, errors, or anything of ours.

    Args:
        read_chunks: gives upstream's chunks since it was last asked: up to the one of which the answer failed, and
            those behind it; and whether that one told everybody so.
        hide: what must not be in any chunk.
    """

    __slots__ = (
        "_chunks",
        "_first",
        "_harmless",
        "_hide",
        "_read_chunks",
        "alike",
        "count",
    )

    def __init__(self, read_chunks: ReadChunks, hide: Redaction) -> None:
        self.count = 0
        self._chunks = 0
        self._first = b""
        self._read_chunks = read_chunks
        self._hide = hide
        self.alike: type[ChatEvent] | None = None
        self._harmless: object | None = None  # what chunks are like that need no look but for their text

    def encode(self, events: Sequence[ChatEvent]) -> bytes:
        """The records of one read: upstream's chunks, then the ends that the events hold; a failure stands behind the
        chunk that it came of."""
        self.alike = None
        return self._encode(events, *self._read_chunks())

    def encode_texts(self, events: Sequence[ChatEvent], source: PlainPayloads) -> bytes:
        """The records of one read whose chunks are alike, and whose events are their pieces of one kind."""
        same, kept = source.same, source.payloads
        if same is self._harmless and kept is not None and (chunk := kept.alone) is not None:  # as most reads are
            kind = type(events[0])
            if kind is ContentDelta:
                needs_look = self._hide.is_in(events[0].text)  # type: ignore[union-attr]
            else:  # a chunk may think in two places
                needs_look = (_BACKSLASH in chunk and chunk.find(_ESCAPE) >= 0) or self._hide.concerns(chunk)
            if not needs_look:
                kept.alone = None
                self.alike = kind
                self._chunks += 1
                self.count += 1
                return b"data: %b\n\n" % chunk
        chunks = source.take_plain_payloads()
        if chunks is None:
            return self.encode(events)
        self.alike = None
        if 0 < len(chunks) == len(events) and self._need_no_look_again(chunks, events, same):
            self.alike = type(events[0])
            self._chunks += len(chunks)
            self.count += len(chunks)
            return b"data: " + b"\n\ndata: ".join(chunks) + b"\n\n"
        return self._encode(events, chunks, [], False)

    def _encode(
        self, events: Sequence[ChatEvent], chunks: list[bytes], behind: list[bytes], is_upstreams: bool
    ) -> bytes:
        is_beginning = self.count == 0
        if chunks and self._need_no_look(chunks):
            if not self._chunks:
                self._first = chunks[0]
            self._chunks += len(chunks)
            self.count += len(chunks) - 1
            pieces = [b"data: " + b"\n\ndata: ".join(chunks) + b"\n\n"]
        else:
            pieces = [self._chunk(chunk) for chunk in chunks]
        for event in events:
            if not isinstance(event, _MARKS):
                continue
            match event:
                case StreamStarted(generation_id):
                    if generation_id is not None and is_beginning:
                        pieces.insert(0, _ours(b"opened", {"generation_id": generation_id}))
                case UsageReport():
                    pieces.append(_ours(b"usage", event))
                case StreamFailed(failure):
                    pieces.append(_ours(b"error", {"failure": failure, "is_upstreams": is_upstreams}))
                    pieces += map(self._chunk, behind)
                    behind = []
                case Done():
                    pieces += map(self._chunk, behind)
                    behind = []
                    pieces.append(_ours(b"done", event))
        pieces += map(self._chunk, behind)
        return self._count(pieces)

    def bare_done(self) -> bytes:
        """The end of an answer of which nothing else can be said any more."""
        return self._count([_ours(b"done", Done(False, "interrupted", None))])

    def _need_no_look_again(self, chunks: list[bytes], events: Sequence[ChatEvent], same: object) -> bool:
        """Whether these, which are like each other, go into the log as they are: one of their kind was looked at, so
        that nothing can be in them but in the pieces that they have."""
        if same is self._harmless:
            if type(events[0]) is ContentDelta:
                texts: list[str] = [event.text for event in events]  # type: ignore[union-attr]
                return not self._hide.is_in(texts[0] if len(texts) == 1 else "".join(texts))
            joined = chunks[0] if len(chunks) == 1 else b"".join(chunks)  # a chunk may think in two places
            return not ((_BACKSLASH in joined and joined.find(_ESCAPE) >= 0) or self._hide.concerns(joined))
        if not (self._chunks and self._need_no_look(chunks)):
            return False
        self._harmless = same
        return True

    def _need_no_look(self, chunks: list[bytes]) -> bool:
        """Whether each of them goes into the log as it is, which is seen in all of them at once.

        Bytes are looked for by number and by `find`: for `in`, CPython raises and drops an error first.
        """
        joined = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return not (
            _LF in joined
            or _CR in joined
            or joined.find(_MESSAGE) >= 0
            or joined.find(_ERROR) >= 0
            or (_BACKSLASH in joined and joined.find(_ESCAPE) >= 0)
            or self._hide.concerns(joined)
        )

    def _chunk(self, chunk: bytes) -> bytes:
        """A chunk as it came; a whole completion as the one chunk that it stands for."""
        if _ERROR in chunk or _ESCAPE in chunk or self._hide.concerns(chunk):
            chunk = self._without_secrets(chunk)
        if _MESSAGE in chunk:
            chunk = _chunk_of_completion(chunk, is_first=self._chunks == 0 or self._only_opened())
        self._chunks += 1
        if self._chunks == 1:
            self._first = chunk
        return b"data: " + _one_line(chunk) + b"\n\n"

    def _without_secrets(self, chunk: bytes) -> bytes:
        """Providers repeat the key in what they say of a failure, in pieces; elsewhere it is looked for whole."""
        found = decode_json(chunk)
        is_error = isinstance(found, dict) and "error" in found
        clean = self._hide.json_in_parts(found) if is_error else self._hide.json(found)
        return chunk if clean == found else encode_json(clean)

    def _only_opened(self) -> bool:
        """Whether all that came is one chunk that says nothing."""
        found = decode_json(self._first) if self._chunks == 1 else None
        choices = found.get("choices") if isinstance(found, dict) else None
        return isinstance(choices, list) and not any(map(_says_something, choices))

    def _count(self, pieces: list[bytes]) -> bytes:
        self.count += len(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _says_something(choice: Any) -> bool:
    """Whether there is more in a choice than who speaks."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role")


def _chunk_of_completion(body: bytes, *, is_first: bool) -> bytes:
    """Some upstreams send a whole completion although a stream was asked for, or one behind its own pieces."""
    found = decode_json(body)
    choices = found.get("choices") if isinstance(found, dict) else None
    if not isinstance(choices, list) or not any(map(_is_whole, choices)):
        return body
    choices = [_choice_of_whole(choice, is_first) if _is_whole(choice) else choice for choice in choices]
    return encode_json({**found, "object": "chat.completion.chunk", "choices": choices})


def _is_whole(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict) and not _says_something(choice)


def _choice_of_whole(choice: dict[str, Any], is_first: bool) -> dict[str, Any]:
    """What repeats the pieces before it stays a message, in which readers of chunks do not look."""
    if not is_first:
        return {**choice, "delta": {}}
    delta = dict(choice["message"])
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [
            {"index": index, **call} if isinstance(call, dict) else call for index, call in enumerate(calls)
        ]
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": delta}


def _one_line(payload: bytes) -> bytes:
    """Data of several lines stays so; an empty line would end the record, and so may a carriage return."""
    if b"\r" in payload:
        payload = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return payload if b"\n" not in payload else payload.replace(b"\n", b"\ndata: ")


def _ours(name: bytes, data: Any) -> bytes:
    return _OURS + name + b"\ndata: " + encode_json(data) + b"\n\n"


def has_own_records(records: bytes) -> bool:
    """Whether some of them are ours; no chunk can hold these bytes, since none has an empty line."""
    return records.startswith(_OURS) or records.find(_THEN_OURS) >= 0


def records_of(records: bytes) -> Iterator[tuple[str | None, bytes]]:
    """Whole records: the name of ours, or None for a chunk, and the data."""
    for name, data in _RECORD.findall(records):
        yield name.decode() or None, data.replace(b"\ndata: ", b"\n")


def runs_of(records: bytes) -> Iterator[tuple[str | None, bytes]]:
    """The same, but that chunks which follow each other come together, as records."""
    parts = (_END + records).split(_THEN_OURS)
    if chunks := parts[0]:
        yield None, chunks[len(_END) :] + (_END if len(parts) > 1 else b"")
    for place in range(1, len(parts)):
        own, _, chunks = parts[place].partition(_END)
        name, _, data = own.partition(_LINE)
        yield name.decode(), data
        if chunks:
            yield None, chunks if place == len(parts) - 1 else chunks + _END


def chunk_records(upstream_protocol: str) -> Callable[[bytes], bytes] | None:
    """What makes chunks of the records of one log whose upstream spoke another protocol, fed in order from its
    beginning; our own records stay. None for chat completions, whose records are chunks."""
    front = front_of(upstream_protocol)
    if front is None:
        return None
    as_chunks = PayloadsAsChunks(front)

    def convert(records: bytes) -> bytes:
        pieces: list[bytes] = []
        for name, data in records_of(records):
            if name is None:
                pieces += [b"data: " + _one_line(chunk) + b"\n\n" for chunk in as_chunks.chunks_of(data)]
            else:
                pieces.append(_OURS + name.encode() + b"\ndata: " + data + b"\n\n")
        return b"".join(pieces)

    return convert


class EventsOfRecords:
    """Records to the typed events of the same answer.

    Attributes:
        failure: what the answer failed of, once the log says so; None without a failure.
        done: how it ended; None while it runs.

    Args:
        upstream_protocol: that of upstream's records.
    """

    def __init__(self, upstream_protocol: str = CHAT) -> None:
        self.failure: Failure | None = None
        self.done: Done | None = None
        self._is_sealed = False
        self._chunks_of = chunk_records(upstream_protocol)
        self._translator = ChatTranslator(lambda: 0.0, max_event_bytes=_ANY_SIZE)

    @property
    def created_s(self) -> int | None:
        """When upstream began the answer, in epoch seconds; None where it did not say."""
        return self._translator.created_s

    def feed(self, records: bytes) -> list[ChatEvent]:
        """The events of whole records, in order."""
        if self._chunks_of is not None:
            records = self._chunks_of(records)
        if not has_own_records(records):
            return self._of_chunks(records)
        events: list[ChatEvent] = []
        for name, data in records_of(records):
            if name is None:
                events += self._of_chunks(b"data: " + _one_line(data) + b"\n\n")
            else:
                events += self._of_ours(name, decode_json(data))
        return events

    def _of_chunks(self, records: bytes) -> list[ChatEvent]:
        """How it ended is told by our own records alone, and behind a failure comes nothing but its figures."""
        if self.failure is not None:
            return []
        return [event for event in self._translator.receive_data(records) if not isinstance(event, _ENDS)]

    def _of_ours(self, name: str, data: Any) -> list[ChatEvent]:
        match name:
            case "opened":
                self._translator.generation_id = data["generation_id"]
            case "usage":
                return [*self._translator.flush(), msgspec.convert(data, UsageReport)]
            case "error":
                self.failure = msgspec.convert(data["failure"], Failure)
                self._is_sealed = "sealed" in data
                return [*self._rest(), StreamFailed(self.failure)]
            case "done":
                self.done = msgspec.convert(data, Done)
                return [*self._rest(), self.done]
        return []

    def _rest(self) -> list[ChatEvent]:
        """What was held back until the end."""
        return [] if self._is_sealed else self._translator.flush()


class TypedView:
    """Records as the event stream of `/chat`: the same events with the same numbers for whoever reads, whenever.

    Args:
        after: number of the last event that the reader has.
        upstream_protocol: that of upstream's records.
    """

    def __init__(self, stream_id: str, after: int = 0, upstream_protocol: str = CHAT) -> None:
        self._events = EventsOfRecords(upstream_protocol)
        self._encoder = EventEncoder(stream_id)
        self._after = after

    @property
    def last(self) -> int:
        """Number of the last event so far."""
        return self._encoder.count

    @property
    def created_s(self) -> int | None:
        """When upstream began the answer, in epoch seconds; None where it did not say."""
        return self._events.created_s

    def view(self, records: bytes) -> bytes:
        """The events of these records, without those that the reader has."""
        events = self._events.feed(records)
        if (behind := sealed_behind(records)) is not None:
            self._encoder.count = behind
        known = min(max(self._after - self._encoder.count, 0), len(events))
        self._encoder.count += known
        return self._encoder.encode(events[known:]) if len(events) > known else b""

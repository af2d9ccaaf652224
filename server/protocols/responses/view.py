"""A log of any kind as the event stream of Responses. Pure module.

Rules of this module: every event has its type twice, as `event:` and in its data, and a number, from 0 without gaps;
no `id:` lines; nothing behind the event that ends the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from client.border.json_codec import decode_json, encode_json
from client.streams.log_events import Kept, LogEvent, LogEvents, log_events_of
from client.streams.raw_log import records_of
from client.streams.seal import sealed_behind
from server.protocols.event_view import EventView
from server.protocols.responses.composer import Composer
from server.protocols.responses.output_items import Event
from server.protocols.responses.passed import PassedAnswer


class Answered(Kept, Protocol):
    """A stream, as far as its readers must know it beside its log."""

    @property
    def id(self) -> str:
        """Of which all ids are made."""

    @property
    def created_s(self) -> float:
        """Epoch seconds."""

    @property
    def requested_model(self) -> str:
        """The one that was asked for."""

    @property
    def asked(self) -> object:
        """What is repeated of the request, if it was made in this protocol."""

    @property
    def protocol(self) -> str:
        """In whose words it was asked for."""


PROTOCOL = "responses"
NOTHING = 1 << 62
"""After this number no event comes: of a view that is asked for the object alone."""


class Answer(Protocol):
    """What an answer amounts to so far."""

    def response(self, usage: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object; `usage`, in the words of chat completions, where it was found out later."""

    def item(self, item_id: str) -> dict[str, Any] | None:
        """The item of that id; None where there is none."""


class AnswerView(Protocol):
    """A view (`server.routes.readers.View`) that knows what it has shown."""

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records."""

    @property
    def answer(self) -> Answer:
        """So far."""


def view_of(stream: Answered, after: int = -1) -> AnswerView:
    """A new reader's view of a stream, whatever its log holds.

    Args:
        after: number of the last event that the reader has; -1: none.
    """
    kept = stream.asked
    asked = decode_json(kept) if stream.protocol == PROTOCOL and isinstance(kept, bytes) else {}
    known: dict[str, Any] = {"created_s": stream.created_s, "model": stream.requested_model, "asked": asked}
    if stream.holds_chunks and stream.upstream_protocol == PROTOCOL:
        return PassedView(PassedAnswer(stream.id, **known), after)
    return TranslatedView(log_events_of(stream), Composer(stream.id, **known), after)


class _Writer:
    """Numbers events and makes bytes of them.

    Args:
        after: number of the last event that the reader has.
    """

    def __init__(self, after: int) -> None:
        self._after = after
        self._next = 0

    def write(self, events: Iterable[Event]) -> bytes:
        """Those that the reader has not."""
        pieces: list[bytes] = []
        for kind, fields in events:
            if self._next > self._after:
                data = encode_json({"type": kind, "sequence_number": self._next, **fields})
                pieces.append(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n")
            self._next += 1
        return b"".join(pieces)

    def jump(self, behind: int) -> None:
        """Numbers go on behind that one (`client.streams.seal`)."""
        self._next = behind + 1


class TranslatedView(EventView):
    """The events of Responses made of those of any other log.

    Attributes:
        answer: what they amount to so far.
    """

    def __init__(self, events: LogEvents, composer: Composer, after: int) -> None:
        super().__init__(events)
        self.answer = composer
        self._writer = _Writer(after)

    def say(self, event: LogEvent) -> bytes:
        """The bytes for one event; maybe none."""
        return self._writer.write(self.answer.take(event))

    def jump(self, behind: int) -> bytes:
        """The beginning, if there was none yet."""
        begun = self._writer.write(self.answer.begin())
        self._writer.jump(behind)
        return begun


class PassedView:
    """Upstream's own events.

    Attributes:
        answer: what they amount to so far.
    """

    def __init__(self, answer: PassedAnswer, after: int) -> None:
        self.answer = answer
        self._writer = _Writer(after)

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records."""
        begun = b""
        if (behind := sealed_behind(records)) is not None:
            begun = self._writer.write(self.answer.begin())
            self._writer.jump(behind)
        return begun + b"".join(self._writer.write(self.answer.take(*record)) for record in records_of(records))

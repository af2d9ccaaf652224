"""A log of either kind as the event stream of Responses. Pure module.

Rules of this module: every event has its type twice, as `event:` and in its data, and a number, from 0 without gaps;
no `id:` lines; nothing behind the event that ends the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from client.border.json_codec import decode_json, encode_json
from client.streams.log_events import Kept, LogEvent, log_events_of
from server.protocols.event_view import EventView
from server.protocols.responses.composer import Composer
from server.protocols.responses.output_items import Event


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


def composer_of(stream: Answered) -> Composer:
    """A new reader's composer of the stream's events."""
    kept = stream.asked
    asked = decode_json(kept) if stream.protocol == PROTOCOL and isinstance(kept, bytes) else {}
    return Composer(stream.id, created_s=stream.created_s, model=stream.requested_model, asked=asked)


class ResponsesView(EventView):
    """What one reader gets.

    Args:
        after: number of the last event that the reader has; -1: none.
    """

    def __init__(self, stream: Answered, after: int = -1) -> None:
        super().__init__(log_events_of(stream))
        self._composer = composer_of(stream)
        self._after = after
        self._next = 0

    def say(self, event: LogEvent) -> bytes:
        """The bytes for one event; maybe none."""
        return self._written(self._composer.take(event))

    def _written(self, events: Iterable[Event]) -> bytes:
        pieces: list[bytes] = []
        for kind, fields in events:
            if self._next > self._after:
                data = encode_json({"type": kind, "sequence_number": self._next, **fields})
                pieces.append(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n")
            self._next += 1
        return b"".join(pieces)

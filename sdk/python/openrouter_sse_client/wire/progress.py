"""How far an answer has come. Pure module.

Two places are kept. *Received* is what has come over the wire: after it the server is asked to go on when the
connection was lost. *Delivered* is what the reader has been given: what it keeps of `content` and `last_event_id`
fits together at any moment, so both may be stored and the answer be resumed by another process.
"""

from __future__ import annotations

from collections import deque

from openrouter_sse_client.wire.events import Content, Done, Error, Event, Reasoning, Usage


class Progress:
    """What of an answer has been received and delivered.

    Attributes:
        received_id: id of the last event that came; None before the first.
        delivered_id: id of the last event that the reader was given.
        usage, error, done: as soon as they were received.
    """

    def __init__(self, last_event_id: str | None = None) -> None:
        self.received_id = last_event_id
        self.delivered_id = last_event_id
        self.usage: Usage | None = None
        self.error: Error | None = None
        self.done: Done | None = None
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._waiting: deque[Event] = deque()

    @property
    def content(self) -> str:
        """The answer's text that was delivered."""
        return _joined(self._content)

    @property
    def reasoning(self) -> str:
        """The thinking that was delivered."""
        return _joined(self._reasoning)

    @property
    def is_waiting(self) -> bool:
        """Whether an event was received and not delivered yet."""
        return bool(self._waiting)

    def receive(self, event: Event) -> bool:
        """Takes an event of the wire; False for one that was received before, or comes after the end."""
        if self.done is not None or self._is_old(event.event_id):
            return False
        self.received_id = event.event_id or self.received_id
        match event:
            case Usage():
                self.usage = event
            case Error():
                self.error = event
            case Done():
                self.done = event
            case _:
                pass
        self._waiting.append(event)
        return True

    def deliver(self) -> Event:
        """The next event for the reader; there must be one."""
        event = self._waiting.popleft()
        self.delivered_id = event.event_id or self.delivered_id
        match event:
            case Content(text):
                self._content.append(text)
            case Reasoning(text):
                self._reasoning.append(text)
            case _:
                pass
        return event

    def _is_old(self, event_id: str) -> bool:
        """Whether this event, or a later one of the same stream, was received already."""
        known, new = _place(self.received_id), _place(event_id)
        return known is not None and new is not None and known[0] == new[0] and new[1] <= known[1]


def _place(event_id: str | None) -> tuple[str, int] | None:
    """The stream and the number that an event id names; None for one of another form."""
    stream_id, _, number = (event_id or "").rpartition(":")
    is_number = number.isascii() and number.isdigit() and len(number) < 19
    return (stream_id, int(number)) if stream_id and is_number else None


def _joined(pieces: list[str]) -> str:
    """The text of all pieces, which are one afterwards: asking again and again costs no more."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""

"""What readers get of a log, made of its events one by one: for protocols that have words of their own for each."""

from __future__ import annotations

from abc import ABC, abstractmethod

from client.streams.log_events import LogEvent, LogEvents


class EventView(ABC):
    """A reader's view (`server.routes.readers.View`) of any log, whether it holds typed events or chunks.

    The same bytes come out however the records come in; so whatever is made up (ids, times) is made of the stream
    and of places in it.
    """

    def __init__(self, events: LogEvents) -> None:
        self._events = events

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records; maybe none."""
        return b"".join(map(self.say, self._events.feed(records)))

    @abstractmethod
    def say(self, event: LogEvent) -> bytes:
        """The bytes for one event; maybe none."""

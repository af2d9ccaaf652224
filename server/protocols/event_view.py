"""What readers get of a log, made of its events one by one: for protocols that have words of their own for each."""

from __future__ import annotations

from abc import ABC, abstractmethod

from client.streams.log_events import LogEvent, LogEvents
from client.streams.seal import sealed_behind


class EventView(ABC):
    """A reader's view (`server.routes.readers.View`) of any log, whether it holds typed events or chunks.

    The same bytes come out however the records come in; so whatever is made up (ids, times) is made of the stream
    and of places in it.
    """

    def __init__(self, events: LogEvents) -> None:
        self._events = events

    def view(self, records: bytes) -> bytes:
        """The bytes for whole records; maybe none."""
        behind = sealed_behind(records)
        begun = b"" if behind is None else self.jump(behind)
        return begun + b"".join(map(self.say, self._events.feed(records)))

    def jump(self, behind: int) -> bytes:
        """The end that follows was told by somebody else (`client.streams.seal`): whoever numbers what it says goes
        on behind that number, and says nothing but that end. The bytes of what must come first; maybe none."""
        return b""

    @abstractmethod
    def say(self, event: LogEvent) -> bytes:
        """The bytes for one event; maybe none."""

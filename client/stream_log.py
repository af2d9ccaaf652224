"""The append-only log of one answer's events, as the bytes that readers get.

Events are numbered from 1. One writer appends, any number of readers read after the number they have, each at its own
pace. This module is the only one that knows where a log lives: in memory, for now.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence


class EventsGone(Exception):
    """The events asked for were dropped to keep the log within its size."""


class StreamLog:
    """A log in memory: the bytes of all events, and where each ends.

    Attributes:
        last: number of the newest event; 0 while there is none.
        closed: true once the last event was appended.
    """

    def __init__(self) -> None:
        self.last = 0
        self.closed = False
        self._data = bytearray()
        self._ends = array("Q")  # offset behind each kept event, counted from the log's very beginning
        self._dropped_bytes = 0
        self._dropped = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the events that are kept."""
        return len(self._data)

    @property
    def first(self) -> int:
        """Number of the oldest event kept."""
        return self._dropped + 1

    def append(self, events: Sequence[bytes]) -> bytes:
        """Adds events and returns them as one piece."""
        piece = events[0] if len(events) == 1 else b"".join(events)
        end = self._dropped_bytes + len(self._data)
        self._data += piece
        for event in events:
            end += len(event)
            self._ends.append(end)
        self.last += len(events)
        return piece

    async def read_after(self, number: int, max_bytes: int) -> tuple[bytes, int]:
        """Whole events after `number`, about `max_bytes` of them but at least one, and the number of the last.

        Empty when there is none yet.

        Raises:
            EventsGone: some of them were dropped.
        """
        if number < self._dropped:
            raise EventsGone
        if number >= self.last:
            return b"", self.last
        at = number - self._dropped
        start = self._ends[at - 1] if at else self._dropped_bytes
        stop = max(at + 1, bisect_right(self._ends, start + max_bytes, at))
        piece = self._data[start - self._dropped_bytes : self._ends[stop - 1] - self._dropped_bytes]
        return bytes(piece), self._dropped + stop

    def drop_through(self, number: int) -> int:
        """Forgets the events up to `number`; returns the bytes freed."""
        count = min(number, self.last) - self._dropped
        if count <= 0:
            return 0
        freed = self._ends[count - 1] - self._dropped_bytes
        del self._data[:freed]
        del self._ends[:count]
        self._dropped += count
        self._dropped_bytes += freed
        return freed

    def close(self) -> None:
        """No event will follow; gives back the room that was kept for more."""
        self.closed = True
        self._data = bytearray(bytes(self._data))

    def expire(self) -> int:
        """Forgets everything; returns the bytes freed."""
        return self.drop_through(self.last)

"""The append-only log of one answer's events, as the bytes that readers get.

Events are numbered from 1, by one; only the end that somebody else has told of an answer stands further up
(`client.streams.seal`). One writer appends, any number of readers read after the number they have, each at its own
pace. This module is the only one that knows where a log lives: in memory, for now. Of the events it knows that each
ends with an empty line, and holds no other: so it need not keep the place of every one, only of some.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

_END = b"\n\n"
_MARK_BYTES = 4096
"""How far apart the marks are, about: a search for one event looks at so many bytes."""


class EventsGone(Exception):
    """The events asked for were dropped to keep the log within its size."""


_NO_JUMP = (1 << 63, 0)
_NO_MARKS = array("Q")
"""Of logs that are too small for one; never changed."""


class StreamLog:
    """A log in memory: the bytes of all events, and marks that say where some of them end.

    Attributes:
        last: number of the newest event; 0 while there is none.
        size_bytes: bytes of the events that are kept.
        closed: true once the last event was appended.
    """

    __slots__ = (
        "_data",
        "_dropped",
        "_dropped_bytes",
        "_ends",
        "_jump",
        "_next_mark_bytes",
        "_numbers",
        "closed",
        "last",
        "size_bytes",
    )

    def __init__(self) -> None:
        self.last = 0
        self.size_bytes = 0
        self.closed = False
        self._data: bytearray | bytes = bytearray()  # bytes once it is closed
        # Places are counted: what follows is of events as if their numbers had no jump in them.
        self._jump = _NO_JUMP  # the place behind which the numbers jump, and by how much
        self._numbers = _NO_MARKS  # of marked events, rising
        self._ends = _NO_MARKS  # offset behind each of them, counted from the log's very beginning
        self._next_mark_bytes = _MARK_BYTES  # size of what is kept from which on another is due
        self._dropped_bytes = 0
        self._dropped = 0

    @property
    def written_bytes(self) -> int:
        """Bytes of all events that were ever appended."""
        return self._dropped_bytes + self.size_bytes

    @property
    def first(self) -> int:
        """Number of the oldest event kept."""
        return self._number_of(self._dropped) + 1

    @property
    def count(self) -> int:
        """Events that were ever appended."""
        return self.last - self._jump[1]

    def begin_behind(self, number: int) -> None:
        """Begins an empty log in the middle: its first event is the one behind that, and those before it are gone."""
        self.last = self._dropped = number

    def jump(self, number: int) -> None:
        """The next event is the one behind that number; once in the life of a log."""
        self._mark(self.size_bytes)  # a piece never reaches across it
        self._jump = self.last, number - self.last
        self.last = number

    def append(self, events: bytes, count: int) -> None:
        """Adds `count` events."""
        self._data += events
        self.last += count
        self.size_bytes = size_bytes = len(self._data)
        if size_bytes >= self._next_mark_bytes:
            self._mark(size_bytes)

    def _mark(self, size_bytes: int) -> None:
        if self._numbers is _NO_MARKS:
            self._numbers, self._ends = array("Q"), array("Q")
        self._numbers.append(self.last - self._jump[1])
        self._ends.append(self._dropped_bytes + size_bytes)
        self._next_mark_bytes = size_bytes + _MARK_BYTES

    async def read_after(self, number: int, max_bytes: int) -> tuple[bytes, int]:
        """Whole events after `number`, about `max_bytes` of them but at least one, and the number of the last.

        Empty when there is none yet. What stands behind a jump comes in a piece of its own.

        Raises:
            EventsGone: some of them were dropped.
        """
        return self.piece_after(number, max_bytes)

    def piece_after(self, number: int, max_bytes: int) -> tuple[bytes, int]:
        """The same at once."""
        place = self._place_of(number)
        if place < self._dropped:
            raise EventsGone
        if number >= self.last:
            return b"", self.last
        if place == self._dropped and self.closed and self.size_bytes <= max_bytes and not self._jump[1]:
            return bytes(self._data), self.last  # all of a short answer, which is kept as bytes: no copy is made
        start = self._offset_behind(place)
        end, end_place = self._dropped_bytes + self.size_bytes, self.count
        if place < self._jump[0] < end_place:
            end, end_place = self._offset_behind(self._jump[0]), self._jump[0]
        if end - start > max_bytes:
            mark = max(bisect_right(self._ends, start + max_bytes) - 1, bisect_right(self._ends, start))
            if mark < len(self._ends):
                end, end_place = min((end, end_place), (self._ends[mark], self._numbers[mark]))
        with memoryview(self._data) as kept:  # a slice of the data would be a copy of its own
            return bytes(kept[start - self._dropped_bytes : end - self._dropped_bytes]), self._number_of(end_place)

    def rest_behind(self, written_bytes: int, max_bytes: int) -> bytes | None:
        """All events behind the one that was the last when so many bytes had been written, for whoever has noted
        that: nothing is searched for. None: they are too many, or gone, or the numbers jump (`piece_after`)."""
        at = written_bytes - self._dropped_bytes
        if at < 0 or self.size_bytes - at > max_bytes or self._jump[1]:
            return None
        return bytes(self._data[at:])

    def drop_through(self, number: int) -> int:
        """Forgets the events up to `number`; returns the bytes freed."""
        place = min(self._place_of(number), self.count)
        if place <= self._dropped:
            return 0
        offset = self._offset_behind(place)
        freed = offset - self._dropped_bytes
        marks = bisect_right(self._ends, offset)
        if isinstance(self._data, bytearray):
            del self._data[:freed]
        else:
            self._data = self._data[freed:]
        if marks:
            del self._numbers[:marks]
            del self._ends[:marks]
        self._dropped = place
        self._dropped_bytes = offset
        self._next_mark_bytes -= freed
        self.size_bytes -= freed
        return freed

    def close(self) -> None:
        """No event will follow; gives back the room that was kept for more."""
        self.closed = True
        self._data = bytes(self._data)

    def expire(self) -> int:
        """Forgets everything; returns the bytes freed."""
        return self.drop_through(self.last)

    def _place_of(self, number: int) -> int:
        """How many events come up to that number."""
        behind, gap = self._jump
        return number if number <= behind else max(behind, number - gap)

    def _number_of(self, place: int) -> int:
        behind, gap = self._jump
        return place if place <= behind else place + gap

    def _offset_behind(self, place: int) -> int:
        """Where an event that is kept, or was the last one dropped, ends: from the nearest mark before it on, or back
        from the log's end where that is nearer, as for whoever reads along."""
        if place == self.count:
            return self._dropped_bytes + self.size_bytes
        mark = bisect_left(self._numbers, place)
        if mark < len(self._numbers) and self._numbers[mark] == place:
            return self._ends[mark]
        counted, offset = (
            (self._numbers[mark - 1], self._ends[mark - 1]) if mark else (self._dropped, self._dropped_bytes)
        )
        if self.count - place < place - counted:
            at = self.size_bytes
            for _ in range(self.count - place):
                at = self._data.rindex(_END, 0, at - len(_END)) + len(_END)
            return at + self._dropped_bytes
        at = offset - self._dropped_bytes
        for _ in range(place - counted):
            at = self._data.index(_END, at) + len(_END)
        return at + self._dropped_bytes

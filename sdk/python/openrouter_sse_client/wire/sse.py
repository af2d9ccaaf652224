"""Bytes to server-sent events, after the WHATWG text (HTML standard, 9.2.6).

Rules of this module: lines end at LF, CR or CRLF and nowhere else (`str.splitlines` would cut JSON at U+2028); reads
may end anywhere, also inside a character; what an event holds is decoded when it is whole; memory is bounded. It does
not know what `data` means. Pure module: no I/O.
"""

from __future__ import annotations

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_MOST_BYTES = 256 * 1024 * 1024


class ServerSentEvent(NamedTuple):
    """One event of the wire.

    Attributes:
        name: of the field `event`; "message" without one.
        data: the lines of `data`, joined by LF.
        id: the last `id` so far, of this event or of one before; "" without any.
    """

    name: str
    data: str
    id: str


class EventTooLarge(Exception):
    """An event outgrew the limit; the decoder must not be fed again."""


class SSEDecoder:
    """Incremental decoder; feed it reads as they come.

    Attributes:
        retry_ms: what the last `retry` field said; None without one.
    """

    def __init__(self, max_event_bytes: int = _MOST_BYTES) -> None:
        self.retry_ms: int | None = None
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # pieces of a line that no read has ended yet: joined once, when it ends
        self._held_bytes = 0  # of that line, and of the data of the event under way
        self._name = b""
        self._data: list[bytes] = []
        self._id = ""
        self._after_cr = False
        self._at_start = True

    def receive_data(self, data: bytes) -> list[ServerSentEvent]:
        """The events that this read completed, in order.

        Raises:
            EventTooLarge: the event under way passed the limit.
        """
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if self._at_start:
            data = self._without_bom(data)
        if not data:
            return []
        lines = data.splitlines(keepends=False) if b"\r" in data else data.split(b"\n")  # of bytes: LF, CR, CRLF only
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            if data[-1:] in b"\r\n":
                lines.append(b"")
        unfinished = lines.pop()
        events = self._take_lines(lines)
        if unfinished:
            self._line.append(unfinished)
            self._hold(len(unfinished))
        return events

    def _without_bom(self, data: bytes) -> bytes:
        """Without one leading byte order mark; a read that is only a part of one is held back."""
        head = b"".join(self._line) + data
        self._line, self._held_bytes = [], 0
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._line = [head] if head else []
            return b""
        self._at_start = False
        return head.removeprefix(_BOM)

    def _take_lines(self, lines: list[bytes]) -> list[ServerSentEvent]:
        """Whole lines, of which the first may have begun in an earlier read."""
        events: list[ServerSentEvent] = []
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line = []
        for line in lines:
            if line:
                self._take_field(line)
            else:
                if self._data:
                    name = self._name.decode("utf-8", "replace") or "message"
                    events.append(ServerSentEvent(name, b"\n".join(self._data).decode("utf-8", "replace"), self._id))
                self._name, self._data, self._held_bytes = b"", [], 0
        return events

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                self._data.append(value)
                self._hold(len(value) + 1)
            case b"event":
                self._name = value
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self.retry_ms = int(value[:18])
            case _:
                pass  # a comment, or a field that the standard does not know

    def _hold(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes
        if self._held_bytes > self._max_event_bytes:
            self._line, self._data = [], []
            raise EventTooLarge(f"a server-sent event is larger than {self._max_event_bytes} bytes")

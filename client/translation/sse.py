"""Bytes to the data of server-sent events, after the WHATWG text (HTML standard, 9.2.6).

Rules of this module: lines end at LF, CR or CRLF and nowhere else (`str.splitlines` would cut JSON strings at
U+2028); reads may end anywhere, also inside a UTF-8 character; nothing is decoded here; memory is bounded by
`max_event_bytes`. It does not know what `data` means, nor `[DONE]`. The fields `id` and `retry` are read past: chat
completions carry none. Of `event` one value matters: data of an event named `error` comes as `ErrorData`.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "
_END = b"\n\n"
_NEXT = _END + _DATA
_LF = 10
_CR = 13
"""As a number, which is looked for in a third of the time."""
_JOINED_BYTES = 65_536
"""Most of an unfinished line that is joined with the next read; a longer one is kept in pieces, or every read of a
large event would copy all of it."""


class EventTooLarge(Exception):
    """An event grew beyond `max_event_bytes`; the decoder holds nothing any more and must not be fed again.

    Attributes:
        events: data of the events that the same read completed before.
    """

    def __init__(self, max_event_bytes: int) -> None:
        super().__init__(f"a server-sent event is larger than {max_event_bytes} bytes")
        self.max_event_bytes = max_event_bytes
        self.events: list[bytes] = []


class ErrorData(bytes):
    """The data of an event that is named `error`."""


class SSEDecoder:
    """Incremental decoder; feed it reads as they come."""

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_data",
        "_data_bytes",
        "_is_between",
        "_is_error",
        "_line",
        "_line_bytes",
        "_max_event_bytes",
    )

    def __init__(self, max_event_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # pieces of a line that no read has ended yet
        self._line_bytes = 0
        self._data: list[bytes] = []  # data fields of the event under way
        self._data_bytes = 0
        self._is_error = False  # the event under way is named so
        self._after_cr = False
        self._at_start = True
        self._is_between = False  # two events: nothing of the last read is outstanding

    def receive_data(self, data: bytes) -> list[bytes]:
        """The data of every event that this read completed, in order.

        Raises:
            EventTooLarge: the event under way passed the cap.
        """
        if self._is_between:  # then a read is one event of one line, as a rule
            line, _, rest = data.partition(b"\n")
            if rest == b"\n" and line[:6] == _DATA and _CR not in line and len(data) <= self._max_event_bytes:
                return [line[6:]]
        events = self._receive(data)
        self._is_between = not (self._at_start or self._after_cr or self._line or self._data or self._is_error)
        return events

    def _receive(self, data: bytes) -> list[bytes]:
        """What is more or less than one event, or follows something unfinished."""
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        if self._at_start:
            data = self._strip_bom(data)
        if not data:
            return []
        if self._line and not self._data and self._line_bytes < _JOINED_BYTES:
            self._line.append(data)
            data = b"".join(self._line)
            self._line, self._line_bytes = [], 0
        is_between = not self._line and not self._data and not self._is_error
        if is_between and _CR not in data and len(data) <= self._max_event_bytes:
            return self._take_blocks(data)
        if _CR in data:
            lines = data.splitlines()  # on bytes: LF, CR, CRLF only
            self._after_cr = data[-1:] == b"\r"
            if data[-1:] in b"\r\n":
                lines.append(b"")
        else:
            lines = data.split(b"\n")
        return self._take_lines(lines)

    def receive_eof(self) -> list[bytes]:
        """What an event without its closing empty line held, if anything. The standard drops it; a last `[DONE]`
        without line end does occur, so the reader of the data decides."""
        rest = b"".join(self._line)
        if self._at_start:
            rest = rest.removeprefix(_BOM)
        lines = [rest, b"", b""] if rest else [b"", b""]
        self._line, self._line_bytes = [], 0
        return self._take_lines(lines)

    def _strip_bom(self, data: bytes) -> bytes:
        """Removes one leading byte order mark; holds a read back that is only a part of one."""
        head = b"".join(self._line) + data
        self._line, self._line_bytes = [], 0
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._line, self._line_bytes = [head], len(head)
            return b""
        self._at_start = False
        return head.removeprefix(_BOM)

    def _take_blocks(self, data: bytes) -> list[bytes]:
        """The common case: lines end at LF, and no event is under way. One cut an event, not one a line."""
        end = data.rfind(_END)
        if end < 0:
            self._take_lines_into([], data.split(b"\n"))
            return []
        events = data[:end].split(_NEXT)
        is_one_line_each = _LF not in b"".join(events)  # to copy is faster than to count
        if is_one_line_each and data.startswith(_DATA):
            events[0] = events[0][len(_DATA) :]
        elif is_one_line_each and data.startswith(b":"):  # a comment
            del events[0]
        else:
            events = self._take_odd_blocks(data[:end].split(_END))
        if rest := data[end + 2 :]:
            self._take_lines_into(events, rest.split(b"\n"))
        return events

    def _take_odd_blocks(self, blocks: list[bytes]) -> list[bytes]:
        """Whole events and comments, each without its empty line."""
        events: list[bytes] = []
        for block in filter(None, blocks):  # empty lines alone are nothing
            is_line = b"\n" not in block
            if is_line and block.startswith(_DATA):
                events.append(block[len(_DATA) :])
            elif not (is_line and block.startswith(b":")):
                self._take_lines_into(events, [*block.split(b"\n"), b"", b""])
        return events

    def _take_lines(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        try:
            self._take_lines_into(events, lines)
        except EventTooLarge as exc:
            exc.events = events
            raise
        return events

    def _take_lines_into(self, events: list[bytes], lines: list[bytes]) -> None:
        """All but the last of `lines` are whole; the last one is the start of the next line."""
        last = lines.pop()
        if lines and self._line:
            self._line.append(lines[0])
            lines[0] = b"".join(self._line)
            self._line, self._line_bytes = [], 0
        for line in lines:
            if not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(ErrorData(data) if self._is_error else data)
                    self._data, self._data_bytes = [], 0
                self._is_error = False
            elif line.startswith(b"data: "):
                self._take_data(line[6:])
            elif line.startswith(b"data"):
                self._take_other_data(line)
            elif line.startswith(b"event:"):
                self._is_error = line[6:].strip().lower() == b"error"
        if last:
            self._line.append(last)
            self._line_bytes += len(last)
            self._check_size()

    def _take_data(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1  # and the line end that joins it to the next
        self._check_size()

    def _take_other_data(self, line: bytes) -> None:
        """`data` alone, or `data:` without the space; any other field name that starts so is ignored."""
        name, colon, value = line.partition(b":")
        if name == b"data":
            self._take_data(value if colon else b"")

    def _check_size(self) -> None:
        if self._data_bytes + self._line_bytes > self._max_event_bytes:
            self._line, self._line_bytes = [], 0
            self._data, self._data_bytes = [], 0
            raise EventTooLarge(self._max_event_bytes)

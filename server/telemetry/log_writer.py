"""Writes lines to a descriptor, and never makes anybody wait for it.

A write to a pipe that nobody reads, to a terminal that was stopped or to a disk that hangs takes as long as it likes.
So it is done on a thread of its own, which the process does not wait for at its end. Lines wait in a queue of bounded
size; what does not fit, or cannot be written, is dropped and counted, and the gap is told where it is. No line is
ever broken in two, and their order is kept.

A line is written at once when none was written just before, else together with others a moment later: waking the
thread for each of many lines costs more than writing them.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

_MAX_HELD_BYTES = 1024 * 1024
_TOGETHER_BYTES = 4096
"""PIPE_BUF: so much goes into a pipe in one piece, also when another process writes there (pipe(7))."""
_PAUSE_S = 0.05
_LINE_END = 0x0A


class LogWriter:
    """The thread, and the lines that wait for it.

    Attributes:
        dropped: lines that nobody will see, since the start.
    """

    def __init__(self, descriptor: int, gap_line: Callable[[int], bytes]) -> None:
        """Begins to write.

        Args:
            descriptor: where to; it stays open.
            gap_line: the line that stands where so many lines are missing.
        """
        self.dropped = 0
        self._descriptor = descriptor
        self._gap_line = gap_line
        self._lock = threading.RLock()  # a finalizer may log while a line is put
        self._lines: list[bytes] = []
        self._held_bytes = 0  # of these, and of those that are being written
        self._is_full = False
        self._untold = 0  # dropped, and not told yet
        self._rest = b""  # of a line of which a part was written
        self._is_idle = False
        self._wake = threading.Semaphore(0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """False while lines are dropped."""
        return not self._is_full

    def write(self, line: bytes) -> None:
        """Puts a line, its end included, into the queue, or drops it when that is full; returns at once."""
        with self._lock:
            if self._is_full or self._held_bytes + len(line) > _MAX_HELD_BYTES:
                self._is_full = True
                self.drop()
                return
            self._held_bytes += len(line)
            self._lines.append(line)
            if self._is_idle:
                self._is_idle = False
                self._wake.release()

    def drop(self, count: int = 1) -> None:
        """Counts lines that nobody will see."""
        with self._lock:
            self.dropped += count
            self._untold += count

    def close(self, timeout_s: float) -> bool:
        """Writes what waits, for so long at most; False when that was not enough: the rest is given up."""
        self._ending.set()
        self._wake.release()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- on the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                lines, self._lines = self._lines, []
                has_gap = self._is_full and not lines  # nothing was put in since: the gap is here
                if has_gap:
                    self._is_full = False
                is_idle = self._is_idle = not lines and not has_gap
            if is_idle and self._ending.is_set():
                return
            if is_idle:
                self._wake.acquire()
                continue
            self._write_pieces(b"".join(lines))
            self._ending.wait(_PAUSE_S)

    def _write_pieces(self, lines: bytes) -> None:
        """Writes whole lines together."""
        begin = 0
        while len(lines) - begin > _TOGETHER_BYTES:
            end = lines.rfind(b"\n", begin, begin + _TOGETHER_BYTES) + 1 or lines.index(b"\n", begin) + 1
            self._write_lines(lines[begin:end])
            begin = end
        self._write_lines(lines[begin:])

    def _write_lines(self, lines: bytes) -> None:
        told = 0 if self._is_full else self._untold  # while the queue is full the gap is behind what is in it
        if not told and not lines:
            return
        lost = self._write_whole(self._gap_line(told) + lines if told else lines)
        is_told = told > 0 and lost <= lines.count(_LINE_END)
        with self._lock:
            self._held_bytes -= len(lines)
            self._untold -= told if is_told else 0
            self.drop(lost - (told > 0 and not is_told))

    def _write_whole(self, lines: bytes) -> int:
        """Writes all of it, or up to the end of a line; returns how many lines are lost."""
        todo = self._rest + lines
        is_broken = bool(self._rest)
        try:
            while todo:
                if written := self._write_some(todo):
                    is_broken = todo[written - 1] != _LINE_END
                    todo = todo[written:]
        except OSError:
            self._rest = todo[: todo.index(_LINE_END) + 1] if is_broken else b""
            return todo.count(_LINE_END) - is_broken
        self._rest = b""
        return 0

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # somebody who shares the terminal or the pipe has made it so
            select.select([], [self._descriptor], [])
            return 0

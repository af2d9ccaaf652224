"""The two pipes between a host and this process, read and written without ever holding up the end of the process.

A read of stdin blocks until the host writes, and a write to stdout until it reads; neither can be broken off. So each
is done on a daemon thread, which the interpreter does not wait for at its end, and on a private copy of the
descriptor. Descriptor 0 points at the null device and descriptor 1 at stderr meanwhile: nothing else reads or writes
the protocol.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

_READ_BYTES = 65_536
_MAX_LINE_BYTES = 64 * 1024 * 1024
_MAX_WAITING_LINES = 1000
"""Lines that wait to be taken; a host that writes faster has to wait."""


class LineTooLong:
    """Stands for a line that was not kept."""


class StdinLines:
    """The lines of stdin, as an async iterator."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | LineTooLong | None] = asyncio.Queue()
        self._room = threading.Semaphore(_MAX_WAITING_LINES)
        self._parts: list[bytes] = []
        self._size = 0

    def start(self) -> None:
        """Takes the descriptor and begins to read."""
        private = os.dup(0)
        _point(0, os.devnull, os.O_RDONLY)
        threading.Thread(target=self._read, args=(private,), name="stdin", daemon=True).start()

    def __aiter__(self) -> AsyncIterator[bytes | LineTooLong]:
        return self

    async def __anext__(self) -> bytes | LineTooLong:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        self._room.release()
        return line

    def _read(self, descriptor: int) -> None:
        """Runs on the thread."""
        with suppress(OSError):
            while piece := os.read(descriptor, _READ_BYTES):
                *ended, rest = piece.split(b"\n")
                for line in ended:
                    self._keep(line)
                    self._end_line()
                self._keep(rest)
        self._end_line()
        self._put(None)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > _MAX_LINE_BYTES:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _end_line(self) -> None:
        line = b"".join(self._parts).strip()
        if self._size > _MAX_LINE_BYTES:
            self._hand_over(LineTooLong())
        elif line:
            self._hand_over(line)
        self._parts.clear()
        self._size = 0

    def _hand_over(self, line: bytes | LineTooLong) -> None:
        self._room.acquire()
        self._put(line)

    def _put(self, line: bytes | LineTooLong | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


class StdoutLines:
    """Writes lines to stdout."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()

    def start(self) -> None:
        """Takes the descriptor."""
        private = os.dup(1)
        try:
            os.dup2(2, 1)
        except OSError:  # there is no stderr
            _point(1, os.devnull, os.O_WRONLY)
        threading.Thread(target=self._write, args=(private,), name="stdout", daemon=True).start()

    async def write(self, line: bytes) -> None:
        """Returns when the line, to which a line end is added, is written.

        Raises:
            BrokenPipeError: the host has closed its end.
        """
        written: asyncio.Future[None] = self._loop.create_future()
        self._waiting.put((line + b"\n", written))
        await written

    def _write(self, descriptor: int) -> None:
        """Runs on the thread."""
        while True:
            line, written = self._waiting.get()
            error: Exception | None = None
            try:
                _write_all(descriptor, line)
            except OSError as exc:
                error = BrokenPipeError(*exc.args)
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_settle, written, error)


def _write_all(descriptor: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _settle(written: asyncio.Future[None], error: Exception | None) -> None:
    if written.done():
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)


def _point(descriptor: int, path: str, flags: int) -> None:
    """Makes a descriptor one of that file."""
    opened = os.open(path, flags)
    os.dup2(opened, descriptor)
    os.close(opened)

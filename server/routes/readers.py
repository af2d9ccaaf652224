"""A reader of a stream: an HTTP response that is written as events come.

A response that keeps up is written from the pump's own turn of the loop, without a task switch: its connection
takes the bytes at once. One that does not keep up is served from the log by its own handler, at its own pace.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import NoReturn, Protocol

from aiohttp import web

from client.streams.deadlines import Due, deadlines_of
from client.streams.readable import Readable
from client.streams.wire import PING
from server.http.connection import Connection, write_now

try:
    import fcntl
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

PIECE_BYTES = 65_536
"""Most that is written at once, and that may lie unsent before a reader counts as lagging: the size at which the
connection itself would make its writer wait."""


class View(Protocol):
    """What a reader gets to see of a log: the same in other words. Takes whole records, each once and in order.

    One that has `passes` is not shown records that have nothing but a piece of one of these kinds each
    (`Stream.alike`), which go out as they are. One that has no words for a failure has `is_cut`: whether the
    answer has ended and is not whole, so that the body must not look so either.
    """

    def view(self, records: bytes) -> bytes:
        """The bytes that go out for these records; maybe none."""


class ResponseReader:
    """Writes a stream to a response; from the first it keeps the stream running and its log whole.

    Attributes:
        position: number of the last event written.

    Args:
        view: None: the log as it is.
        ping: what goes out in a silence; maybe nothing.
        probe: what a caller is sent who has closed its side, to find out whether it is still there; where that is
            nothing, it is taken to have left.
    """

    __slots__ = (
        "_harmless",
        "_is_framed",
        "_keeps_up",
        "_loop",
        "_passes",
        "_ping",
        "_ping_interval_s",
        "_protocol",
        "_response",
        "_seen",
        "_seen_s",
        "_stream",
        "_turn",
        "_view",
        "_waiting",
        "_written_s",
        "position",
    )

    def __init__(
        self,
        stream: Readable,
        protocol: web.RequestHandler,
        position: int,
        view: View | None = None,
        ping: bytes = PING,
        probe: bytes = PING,
    ) -> None:
        self.position = position
        self._view = view
        self._passes: tuple[type | None, ...] = getattr(view, "passes", ())
        self._ping = ping
        self._harmless = probe
        self._stream = stream
        self._protocol = protocol
        self._response: web.StreamResponse
        self._ping_interval_s: float | None = None
        self._loop = asyncio.get_running_loop()
        self._keeps_up = False
        self._is_framed = False  # what is written to the connection goes out as a chunk of the body
        self._turn: asyncio.Future[None] | None = None
        self._waiting: set[Due] | None = None  # who has to be woken at about the same time
        self._written_s = self._seen_s = self._loop.time()
        self._seen = (-1, 0)  # position and unsent bytes, when they were looked at last

    def push(self, data: bytes, last: int) -> None:
        """Writes events in the pump's turn when the connection takes them without waiting; the last ones go out
        with the end of the response, from the handler's turn."""
        if not self._keeps_up or self._stream.log.closed:
            return
        transport = self._protocol.transport
        if transport is None or transport.get_write_buffer_size() + len(data) > PIECE_BYTES:
            self.wake()
            return
        if self._view is not None and self._stream.alike not in self._passes:
            data = self._view.view(data)
            if not data:
                self.position = last
                return
        if self._is_framed:  # as aiohttp would, but for its accounts, which take a sixth of what an event takes
            if transport.is_closing():
                self.wake()  # the handler finds out for itself
                return
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            try:
                write_now(self._response, data)
            except ConnectionError:
                self.wake()
                return
            self._is_framed = self._response.chunked and not self._response.compression  # and its head is out
        self.position = last

    def wake(self) -> None:
        """Gives the turn to the handler."""
        self._keeps_up = False
        self._discard()
        self.due()

    def stalled_s(self) -> float:
        """For how long its connection has taken nothing of what waits for it."""
        now_s = self._loop.time()
        unsent_bytes = 0 if self._protocol.transport is None else _unsent_bytes(self._protocol.transport)
        place = self.position, unsent_bytes
        if place != self._seen or not (unsent_bytes or self.position < self._stream.log.last):
            self._seen, self._seen_s = place, now_s
        return now_s - self._seen_s

    def leave(self) -> None:
        """Cuts the connection: whoever reads again can resume."""
        if self._protocol.transport is not None:
            self._protocol.transport.abort()

    async def wait_verdict(self, at_most_s: float) -> None:
        """Until upstream has accepted or refused the request, but no longer than `at_most_s`."""
        if not self._stream.has_verdict:
            try:
                await self._turn_by(self._loop.time() + at_most_s)
            finally:
                self._discard()

    def begin(self, response: web.StreamResponse, ping_interval_s: float) -> None:
        """From now on it writes to a response, whose head has been sent."""
        self._response, self._ping_interval_s = response, ping_interval_s

    async def run(self) -> None:
        """Writes until the stream's last event is out, and ends the response; nothing where none was begun.

        Raises:
            ConnectionError: the caller has gone.
        """
        ping_interval_s = self._ping_interval_s
        if ping_interval_s is None:
            return
        if isinstance(self._protocol, Connection):
            self._protocol.probe = self._probe
        log = self._stream.log
        try:
            while not log.closed:
                while self.position < log.last:
                    await self._write(*await log.read_after(self.position, PIECE_BYTES))
                    if self.position < log.last:
                        await asyncio.sleep(0)  # a connection that takes everything never makes its writer wait
                self._keeps_up = not log.closed
                while self._keeps_up:  # one coroutine more would be one for every open answer
                    await self._turn_by(self._silent_since_s + ping_interval_s)
                    if self._keeps_up and self._loop.time() >= self._silent_since_s + ping_interval_s:
                        self._written_s = self._loop.time()
                        if self._ping:
                            await self._response.write(self._ping)
        finally:
            self._discard()
        await self._write_rest()

    def _probe(self) -> None:
        """Says something, since only so can it be told whether the caller is still there."""
        if not self._keeps_up:
            return
        if not self._harmless:
            self.leave()
            return
        with suppress(ConnectionError):
            write_now(self._response, self._harmless)

    async def _write_rest(self) -> None:
        """The events of a log that is closed; the last piece goes out in one with the end."""
        log = self._stream.log
        data, last = await log.read_after(self.position, PIECE_BYTES)
        while last < log.last or len(data) > PIECE_BYTES:
            await self._write(data, last)
            await asyncio.sleep(0)
            data, last = await log.read_after(self.position, PIECE_BYTES)
        data = data if self._view is None else self._view.view(data)
        if getattr(self._view, "is_cut", False):
            await self._cut(data)
        await self._response.write_eof(data)
        self.position = last

    async def _cut(self, data: bytes) -> NoReturn:
        """Ends the connection behind the last bytes, without the end of the body."""
        if data:
            await self._response.write(data)
        if self._protocol.transport is not None:
            self._protocol.transport.close()
        raise ConnectionResetError("the answer is not whole, and its reader is told so")

    async def _write(self, data: bytes, last: int) -> None:
        if self._view is not None:
            data = self._view.view(data)
        for start in range(0, len(data), PIECE_BYTES):
            await self._response.write(data[start : start + PIECE_BYTES])
        self.position = last
        self._written_s = self._loop.time()
        self._stream.note_progress()

    @property
    def _silent_since_s(self) -> float:
        """While it keeps up, what the stream appended was written at once."""
        return max(self._written_s, self._stream.appended_s)

    def _turn_by(self, until_s: float) -> asyncio.Future[None]:
        """Resolves when it is the handler's turn, and at that time at the latest."""
        self._discard()
        self._turn = self._loop.create_future()
        self._waiting = deadlines_of(self._loop).add(self, until_s)
        return self._turn

    def due(self) -> None:
        """The time that the handler has waited for has come."""
        self._waiting = None
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _discard(self) -> None:
        if self._waiting is not None:
            self._waiting.discard(self)
            self._waiting = None


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """What the caller has not taken yet, in the transport and, where that can be asked, in the kernel: that holds
    megabytes, and lets the transport go on only when much of them has gone."""
    unsent_bytes = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if termios is not None and sock is not None:
        with suppress(OSError):
            queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
            unsent_bytes += int.from_bytes(queued, sys.byteorder)
    return unsent_bytes

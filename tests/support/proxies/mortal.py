"""A proxy that passes bytes and dies on purpose: it cuts answers in mid-event, and stops listening for a moment."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PAGE_PATH = b"/page.html"
_READS_STREAM = b"GET /chat/", b"POST /chat"


class MortalProxy:
    """Between a browser and the server; serves one page of its own at `/page.html`, for the sake of the origin.

    Attributes:
        port: where it listens, again after each death.
        deaths: how many times it was killed.

    Args:
        lives_bytes: how much of streams each life passes before it ends; after the last of them it lives on.
    """

    def __init__(self, target_port: int, page: bytes, lives_bytes: list[int]) -> None:
        self.port = 0
        self.deaths = 0
        self._target_port = target_port
        self._page = page
        self._lives_bytes = lives_bytes
        self._passed_bytes = 0
        self._listening: socket.socket | None = None
        self._accepted: set[socket.socket] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listens, on the same port as before."""
        self._passed_bytes = 0
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listening, self._accept, self._listening)

    async def kill(self) -> None:
        """Resets every connection and listens no more."""
        self.deaths += 1
        await self.stop()

    async def stop(self) -> None:
        """Ends everything."""
        assert self._listening is not None
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        for sock in self._accepted:
            _reset_when_closed(sock)
            sock.close()
        self._accepted.clear()
        for writer in tuple(self._writers):
            _reset(writer)
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, listening: socket.socket) -> None:
        """Takes one connection on, and notes it in the same turn of the loop.

        `asyncio.Server` begins a connection a turn after it has accepted it. When it is closed in between, the
        connection stays open, and nobody knows of it.
        """
        with suppress(BlockingIOError, ConnectionError):
            sock, _ = listening.accept()
            sock.setblocking(False)
            self._accepted.add(sock)
            task = asyncio.create_task(self._serve(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock: socket.socket) -> None:
        self._accepted.discard(sock)
        reader, writer = await asyncio.open_connection(sock=sock)
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)
        if first.startswith(b"GET " + PAGE_PATH):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(self._page) + self._page)
            await writer.drain()
            return
        await self._pass_both_ways(first, reader, writer)

    async def _pass_both_ways(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.add(to_writer)
        requests = _Requests()
        up = asyncio.create_task(_pass_requests(first, reader, to_writer, requests))
        try:
            while data := await to_reader.read(65536):
                if requests.reads_stream and await self._dies_with(data, writer):
                    return
                writer.write(data)
                await writer.drain()
        finally:
            up.cancel()
            self._writers.discard(to_writer)
            to_writer.close()

    async def _dies_with(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        """Passes the last bytes of this life, dies, and lives again."""
        if self.deaths >= len(self._lives_bytes):
            return False
        left = self._lives_bytes[self.deaths] - self._passed_bytes
        self._passed_bytes += len(data)
        if len(data) < left:
            return False
        writer.write(data[:left])
        await writer.drain()
        await self.kill()
        self.start()
        return True


class _Requests:
    """What a connection was used for.

    Attributes:
        reads_stream: whether a stream is read by it.
    """

    reads_stream = False


async def _pass_requests(
    data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: _Requests
) -> None:
    with suppress(ConnectionError):
        while data:
            if data.startswith(_READS_STREAM):
                requests.reads_stream = True
            writer.write(data)
            await writer.drain()
            data = await reader.read(65536)
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        _reset_when_closed(sock)
    writer.transport.abort()


def _reset_when_closed(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def mortal_proxy(target_port: int, page: str, lives_bytes: list[int]) -> AsyncIterator[MortalProxy]:
    """A running one."""
    proxy = MortalProxy(target_port, page.encode(), lives_bytes)
    proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()

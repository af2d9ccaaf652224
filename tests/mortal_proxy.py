"""A proxy that passes bytes and dies on purpose: it cuts answers in mid-event, and stops listening for a moment."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PAGE_PATH = b"/page.html"
_READS_STREAM = b"GET /chat/"


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
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens, on the same port as before."""
        self._passed_bytes = 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Resets every connection and listens no more."""
        self.deaths += 1
        await self.stop()

    async def stop(self) -> None:
        """Ends everything."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            _reset(writer)
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
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
        await self.start()
        return True


class _Requests:
    """What a connection was used for.

    Attributes:
        reads_stream: whether a stream is read by it, by a request of its own.
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
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def mortal_proxy(target_port: int, page: str, lives_bytes: list[int]) -> AsyncIterator[MortalProxy]:
    """A running one."""
    proxy = MortalProxy(target_port, page.encode(), lives_bytes)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()

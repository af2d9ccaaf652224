"""A relay that cuts connections: each passes so many bytes of what the server says, and is reset."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress


class CuttingRelay:
    """Where it listens, and how often it has cut.

    Attributes:
        url: its origin.
        cuts: connections that were cut.
    """

    def __init__(self, target_port: int, lives_bytes: Iterator[int]) -> None:
        self.url = ""
        self.cuts = 0
        self._target_port = target_port
        self._lives_bytes = lives_bytes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one connection both ways; after the last of the lives they are all passed whole."""
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        up = asyncio.create_task(_pass(reader, to_writer))
        up.add_done_callback(lambda _: to_writer.close())  # whoever has gone is served no more
        left = next(self._lives_bytes, None)
        with suppress(OSError):
            while data := await to_reader.read(65_536):
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None and (left := left - len(data)) <= 0:
                    self.cuts += 1
                    _reset_when_closed(writer)
                    break
        up.cancel()
        to_writer.close()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


def _reset_when_closed(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def cutting_relay(target_port: int, *lives_bytes: int) -> AsyncIterator[CuttingRelay]:
    """A running one."""
    relay = CuttingRelay(target_port, iter(lives_bytes))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    async with server:
        relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield relay

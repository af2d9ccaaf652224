"""A relay that resets every connection once it has passed some bytes of the answer: the client has to come again."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_END = b"\r\n0\r\n\r\n"


@dataclass
class Relay:
    """Where it listens, and how often it has reset a connection."""

    target_port: int
    most_bytes: int
    url: str = ""
    resets: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_target, to_target = await asyncio.open_connection("127.0.0.1", self.target_port)
        up = asyncio.create_task(_copy(reader, to_target))
        up.add_done_callback(lambda _: to_target.close())  # whoever has gone is served no more
        left = self.most_bytes
        try:
            with suppress(ConnectionError):
                while left > 0 and (data := await from_target.read(min(left, 65_536))):
                    left -= len(data)
                    writer.write(data)
                    await writer.drain()
                    if data.endswith(_END):  # each connection serves one request
                        return
            if left <= 0:
                self.resets += 1
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        finally:
            up.cancel()
            writer.close()
            to_target.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def resetting_relay(target_port: int, most_bytes: int) -> AsyncIterator[Relay]:
    """Listens while the context is open.

    Args:
        most_bytes: of an answer, its head included, that one connection passes.
    """
    relay = Relay(target_port, most_bytes)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    async with server:
        relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield relay

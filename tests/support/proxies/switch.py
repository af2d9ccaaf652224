"""A relay that can be pointed at another server: all are cut off, and find the other one behind the same port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Switch:
    """Where it listens, and where it leads.

    Attributes:
        port: on loopback.
        target_port: of the server behind it; None: nobody, connections are closed at once.
    """

    def __init__(self, target_port: int | None) -> None:
        self.port = 0
        self.target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one connection both ways."""
        if self.target_port is None:
            writer.close()
            return
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back_writer}
        await asyncio.gather(_pass(reader, back_writer), _pass(back_reader, writer))
        self._open -= {writer, back_writer}

    def lead_to(self, target_port: int | None) -> None:
        """Cuts everybody off; whoever comes back finds another server, or nobody."""
        self.target_port = target_port
        for writer in self._open:
            writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def switch_to(target_port: int | None) -> AsyncIterator[Switch]:
    """Listens while the context is open."""
    switch = Switch(target_port)
    server = await asyncio.start_server(switch.serve, "127.0.0.1", 0)
    try:
        switch.port = server.sockets[0].getsockname()[1]
        yield switch
    finally:
        switch.lead_to(None)
        server.close()

"""A forward proxy as companies have them: it tunnels with CONNECT, and passes plain HTTP on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_ABSOLUTE = re.compile(rb"\A([A-Z]+) http://[^/ ]+")


@dataclass
class ForwardProxy:
    """A proxy, and what it was asked.

    Attributes:
        port: where it listens.
        target_port: on loopback, where everything goes, whatever host was asked for.
        heads: of the requests to the proxy.
        refusal: status line to answer with, when it lets nothing through.
    """

    target_port: int
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    refusal: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if self.refusal:
                writer.write(f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            else:
                await self._pass_on(head, reader, writer)
        writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_target, to_target = await asyncio.open_connection("127.0.0.1", self.target_port)
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            to_target.write(_ABSOLUTE.sub(rb"\1 ", head))
        await asyncio.gather(_copy(reader, to_target), _copy(from_target, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def forward_proxy(target_port: int) -> AsyncIterator[ForwardProxy]:
    """Listens while the context is open."""
    proxy = ForwardProxy(target_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy

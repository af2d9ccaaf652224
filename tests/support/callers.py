"""Callers on bare sockets: they read as little, as slowly and as rudely as a test wants."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

SMALL_BUFFER_BYTES = 4096


class Caller:
    """One HTTP request on a socket of its own; the body of the response is chunked, or has its length.

    Attributes:
        head: status line and headers of the response, once it was read.
        has_ended: whether the end of the body was read.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self.has_ended = False

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response, names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if value}

    @property
    def status(self) -> int:
        """Status of the response."""
        return int(self.head.split(b" ", 2)[1])

    async def read_head(self) -> None:
        """Reads up to the body."""
        self.head = await self.reader.readuntil(b"\r\n\r\n")

    async def read_chunk(self) -> bytes:
        """One chunk of the body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        self.has_ended = size == 0
        return (await self.reader.readexactly(size + 2))[:-2]

    async def read_body(self) -> bytes:
        """The rest of the body."""
        if "content-length" in self.headers:
            return await self.reader.readexactly(int(self.headers["content-length"]))
        pieces = []
        while piece := await self.read_chunk():
            pieces.append(piece)
        return b"".join(pieces)

    def reset(self) -> None:
        """Ends the connection with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def aclose(self) -> None:
        """Ends the connection in the ordinary way."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def call(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    small: bool = False,
) -> Caller:
    """Sends a request; with `small` the socket takes hardly anything that is not read."""
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024 if small else 65536)
    data = b"" if body is None else json.dumps(body).encode()
    sent = {"Host": "localhost", "Content-Length": str(len(data)), **(headers or {})}
    if data:
        sent["Content-Type"] = "application/json"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    writer.write("\r\n".join(lines).encode() + data)
    return Caller(reader, writer)


async def call_and_read_head(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    small: bool = False,
) -> Caller:
    """Sends a request and reads the head of its response."""
    caller = await call(port, method, path, body, headers, small=small)
    await caller.read_head()
    return caller

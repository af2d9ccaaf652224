"""An upstream on a bare socket, for what no HTTP library would send."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass
class RawUpstream:
    """What was asked of it, and where it listens.

    Attributes:
        url: its base URL.
        heads: of the requests, in order.
        reads: bytes of a body that are read at once, and the pause between two reads; None reads all at once.
    """

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    reads: tuple[int, float] | None = None


@asynccontextmanager
async def raw_upstream(reply: bytes | Callable[[bytes], bytes]) -> AsyncIterator[RawUpstream]:
    """Answers every request with these bytes, or with what is made of its head, and closes."""
    asked = RawUpstream()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            asked.heads.append(head)
            length = _LENGTH.search(head)
            await _read_body(reader, int(length[1]) if length else 0, asked.reads)
            writer.write(reply if isinstance(reply, bytes) else reply(head))
            await writer.drain()
        writer.close()

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # what lies there was not read
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=listener)
    async with server:
        asked.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield asked


async def _read_body(reader: asyncio.StreamReader, size: int, reads: tuple[int, float] | None) -> None:
    piece_bytes, pause_s = reads or (size, 0.0)
    while size > 0:
        size -= len(await reader.readexactly(min(size, piece_bytes)))
        await asyncio.sleep(pause_s)


def http_reply(body: bytes, status: str = "200 OK", content_type: str = "application/json", more: str = "") -> bytes:
    """A whole HTTP reply."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode("latin-1") + body

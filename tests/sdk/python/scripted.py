"""A server that gives one connection after another a reply of the wire cases, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Pieces = Callable[[bytes], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came; names of its head are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Scripted:
    """A running one.

    Attributes:
        pieces: into which reads a body is cut.
    """

    replies: Sequence[Mapping[str, Any]]
    pieces: Pieces
    url: str = ""
    requests: list[Asked] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one reply."""
        try:
            await self._answer(await _read_request(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        reply: Mapping[str, Any] = self.replies[len(self.requests)] if len(self.requests) < len(self.replies) else {}
        self.requests.append(asked)
        if "status" not in reply:
            return
        body = reply.get("body", "").encode()
        head = {**reply.get("headers", {}), "Connection": "close"}
        if reply["status"] == 204:
            pass
        elif reply.get("end") != "cut":
            head["Transfer-Encoding"] = "chunked"
        else:  # a body that is shorter than it was said to be
            head["Content-Length"] = str(len(body) + 1)
        lines = [f"HTTP/1.1 {reply['status']} OK", *(f"{name}: {value}" for name, value in head.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for piece in self.pieces(body):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if "Transfer-Encoding" in head else piece)
            await writer.drain()
            await asyncio.sleep(0)  # a read of its own, as a rule
        if "Transfer-Encoding" in head:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def whole(body: bytes) -> Sequence[bytes]:
    """In one read."""
    return [body] if body else []


@asynccontextmanager
async def scripted(replies: Sequence[Mapping[str, Any]], pieces: Pieces = whole) -> AsyncIterator[Scripted]:
    """Serves while the context is open."""
    running = Scripted(replies, pieces)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    async with server:
        running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield running


def events_reply(stream_id: str, *events: tuple[str, Mapping[str, Any]], first: int = 1) -> dict[str, Any]:
    """A reply with these events, numbered as the server numbers them."""
    body = "".join(
        f"event: {name}\nid: {stream_id}:{number}\ndata: {json.dumps(data)}\n\n"
        for number, (name, data) in enumerate(events, first)
    )
    head = {"Content-Type": "text/event-stream", "X-Stream-Id": stream_id}
    return {"status": 200, "headers": head, "body": body, "end": "end"}

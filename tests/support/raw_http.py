"""Requests byte by byte, for what no HTTP client would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RawReply:
    """A response as it came.

    Attributes:
        interim: statuses of the 1xx responses before it.
    """

    version: str
    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


async def exchange(port: int, *pieces: bytes, half_close: bool = False, timeout_s: float = 30) -> list[RawReply]:
    """Sends bytes and reads until the server closes; every response that came.

    Args:
        half_close: closes the sending side after the last piece.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(timeout_s):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if half_close:
                writer.write_eof()
            found = await reader.read()
    finally:
        writer.transport.abort()
    return list(parse_replies(found))


async def ask(port: int, *pieces: bytes) -> RawReply:
    """Sends bytes; the first response, without waiting for the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(30):
            for piece in pieces:
                writer.write(piece)
            return await read_reply(reader)
    finally:
        writer.transport.abort()


async def read_reply(reader: asyncio.StreamReader) -> RawReply:
    """The next response; its interim ones with it."""
    interim: list[int] = []
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        version, status, headers = _parse_head(head)
        if status >= 200:
            break
        interim.append(status)
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    return RawReply(version, status, headers, body, tuple(interim))


def parse_replies(found: bytes) -> Iterable[RawReply]:
    """Every response in what a connection gave."""
    interim: list[int] = []
    while found:
        head, _, found = found.partition(b"\r\n\r\n")
        version, status, headers = _parse_head(head)
        if status < 200:
            interim.append(status)
            continue
        if headers.get("transfer-encoding") == "chunked":
            body, found = _parse_chunks(found)
        else:
            size = int(headers.get("content-length", len(found)))
            body, found = found[:size], found[size:]
        yield RawReply(version, status, headers, body, tuple(interim))
        interim = []


def _parse_head(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    version, status, *_ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return version, int(status), headers


def _parse_chunks(found: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, found = found.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return body, found.removeprefix(b"\r\n")
        body, found = body + found[:length], found[length + 2 :]

"""Serving over stdin and stdout, and ending whenever the host does.

The SDK's own reader sits in a blocking read that neither SIGINT nor a closed stdout gets it out of, so lines are read
here: from a private copy of the descriptor, on a daemon thread, which the interpreter does not wait for at its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import anyio
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server

_READ_BYTES = 65_536
_MAX_LINE_BYTES = 64 * 1024 * 1024


async def serve_stdio(mcp: MCPServer[Any]) -> None:
    """Serves until stdin ends, stdout is closed, or SIGINT or SIGTERM comes; running calls are stopped then."""
    serving = asyncio.create_task(_serve(mcp))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, serving.cancel)
    await asyncio.wait({serving})
    if not serving.cancelled() and (error := serving.exception()) is not None and not _is_end(error):
        raise error


async def _serve(mcp: MCPServer[Any]) -> None:
    server = mcp._lowlevel_server  # no public name leads from an MCPServer to a transport of one's own
    lines = StdinLines()
    lines.start()
    async with stdio_server(stdin=cast("anyio.AsyncFile[str]", lines)) as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


def _is_end(error: BaseException) -> bool:
    """Whether serving ended because the host closed its end of a pipe."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_end(each) for each in error.exceptions)
    return isinstance(error, BrokenPipeError | asyncio.CancelledError)


class StdinLines:
    """The lines of stdin, as an async iterator; descriptor 0 points at the null device from `start` on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    def start(self) -> None:
        """Takes the descriptor and begins to read."""
        private = os.dup(0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        threading.Thread(target=self._read, args=(private,), name="stdin", daemon=True).start()

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def _read(self, descriptor: int) -> None:
        """Runs on the thread."""
        rest = b""
        with suppress(OSError):
            while piece := os.read(descriptor, _READ_BYTES):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._hand_over(line)
                if len(rest) > _MAX_LINE_BYTES:
                    print("A message on stdin is too long.", file=sys.stderr)  # noqa: T201
                    break
        if rest.strip():
            self._hand_over(rest)
        self._put(None)

    def _hand_over(self, line: bytes) -> None:
        if text := line.decode("utf-8", "replace").strip():
            self._put(text)

    def _put(self, line: str | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

"""Serving over stdin and stdout, and ending whenever the host does."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Any

from mcp.server import MCPServer

from mcp_app.stdio.conversation import Conversation
from mcp_app.stdio.pipes import StdinLines, StdoutLines


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
    lines, out = StdinLines(), StdoutLines()
    lines.start()
    out.start()
    async with server.lifespan(server) as state:
        await Conversation(server, state, out.write).run(lines)


def _is_end(error: BaseException) -> bool:
    """Whether serving ended because the host closed its end of a pipe."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_end(each) for each in error.exceptions)
    return isinstance(error, BrokenPipeError | asyncio.CancelledError)

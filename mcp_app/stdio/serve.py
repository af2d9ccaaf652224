"""Serving over stdin and stdout, and ending whenever the host does.

Imports nothing that is slow to load: the host is greeted first.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mcp_app.stdio.greeting import Greeted, greet
from mcp_app.stdio.pipes import LineTooLong, StdinLines, StdoutLines

if TYPE_CHECKING:
    from mcp.server import MCPServer

_PATIENCE_S = 0.05
"""How long a host is waited for that speaks at once: what is loaded meanwhile would delay its answer."""


async def serve_stdio(load: Callable[[], MCPServer[Any]], *, version: str) -> None:
    """Serves until stdin ends, stdout is closed, or SIGINT or SIGTERM comes; running calls are stopped then.

    Args:
        load: makes the server; called on a thread, while the host gets its first answer.
        version: of this program.
    """
    serving = asyncio.create_task(_serve(load, version))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, serving.cancel)
    await asyncio.wait({serving})
    if not serving.cancelled() and (error := serving.exception()) is not None and not _is_end(error):
        raise error


async def _serve(load: Callable[[], MCPServer[Any]], version: str) -> None:
    lines, out = StdinLines(), StdoutLines()
    lines.start()
    out.start()
    greeting = asyncio.create_task(greet(lines, out.write, version))
    try:
        await asyncio.wait({greeting}, timeout=_PATIENCE_S)
        mcp = await _on_a_thread(load)
        greeted = await greeting
    finally:
        greeting.cancel()
    if not greeted.lines or not greeted.has_more:
        return
    from mcp_app.stdio.conversation import Conversation

    server = mcp._lowlevel_server  # no public name leads from an MCPServer to a transport of one's own
    async with server.lifespan(server) as state:
        await Conversation(server, state, out.write, is_greeted=greeted.is_answered).run(_from(greeted, lines))


def _on_a_thread(load: Callable[[], MCPServer[Any]]) -> asyncio.Future[MCPServer[Any]]:
    """What it makes, made on a thread that the end of the process does not wait for, as asyncio's own would be."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[MCPServer[Any]] = loop.create_future()

    def settle(mcp: MCPServer[Any] | None, error: BaseException | None) -> None:
        if loaded.done():
            return
        if mcp is None:
            loaded.set_exception(error or RuntimeError("nothing was loaded"))
        else:
            loaded.set_result(mcp)

    def run() -> None:
        mcp: MCPServer[Any] | None = None
        error: BaseException | None = None
        try:
            mcp = load()
        except BaseException as exc:  # whoever waits for it raises it
            error = exc
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, mcp, error)

    threading.Thread(target=run, name="load", daemon=True).start()
    return loaded


async def _from(greeted: Greeted, lines: StdinLines) -> AsyncIterator[bytes | LineTooLong]:
    for kept in greeted.lines:
        yield kept
    async for line in lines:
        yield line


def _is_end(error: BaseException) -> bool:
    """Whether serving ended because the host closed its end of a pipe."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_end(each) for each in error.exceptions)
    return isinstance(error, BrokenPipeError | asyncio.CancelledError)

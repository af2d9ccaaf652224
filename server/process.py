"""The process: listens, says so, and ends politely.

On SIGTERM or SIGINT nothing new is started, running answers may finish for `server.shutdown_timeout_s`, and what is
left then is told to its readers. A second signal skips the wait.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from server.app import create_app
from server.config import Config
from server.keys import CONFIG, READINESS, STREAMS
from server.sandboxed import sandboxed

EX_UNAVAILABLE = 69
"""Exit code when the port cannot be listened on (sysexits.h)."""

_BACKLOG = 4096
_FLUSH_S = 2.0
"""How long readers may take for the last events once everything has ended."""


def run_server(config: Config) -> int:
    """Serves until a signal; returns the exit code."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop where it is installed: it takes about a quarter off every event."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(config: Config) -> int:
    signals = _Signals()
    async with sandboxed(config) as effective:
        app = create_app(effective)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,  # or an answer nobody reads would go on
            shutdown_timeout=_FLUSH_S,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, effective.server.host, effective.server.port, backlog=_BACKLOG)
            try:
                await site.start()
            except OSError as exc:
                _say(
                    f"Cannot listen on {site.name}: {exc.strerror}. Choose another server.port, or stop what uses it."
                )
                return EX_UNAVAILABLE
            _say(_start_line(effective, runner))
            gc.collect()
            gc.freeze()  # what exists now lives as long as the process
            await signals.first.wait()
            await _drain(app, signals)
        finally:
            await runner.cleanup()
    return 0


async def _drain(app: web.Application, signals: _Signals) -> None:
    streams = app[STREAMS]
    streams.is_draining = True
    app[READINESS].reason = "the server is shutting down"
    if streams.active:
        timeout_s = app[CONFIG].server.shutdown_timeout_s
        _say(f"Waiting up to {timeout_s:g} s for {streams.active} answers; a second signal ends them at once.")
        await _first_of(streams.wait_idle(), signals.second.wait(), timeout_s=timeout_s)


async def _first_of(*waits: Awaitable[object], timeout_s: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class _Signals:
    """SIGTERM and SIGINT: the first asks for an end, the second for one at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self._take)

    def _take(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def _start_line(config: Config, runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    shown = f"[{host}]" if ":" in host else host
    upstream = "the sandbox (no key, no cost)" if config.sandbox else config.upstream.base_url
    callers = "callers with a token" if config.tokens else "callers on this machine only"
    return f"Serving http://{shown}:{port} for {callers}; upstream: {upstream}; config file: {config.file or 'none'}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201

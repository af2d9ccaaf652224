"""The process: listens, says so, and ends politely.

On SIGTERM or SIGINT nothing new is started, running answers may finish for `server.shutdown_timeout_s`, and what is
left then is told to its readers. A second signal skips the wait.

Under systemd it reports what it does and serves on the sockets that it is passed; who connects to those while it ends
is left to the next process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohttp import web

from server.app import create_app
from server.config import EX_CONFIG, Config, ConfigError, LiveConfig
from server.config.proxy import shown_proxy
from server.http.server import HttpRunner
from server.keys import STREAMS
from server.process.draining import Doors, drain
from server.process.file_limit import watching_files
from server.process.freed_memory import giving_memory_back
from server.process.hangup import Hangup
from server.process.listening import CannotListen, bind_sockets, bind_status_socket, explain, page_url, url_of
from server.process.notify import Notifier
from server.process.passed_sockets import UnusableSocket, take_passed_sockets
from server.process.reload import reloading
from server.process.reporting import reporting
from server.process.sandboxed import sandboxed
from server.process.status_site import status_site
from server.telemetry.logs import say
from server.version import program_version

EX_UNAVAILABLE = 69
"""Exit code when the port cannot be listened on (sysexits.h)."""

_BACKLOG = 4096
_GC_THRESHOLDS = (20_000, 5, 2)
"""A request makes some hundred objects that the collector tracks and hardly a cycle: it need not look so often.
But what was kept for `streams.retain_s` is old when it goes, and only the rarest look finds its cycles: with a look
every 8 million objects memory grew by 4 KB a stream for thousands of streams."""
_FLUSH_S = 2.0
"""How long readers may take for the last events once everything has ended."""


def run_server(config: Config, load: Callable[[], Config], hangup: Hangup, *, opens_page: bool = False) -> int:
    """Serves until a signal; returns the exit code.

    Args:
        config: the settings to begin with.
        load: reads them again.
        hangup: asks for that.
        opens_page: whether a browser shall show the page once it is served.
    """
    faulthandler.enable()  # the watchdog's SIGABRT leaves a trace of where the loop hung
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config, load, hangup, opens_page))


def _raise_file_limit() -> None:
    """A running answer takes two sockets, and shells allow 1,024 files by default, for the sake of `select`."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # an unlimited one may be more than the system takes
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop where it is installed: it takes about a quarter off every event."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(config: Config, load: Callable[[], Config], hangup: Hangup, opens_page: bool) -> int:
    signals = _Signals()
    notifier = Notifier(os.environ)
    try:
        passed = take_passed_sockets(os.environ)
        doors = Doors(passed or await bind_sockets(config), are_passed=bool(passed))
        status_address = config.server.status_address  # all before anything is opened: a second server ends here
        status = None if status_address is None else bind_status_socket(status_address)
    except UnusableSocket as exc:
        say(str(exc), logging.ERROR)
        return EX_CONFIG
    except CannotListen as exc:
        say(str(exc), logging.ERROR)
        return EX_UNAVAILABLE
    async with sandboxed(config) as effective:
        app = create_app(LiveConfig(effective, load))
        runner = HttpRunner(app, shutdown_timeout=_FLUSH_S / 2)  # aiohttp waits so long twice
        try:
            await runner.setup()
        except ConfigError as exc:  # a shared store that is none for us
            say(str(exc), logging.ERROR)
            await runner.cleanup()
            return EX_CONFIG
        try:
            async with status_site(app, status):
                if not await _listen(runner, effective, doors.sockets):
                    return EX_UNAVAILABLE
                say(_start_line(effective, runner, is_passed=doors.are_passed))
                if opens_page and runner.addresses:
                    threading.Thread(target=_open_page, args=(page_url(runner.addresses[0]),), daemon=True).start()
                _calm_collector()
                async with (
                    reporting(app, notifier),
                    reloading(app, hangup, notifier, end=signals.take),
                    watching_files(),
                    giving_memory_back(app[STREAMS]),
                ):
                    await signals.first.wait()
                    await drain(runner, doors, signals.second, notifier)
        finally:
            await _close(runner)
    return 0


def _calm_collector() -> None:
    gc.collect()
    gc.freeze()  # what exists now lives as long as the process
    gc.set_threshold(*_GC_THRESHOLDS)


def _open_page(url: str) -> None:
    """On a thread of its own: a browser in the terminal keeps its caller until it is closed."""
    import webbrowser

    webbrowser.open(url)


async def _listen(runner: web.AppRunner, config: Config, sockets: Sequence[socket.socket]) -> bool:
    """Listens; False, with a message, when that is not possible."""
    try:
        for sock in sockets:
            await web.SockSite(runner, sock, backlog=1).start()  # asyncio's loop accepts so many at once, and logs
            sock.listen(_BACKLOG)  # as many errors when there are no files left, each with a new attempt
    except OSError as exc:  # somebody else was faster
        say(explain(exc, config), logging.ERROR)
        return False
    return True


async def _close(runner: web.AppRunner) -> None:
    """Ends everything, and leaves no connection with bytes that nobody reads to the end of the interpreter.

    Python 3.13 closes such a one then, and prints a `TypeError` of its own `Server` while it does.
    """
    connections = [] if runner.server is None else [handler.transport for handler in runner.server.connections]
    await runner.cleanup()
    for transport in connections:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)  # asyncio closes their sockets in the loop's next turn


class _Signals:
    """SIGTERM and SIGINT: the first asks for an end, the second for one at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self.take)

    def take(self) -> None:
        """Asks for the end, or for one at once."""
        (self.second if self.first.is_set() else self.first).set()


def _start_line(config: Config, runner: web.AppRunner, *, is_passed: bool) -> str:
    urls = list(map(url_of, runner.addresses))
    where = " and ".join(urls) + (" (passed by systemd)" if is_passed else "")
    docs = "".join(f"; docs: {url.partition(' ')[0]}docs" for url in urls[:1] if url.startswith("http"))
    if docs and config.page.enabled:
        docs = "; open it in a browser" + docs
    upstream = "the sandbox (no key, no cost)" if config.sandbox else config.upstream.base_url
    proxy = shown_proxy(config, os.environ)
    upstream += "" if proxy == "none" else f" through the proxy {proxy}"
    callers = "callers with a token" if config.callers else "callers on this machine only"
    return (
        f"Serving {where} for {callers}{docs}; upstream: {upstream}; config file: {config.file or 'none'}; "
        f"version {program_version()}"
    )

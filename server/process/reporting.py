"""Reports to systemd while the server runs: ready, alive, and what it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from server.keys import SETTINGS, SPENDING, STREAMS
from server.process.meanwhile import meanwhile
from server.process.notify import Notifier
from server.routes.readiness import READINESS

_INTERVAL_S = 10.0


@asynccontextmanager
async def reporting(app: web.Application, notifier: Notifier) -> AsyncIterator[None]:
    """Says that the server is ready, then now and again that it lives and what it does, until the context ends."""
    notifier.send(READY=1, STATUS=status_line(app))
    try:
        async with meanwhile(_report(app, notifier), name="report to systemd"):
            yield
    finally:
        notifier.send(STATUS=status_line(app))  # stays to be read when the process has gone


async def _report(app: web.Application, notifier: Notifier) -> None:
    """A task of the loop that serves: when that is blocked, the watchdog hears nothing and systemd restarts us."""
    alive: dict[str, str | int] = {"WATCHDOG": 1} if notifier.watchdog_s else {}
    # half the time, as sd_watchdog_enabled(3) recommends
    interval_s = min(_INTERVAL_S, (notifier.watchdog_s or _INTERVAL_S) / 2)
    while True:
        notifier.send(**alive, STATUS=status_line(app))
        await asyncio.sleep(interval_s)


def status_line(app: web.Application) -> str:
    """What `systemctl status` shows: answers, readers, USD since the start, and a reload that failed."""
    streams, reason, refused = app[STREAMS], app[READINESS].reason, app[SETTINGS].refused
    doing = f"not ready, {reason}" if reason else "serving"
    return (
        f"{doing}; {streams.active} answers running, {streams.readers} readers; "
        f"{app[SPENDING].total_usd():.4f} USD since the start"
        + (f"; the last reload was refused: {refused}" if refused else "")
    )

"""`server.status_address`: where one process of several tells how it alone does.

Behind a shared socket a scrape meets any of the processes, and behind a balancer too. This address is of one; it
serves as long as the process has an answer left, and nothing but what tells of it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from aiohttp import web

from server.http.access import access_middleware
from server.http.failures import error_middleware
from server.http.reply_headers import complete_headers
from server.http.server import HttpRunner
from server.routes import health
from server.telemetry import metrics
from server.telemetry.access_log import access_log_middleware

_BACKLOG: Final = 64


@asynccontextmanager
async def status_site(app: web.Application, sock: socket.socket | None) -> AsyncIterator[None]:
    """Serves figures and health of a running application at a bound socket while the context is open."""
    if sock is None:
        yield
        return
    path = sock.getsockname() if sock.family == socket.AF_UNIX else None
    runner = HttpRunner(_status_application(app), shutdown_timeout=0)
    await runner.setup()
    try:
        await web.SockSite(runner, sock, backlog=_BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
        sock.close()
        _remove(path)


def _remove(path: str | None) -> None:
    """Nothing listens there any more, so nothing is there."""
    if path is not None:
        with suppress(OSError):
            Path(path).unlink()


def _status_application(app: web.Application) -> web.Application:
    """The few routes, over all that the application holds: who may call is as there."""
    status = web.Application(middlewares=[access_log_middleware, error_middleware, access_middleware])
    status.update(app)
    status.on_response_prepare.append(complete_headers)
    status.add_routes(health.routes)
    status.add_routes(metrics.routes)
    return status

"""`GET /metrics`: the figures of the process, for Prometheus.

The library that writes them is loaded at the first scrape, on a thread: a server that nobody scrapes spends neither
the time nor the memory.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from server.telemetry.loop_lag import LOOP_LAG, LoopLag
from server.telemetry.request_figures import REQUEST_FIGURES, RequestFigures

if TYPE_CHECKING:
    from server.telemetry.exposition import Exposition

routes = web.RouteTableDef()


@routes.get("/metrics")
async def get_metrics(request: web.Request) -> web.Response:
    """Every figure; in the OpenMetrics format for those who ask for it."""
    exposition = await request.app[EXPOSITION].loaded(request.app)
    body, content_type = await exposition.render(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store"})


class LazyExposition:
    """The writer of the figures, once somebody asks for them."""

    def __init__(self) -> None:
        self._exposition: Exposition | None = None

    async def loaded(self, app: web.Application) -> Exposition:
        """The writer; the first callers wait for it to be loaded."""
        if self._exposition is None:
            module = await asyncio.to_thread(importlib.import_module, "server.telemetry.exposition")
            if self._exposition is None:  # another caller may have been faster
                self._exposition = module.create_exposition(app)
        return self._exposition


EXPOSITION = web.AppKey("EXPOSITION", LazyExposition)


def add_metrics(app: web.Application) -> None:
    """Adds the route, and begins to count."""
    app[REQUEST_FIGURES] = RequestFigures()
    app[EXPOSITION] = LazyExposition()
    app.add_routes(routes)
    app.cleanup_ctx.append(_watch_loop)


async def _watch_loop(app: web.Application) -> AsyncIterator[None]:
    app[LOOP_LAG] = lag = LoopLag()
    yield
    lag.stop()

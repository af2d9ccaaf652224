"""Puts the application together: what it holds, how that is opened and closed, and the routes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from aiohttp import web

from client.catalogue import Catalogue
from client.openrouter import OpenRouterClient, create_session
from client.streams import SHUTTING_DOWN, Streams
from server import chat, health, models
from server.access import access_middleware, add_cors_headers
from server.access_log import access_log_middleware, log_stream
from server.config import Config
from server.errors import error_middleware
from server.keys import CATALOGUE, CONFIG, OPENROUTER, READINESS, STARTED_S, STREAMS
from server.readiness import Readiness


def create_app(config: Config) -> web.Application:
    """The application for these settings; nothing is opened until it starts."""
    app = web.Application(
        middlewares=[access_log_middleware, error_middleware, access_middleware],
        client_max_size=config.server.max_body_bytes,
    )
    app[CONFIG] = config
    app[READINESS] = Readiness()
    app.cleanup_ctx.append(_open_upstream)
    app.on_shutdown.append(_stop_streams)
    app.on_response_prepare.append(add_cors_headers)
    app.add_routes(chat.routes)
    app.add_routes(health.routes)
    app.add_routes(models.routes)
    return app


async def _open_upstream(app: web.Application) -> AsyncIterator[None]:
    """One session for everything that asks upstream."""
    config = app[CONFIG]
    app[STARTED_S] = time.monotonic()
    async with create_session(config.upstream) as session:
        openrouter = OpenRouterClient(session, config.upstream)
        app[OPENROUTER] = openrouter
        app[CATALOGUE] = catalogue = Catalogue(openrouter, ttl_s=config.models.ttl_s)
        app[STREAMS] = streams = Streams(openrouter, config.streams, log_stream)
        app[READINESS].reason = None
        yield
        await streams.aclose()
        await catalogue.aclose()


async def _stop_streams(app: web.Application) -> None:
    """Ends what still runs while its readers are still connected; aiohttp waits for them after this."""
    app[STREAMS].is_draining = True
    app[READINESS].reason = "the server is shutting down"
    await app[STREAMS].stop_all("shutting_down", SHUTTING_DOWN)

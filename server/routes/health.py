"""`/health` and `/ready`: for probes. Neither asks upstream, neither needs a token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from server.errors import refuse
from server.http.json_reply import json_reply
from server.keys import CATALOGUE, SETTINGS, STARTED_S, STREAMS
from server.routes.readiness import ENDING, READINESS
from server.telemetry.shared_figures import SHARED
from server.version import program_version

if TYPE_CHECKING:  # types alone: the API document is made of them
    from server.openapi.replies import Health, Ready

routes = web.RouteTableDef()


@routes.get("/health")
async def get_health(request: web.Request) -> web.Response:
    """The process is alive; with a few counts."""
    streams, catalogue = request.app[STREAMS], request.app[CATALOGUE]
    config = request.app[SETTINGS].current
    health: Health = {
        "status": "ok",
        "version": program_version(),
        "uptime_s": round(time.monotonic() - request.app[STARTED_S], 3),
        "sandbox": config.sandbox,
        "default_model": config.upstream.model,
        "max_body_bytes": config.server.max_body_bytes,
        "streams": {
            "active": streams.active,
            "readers": streams.readers,
            "kept": streams.kept,
            "log_bytes": streams.total_bytes,
        },
        "catalogue": {"models": catalogue.size, "age_s": catalogue.age_s},
    }
    shared = request.app.get(SHARED)
    if shared is not None:
        health["shared"] = {
            "contact": shared.has_contact,
            "replicas": shared.replicas,
            "mirrors": shared.mirrored,
            "unacked_bytes": shared.unacked_bytes,
        }
    return json_reply(health)


@routes.get("/ready")
async def get_ready(request: web.Request) -> web.Response:
    """200 when work is taken; 503 with the reason otherwise."""
    reason = request.app[READINESS].reason
    if reason is None and request.app[SETTINGS].current.lacks_key:
        reason = "there is no OpenRouter API key"
    if reason is not None:
        raise refuse("shutting_down" if reason == ENDING else "overloaded", 503, f"Not ready: {reason}.")
    ready: Ready = {"status": "ready"}
    return json_reply(ready)

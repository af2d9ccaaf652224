"""One line for every request at its end. A request that starts a stream is logged when the stream ends, with what it
cost; no content of any message is ever logged."""

from __future__ import annotations

import logging
import time

from aiohttp import web

from client.border.fit import count_of
from client.errors import Failure
from client.streams.stream import Stream
from server.errors import FAILURE, Handler
from server.keys import CALLER, REQUEST_ID, STARTED_STREAM
from server.telemetry.logs import log_fields
from server.telemetry.request_figures import REQUEST_FIGURES
from server.telemetry.upstream_alarm import ALARM

logger = logging.getLogger("access")


_PROBES = frozenset({"/health", "/ready"})


def note_stream(request: web.Request, stream: Stream) -> None:
    """The request's line will be the stream's."""
    request[STARTED_STREAM] = stream


@web.middleware
async def access_log_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts every request, and logs those that did not start a stream."""
    started_s = time.monotonic()
    status = 499  # the caller left before there was an answer
    failure: Failure | None = None
    try:
        response = await handler(request)
        status, failure = response.status, response.get(FAILURE)
        return response
    finally:
        duration_s = time.monotonic() - started_s
        request.app[REQUEST_FIGURES].note(request, status, duration_s)
        request.app[ALARM].note(failure)
        if STARTED_STREAM not in request:
            caller = request.get(CALLER)
            fields = {
                "method": request.method,
                "path": request.path,
                "status": status,
                "error": None if failure is None else failure.type,
                "caller": None if caller is None else caller.name,
                "duration_ms": round(duration_s * 1000, 1),
            }
            if REQUEST_ID in request:
                fields["request_id"] = request[REQUEST_ID]
            log_fields(logger, "request", fields, _level_of(request, status))


def _level_of(request: web.Request, status: int) -> int:
    """Somebody looks every few seconds whether the server does well; while it does, that is worth no line."""
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if status < 400 and request.path in _PROBES else logging.INFO


def log_stream(stream: Stream) -> None:
    """The line of a request that started a stream."""
    translator = stream.pump.translator
    usage = stream.settlement.usage or {}
    failure = translator.failure
    first_s = translator.first_token_s
    fields = {
        "stream_id": stream.id,
        "generation_id": stream.generation_id,
        "caller": stream.owner,
        "model": stream.model,
        "provider": translator.provider,
        "status": 200 if failure is None else failure.status,
        "error": None if failure is None else failure.type,
        "finish_reason": translator.finish_reason,
        "prompt_tokens": count_of(usage.get("prompt_tokens")),
        "completion_tokens": count_of(usage.get("completion_tokens")),
        "cost_usd": stream.settlement.total_cost,
        "time_to_first_token_ms": None if first_s is None else round((first_s - translator.started_s) * 1000),
        "duration_ms": round(stream.age_s * 1000),
        "retries": stream.pump.retries,
    }
    log_fields(logger, "chat", fields, logging.INFO if failure is None else logging.WARNING)

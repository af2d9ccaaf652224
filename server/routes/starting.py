"""Starting a stream for a request, in whatever words that was made."""

from __future__ import annotations

from aiohttp import web

from client.streams.stream import CHAT, Stream, StreamsFull
from client.upstream.request import ChatCall
from client.upstream.tracing import TraceContext, read_trace_context
from server.errors import overloaded, refuse
from server.keys import BODY_BYTES, CALLER, SETTINGS, STREAMS
from server.telemetry.access_log import note_stream

RETRY_AFTER_S = 5.0

_HELD_TIMES = 2
"""How often a request is held until upstream answers: decoded, and encoded anew."""


def start_stream(request: web.Request, call: ChatCall, *, grace_s: float | None, protocol: str = CHAT) -> Stream:
    """Sends what is asked for upstream.

    Raises:
        ApiError: `shutting_down`, `overloaded`, or `upstream_auth` where there is no key.
        Refusal: the caller may not.
    """
    streams = request.app[STREAMS]
    if streams.is_draining:
        raise refuse("shutting_down", 503, "The server is restarting; try again.", retry_after_s=RETRY_AFTER_S)
    if request.app[SETTINGS].current.lacks_key:
        raise refuse(
            "upstream_auth", 502, "This server has no OpenRouter API key; set OPENROUTER_API_KEY or use --sandbox."
        )
    try:
        stream = streams.start(
            call.body,
            owner=request[CALLER].name,
            grace_s=grace_s,
            trace=_trace_of(request),
            protocol=protocol,
            request_bytes=_HELD_TIMES * request.get(BODY_BYTES, 0),
        )
    except StreamsFull as exc:
        raise overloaded(exc) from exc
    note_stream(request, stream)
    return stream


def stream_grace_s(request: web.Request, asked: float | None) -> float | None:
    """Seconds that an answer goes on with no reader: the body's word, else the header's; None where
    neither says.

    Raises:
        ApiError: the header holds no number from 0 to `streams.max_grace_s`.
    """
    if asked is not None:
        return asked
    text = request.headers.get("X-Stream-Grace")
    if text is None:
        return None
    most_s = request.app[SETTINGS].current.streams.max_grace_s
    try:
        grace_s = float(text)
    except ValueError:
        grace_s = -1.0
    if not 0 <= grace_s <= most_s:  # also what is no number
        raise refuse("invalid_request", 422, f"X-Stream-Grace must be a number from 0 to {most_s:g}, in seconds.")
    return grace_s


def _trace_of(request: web.Request) -> TraceContext | None:
    traceparents = request.headers.getall("traceparent", ())
    return read_trace_context(traceparents, request.headers.getall("tracestate", ())) if traceparents else None

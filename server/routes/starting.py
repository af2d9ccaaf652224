"""Starting a stream for a request, in whatever words that was made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from aiohttp import web

from client.border.json_codec import encode_json
from client.streams.chosen_ids import AlreadyBegun
from client.streams.readable import CHAT, Readable, StreamsFull
from client.upstream.request import ChatCall
from client.upstream.tracing import TraceContext, read_trace_context
from server.errors import overloaded, refuse
from server.keys import BODY_BYTES, CALLER, SETTINGS, STREAMS
from server.routes.results import events_gone
from server.telemetry.access_log import note_stream

IDEMPOTENCY_KEY = "Idempotency-Key"
RETRY_AFTER_S = 5.0
_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")

_HELD_TIMES = 2
"""How often a request is held until upstream answers: decoded, and encoded anew."""


async def start_stream(
    request: web.Request,
    call: ChatCall,
    *,
    grace_s: float | None,
    protocol: str = CHAT,
    headers: Mapping[str, str] | None = None,
) -> Readable:
    """Sends what is asked for upstream, with `headers` of the caller; with an `Idempotency-Key` that is known, the
    stream that it began. Whoever shall read it attaches before the next turn of the loop.

    Raises:
        ApiError: `shutting_down`, `overloaded`, or `upstream_auth` where there is no key; `invalid_request` for a
            key that is none, or that another request was sent under.
        Refusal: the caller may not.
    """
    streams = request.app[STREAMS]
    key = idempotency_key(request)
    fingerprint = None if key is None else _fingerprint_of(call, protocol)
    known = None if key is None else await streams.find(key, request[CALLER].name)
    if known is not None and not known.has_come_to_nothing:
        return _same(known, fingerprint)
    if streams.is_draining:
        raise refuse("shutting_down", 503, "The server is restarting; try again.", retry_after_s=RETRY_AFTER_S)
    if request.app[SETTINGS].current.lacks_key:
        raise refuse(
            "upstream_auth", 502, "This server has no OpenRouter API key; set OPENROUTER_API_KEY or use --sandbox."
        )
    try:
        stream = await streams.start(
            call.body,
            owner=request[CALLER].name,
            grace_s=grace_s,
            trace=_trace_of(request),
            protocol=protocol,
            stream_id=key,
            fingerprint=fingerprint,
            headers=headers,
            asked=call.asked,
            request_bytes=_HELD_TIMES * request.get(BODY_BYTES, 0),
            upstream_protocol=call.upstream_protocol,
        )
    except AlreadyBegun as exc:  # by another request, while this one was looked at
        return _same(exc.stream, fingerprint)
    except StreamsFull as exc:
        raise overloaded(exc) from exc
    note_stream(request, stream)
    return stream


def idempotency_key(request: web.Request) -> str | None:
    """What the caller wants to call its answer, so that it can ask again without starting another.

    Raises:
        ApiError: it is no key.
    """
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise refuse("invalid_request", 422, f"{IDEMPOTENCY_KEY} must be 22 to 64 of A-Z, a-z, 0-9, - and _.")
    return key


def _fingerprint_of(call: ChatCall, protocol: str) -> bytes:
    """Of what is asked, not of how it shall be sent: who asks again may want it whole."""
    return hashlib.sha256(protocol.encode() + b"\0" + encode_json(call.body)).digest()


def _same(stream: Readable, fingerprint: bytes | None) -> Readable:
    """The stream that a key began, if it was by the same request and can still be read."""
    if stream.fingerprint != fingerprint:
        error = f"Another request was sent under this {IDEMPOTENCY_KEY}; choose a new one for each answer."
        raise refuse("invalid_request", 422, error)
    if stream.log.first > 1:
        raise events_gone(stream)
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

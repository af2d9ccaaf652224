"""`/chat`: start a stream, read it, read it again, stop it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web
from aiohttp_sse import EventSourceResponse

from client.errors import Failure
from client.streams.stream import Stream, StreamsFull
from client.streams.streams import Streams
from client.streams.wire import PING
from client.upstream.request import ChatCall, InvalidRequest, build_chat_call
from client.upstream.tracing import TraceContext, read_trace_context
from server.config import Config
from server.errors import invalid_request, overloaded, refuse
from server.http.json_body import read_json_object
from server.http.json_reply import json_reply
from server.keys import BODY_BYTES, CALLER, SETTINGS, STREAMS
from server.routes.readers import PIECE_BYTES, ResponseReader
from server.routes.results import RESULTS, events_gone, stream_headers
from server.telemetry.access_log import note_stream

if TYPE_CHECKING:  # a type alone: the API document is made of it
    from server.openapi.replies import StreamSummary

routes = web.RouteTableDef()

_EVENT_ID = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,18})")
_NUMBER = re.compile("[0-9]{1,9}")
_RETRY_AFTER_S = 5.0
LISTED = 100
MOST_LISTED = 1000
"""Streams in one list, when no number is asked for and at most: a caller may have very many."""
_HELD_TIMES = 2
"""How often a request is held until upstream answers: decoded, and encoded anew."""
_REFUSED_BYTES = 1_048_576


@routes.post("/chat")
async def post_chat(request: web.Request) -> web.StreamResponse:
    """Starts an answer, or goes on with one when `Last-Event-ID` names it."""
    last_event_id = request.headers.get("Last-Event-ID")
    if last_event_id:
        return await _resume(request, last_event_id)
    stream, is_streamed = await _start_asked(request)
    if not is_streamed:
        return await request.app[RESULTS].gathered(request, stream)
    reader = ResponseReader(stream, request.protocol, 0)
    stream.attach(reader)
    try:
        await reader.wait_verdict(request.app[SETTINGS].current.server.ping_interval_s)
        if stream.refusal is not None:
            return await _refuse_as_upstream(stream, stream.refusal)
        return await _send_events(request, stream, reader)
    finally:
        stream.detach(reader)


@routes.get("/chat")
async def list_chats(request: web.Request) -> web.Response:
    """The caller's running and recent streams, newest first, as many as are asked for."""
    limit = _limit(request)
    streams = request.app[STREAMS].list_of(request[CALLER].name, limit + 1)
    return json_reply({"data": [_summary(stream) for stream in streams[:limit]], "has_more": len(streams) > limit})


@routes.get("/chat/{stream_id}", allow_head=False)  # a reader of a HEAD would be sent the events too
async def get_chat(request: web.Request) -> web.StreamResponse:
    """Reads a stream from its beginning, or after the event that `Last-Event-ID` names."""
    stream = _find(request, request.match_info["stream_id"])
    last_event_id = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    position = _position(stream, last_event_id) if last_event_id else 0
    return await _read(request, stream, position)


@routes.delete("/chat/{stream_id}")
async def delete_chat(request: web.Request) -> web.Response:
    """Stops a stream; again is fine."""
    stream = _find(request, request.match_info["stream_id"])
    stream.stop("cancelled")
    await stream.ended.wait()
    return json_reply(_summary(stream))


@routes.get("/chat/{stream_id}/result")
async def get_result(request: web.Request) -> web.StreamResponse:
    """The whole answer as one JSON; 202 with what there is while it runs."""
    stream = _find(request, request.match_info["stream_id"])
    return await request.app[RESULTS].so_far(request, stream)


# -- starting -----------------------------------------------------------------------------------------------------


async def _start_asked(request: web.Request) -> tuple[Stream, bool]:
    """What the request asks for, started; whether it shall be streamed. What was asked is not held for longer."""
    call = await _read_call(request, request.app[SETTINGS].current)
    stream = _start(request, request.app[STREAMS], call, grace_s=call.grace_s if call.stream else 0.0)
    return stream, call.stream


async def _read_call(request: web.Request, config: Config) -> ChatCall:
    body = await read_json_object(request)
    try:
        return build_chat_call(
            body,
            request.query.items(),
            default_model=config.upstream.model,
            max_grace_s=config.streams.max_grace_s,
        )
    except InvalidRequest as exc:
        raise invalid_request(exc.details) from exc


def _start(request: web.Request, streams: Streams, call: ChatCall, *, grace_s: float | None) -> Stream:
    if streams.is_draining:
        raise refuse("shutting_down", 503, "The server is restarting; try again.", retry_after_s=_RETRY_AFTER_S)
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
            request_bytes=_HELD_TIMES * request.get(BODY_BYTES, 0),
        )
    except StreamsFull as exc:
        raise overloaded(exc) from exc
    note_stream(request, stream)
    return stream


def _trace_of(request: web.Request) -> TraceContext | None:
    traceparents = request.headers.getall("traceparent", ())
    return read_trace_context(traceparents, request.headers.getall("tracestate", ())) if traceparents else None


async def _refuse_as_upstream(stream: Stream, failure: Failure) -> web.Response:
    """Upstream's status, and the events of the stream as body."""
    await stream.ended.wait()
    body, _ = await stream.log.read_after(0, _REFUSED_BYTES)
    response = _whole_events(stream, body, failure.status)
    if failure.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(failure.retry_after_s)))
    return response


# -- reading ------------------------------------------------------------------------------------------------------


async def _resume(request: web.Request, last_event_id: str) -> web.StreamResponse:
    match = _EVENT_ID.fullmatch(last_event_id)
    if match is None:
        raise refuse(
            "invalid_request", 422, "Last-Event-ID is not an event id of this server; leave it out to start anew."
        )
    stream = _find(request, match[1])
    return await _read(request, stream, _position(stream, last_event_id))


async def _read(request: web.Request, stream: Stream, position: int) -> web.StreamResponse:
    if stream.log.closed and position == stream.log.last:
        return web.Response(status=204)
    if position + 1 < stream.log.first:
        raise events_gone(stream)
    if position:
        request.app[STREAMS].figures.resumes += 1
    reader = ResponseReader(stream, request.protocol, position)
    stream.attach(reader)
    try:
        return await _send_events(request, stream, reader)
    finally:
        stream.detach(reader)


async def _send_events(request: web.Request, stream: Stream, reader: ResponseReader) -> web.StreamResponse:
    """Everything after the reader's position, as it comes."""
    if stream.log.closed:
        events, last = await stream.log.read_after(reader.position, PIECE_BYTES)
        if last == stream.log.last and len(events) <= PIECE_BYTES:
            whole = _whole_events(stream, events)
            if request.version >= HttpVersion11:
                whole.enable_chunked_encoding()  # as all streams are sent: clients may count on it
            return whole
    interval_s = request.app[SETTINGS].current.server.ping_interval_s
    response = EventSourceResponse(headers=stream_headers(stream), allow_all_methods=True, ping_interval=interval_s)
    await response.prepare(request)
    response.stop_streaming()  # ends its own pings: they go out beside the events, not only in silence
    if not stream.has_verdict:
        await response.write(PING)  # the silence has lasted an interval already
    await reader.run(response, interval_s)
    return response


def _whole_events(stream: Stream, events: bytes, status: int = 200) -> web.Response:
    """The rest of an answer that has ended, in one piece."""
    headers = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}
    return web.Response(
        body=events, status=status, headers=headers | stream_headers(stream), content_type="text/event-stream"
    )


def _limit(request: web.Request) -> int:
    """How many streams shall be listed."""
    text = request.query.get("limit", str(LISTED))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_LISTED:
        raise refuse("invalid_request", 422, f"limit must be a number from 1 to {MOST_LISTED}.")
    return int(text)


def _find(request: web.Request, stream_id: str) -> Stream:
    stream = request.app[STREAMS].get(stream_id, request[CALLER].name)
    if stream is None:
        raise refuse("not_found", 404, "There is no such stream; it may have expired (streams.retain_s).")
    return stream


def _position(stream: Stream, last_event_id: str) -> int:
    """The number in an event id, checked against the stream."""
    match = _EVENT_ID.fullmatch(last_event_id)
    if match is None:
        raise refuse("invalid_request", 422, f"Last-Event-ID must look like {stream.id}:12.")
    if match[1] != stream.id:
        raise refuse("invalid_request", 422, "Last-Event-ID belongs to another stream than the one in the path.")
    number = int(match[2])
    if number > stream.log.last:
        raise refuse(
            "invalid_request", 422, f"Last-Event-ID is ahead of the stream, which has {stream.log.last} events."
        )
    return number


def _summary(stream: Stream) -> StreamSummary:
    done_reason = stream.finish_reason
    return {
        "stream_id": stream.id,
        "generation_id": stream.generation_id,
        "model": stream.model,
        "state": "running" if stream.is_running else "finished",
        "finish_reason": done_reason,
        "created_at": datetime.fromtimestamp(stream.created_s, UTC).isoformat(timespec="milliseconds"),
        "age_s": round(stream.age_s, 3),
        "readers": stream.readers,
        "events": stream.log.last,
    }

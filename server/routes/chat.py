"""`/chat`: start a stream, read it, read it again, stop it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from client.errors import Failure
from client.streams.answer import Answer
from client.streams.gathering import read_answer
from client.streams.readable import Readable, Summary
from client.upstream.request import ChatCall, InvalidRequest, build_chat_call
from server.config import Config
from server.errors import invalid_request, note_retry, refuse
from server.http.json_body import read_json_object
from server.http.json_reply import json_reply
from server.keys import CALLER, SETTINGS, STREAMS
from server.routes.readers import ResponseReader
from server.routes.results import RESULTS, events_gone
from server.routes.sending import TYPED_EVENTS, begin_sending, whole_body
from server.routes.starting import start_stream, stream_grace_s

if TYPE_CHECKING:  # a type alone: the API document is made of it
    from server.openapi.replies import StreamSummary

routes = web.RouteTableDef()

_EVENT_ID = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,18})")
_NUMBER = re.compile("[0-9]{1,9}")
LISTED = 100
MOST_LISTED = 1000
"""Streams in one list, when no number is asked for and at most: a caller may have very many."""
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
        response = await begin_sending(request, stream, reader, TYPED_EVENTS)
        await reader.run()
        return response
    finally:
        stream.detach(reader)


@routes.get("/chat")
async def list_chats(request: web.Request) -> web.Response:
    """The caller's running and recent streams, newest first, as many as are asked for."""
    limit = _limit(request)
    streams = await request.app[STREAMS].list_of(request[CALLER].name, limit + 1)
    return json_reply({"data": [_summary(summary) for summary in streams[:limit]], "has_more": len(streams) > limit})


@routes.get("/chat/{stream_id}", allow_head=False)  # a reader of a HEAD would be sent the events too
async def get_chat(request: web.Request) -> web.StreamResponse:
    """Reads a stream from its beginning, or after the event that `Last-Event-ID` names."""
    stream = await _find(request, request.match_info["stream_id"])
    last_event_id = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    position = await _position(stream, last_event_id) if last_event_id else 0
    return await _read(request, stream, position)


@routes.delete("/chat/{stream_id}")
async def delete_chat(request: web.Request) -> web.Response:
    """Stops a stream; again is fine."""
    stream = await _find(request, request.match_info["stream_id"])
    await stream.end("cancelled")
    return json_reply(_summary(stream.summary()))


@routes.get("/chat/{stream_id}/result")
async def get_result(request: web.Request) -> web.StreamResponse:
    """The whole answer as one JSON; 202 with what there is while it runs."""
    stream = await _find(request, request.match_info["stream_id"])
    return await request.app[RESULTS].so_far(request, stream)


# -- starting -----------------------------------------------------------------------------------------------------


async def _start_asked(request: web.Request) -> tuple[Readable, bool]:
    """What the request asks for, started; whether it shall be streamed. What was asked is not held for longer."""
    call = await _read_call(request, request.app[SETTINGS].current)
    grace_s = stream_grace_s(request, call.grace_s)
    stream = await start_stream(request, call, grace_s=grace_s if call.stream else 0.0)
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


async def _refuse_as_upstream(stream: Readable, failure: Failure) -> web.Response:
    """Upstream's status, and the events of the stream as body."""
    await stream.ended.wait()
    body, _ = await stream.log.read_after(0, _REFUSED_BYTES)
    response = whole_body(stream, body, failure.status)
    note_retry(response.headers, failure.retry_after_s)
    return response


# -- reading ------------------------------------------------------------------------------------------------------


async def _resume(request: web.Request, last_event_id: str) -> web.StreamResponse:
    match = _EVENT_ID.fullmatch(last_event_id)
    if match is None:
        raise refuse(
            "invalid_request", 422, "Last-Event-ID is not an event id of this server; leave it out to start anew."
        )
    stream = await _find(request, match[1])
    return await _read(request, stream, await _position(stream, last_event_id))


async def _read(request: web.Request, stream: Readable, position: int) -> web.StreamResponse:
    if stream.log.closed and position == await _last_number(stream):
        return web.Response(status=204)
    view = stream.typed_view(position)
    start = position if view is None else 0  # events are numbered as they are made, from the first chunk on
    if start + 1 < stream.log.first:
        raise events_gone(stream)
    if position:
        request.app[STREAMS].figures.resumes += 1
    reader = ResponseReader(stream, request.protocol, start, view)
    stream.attach(reader)
    try:
        response = await begin_sending(request, stream, reader, TYPED_EVENTS, view)
        await reader.run()
        return response
    finally:
        stream.detach(reader)


async def _last_number(stream: Readable) -> int:
    """Number of the last typed event of what the log holds."""
    view = stream.typed_view()
    return stream.log.last if view is None else await read_answer(stream.log, Answer(), view=view) and view.last


def _limit(request: web.Request) -> int:
    """How many streams shall be listed."""
    text = request.query.get("limit", str(LISTED))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_LISTED:
        raise refuse("invalid_request", 422, f"limit must be a number from 1 to {MOST_LISTED}.")
    return int(text)


async def _find(request: web.Request, stream_id: str) -> Readable:
    stream = await request.app[STREAMS].find(stream_id, request[CALLER].name)
    if stream is None:
        raise refuse("not_found", 404, "There is no such stream; it may have expired (streams.retain_s).")
    return stream


async def _position(stream: Readable, last_event_id: str) -> int:
    """The number in an event id, checked against the stream."""
    match = _EVENT_ID.fullmatch(last_event_id)
    if match is None:
        raise refuse("invalid_request", 422, f"Last-Event-ID must look like {stream.id}:12.")
    if match[1] != stream.id:
        raise refuse("invalid_request", 422, "Last-Event-ID belongs to another stream than the one in the path.")
    number, last = int(match[2]), await _last_number(stream)
    if number > last and not (stream.may_lag and stream.is_running):
        raise refuse("invalid_request", 422, f"Last-Event-ID is ahead of the stream, which has {last} events.")
    return number


def _summary(summary: Summary) -> StreamSummary:
    return {
        "stream_id": summary.id,
        "generation_id": summary.generation_id,
        "model": summary.model,
        "state": "running" if summary.is_running else "finished",
        "finish_reason": summary.finish_reason,
        "created_at": datetime.fromtimestamp(summary.created_s, UTC).isoformat(timespec="milliseconds"),
        "age_s": round(summary.age_s, 3),
        "protocol": summary.protocol,
        "readers": summary.readers,
        "events": summary.events,
    }

"""`POST /ag-ui` and, for clients that read a run again, `GET /ag-ui`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from client.errors import Failure
from client.streams.log_events import log_events_of
from client.streams.names import LONGEST_NAME
from client.streams.readable import Readable
from client.upstream.request import InvalidRequest
from server.errors import invalid_request, refuse, told_as
from server.http.json_body import read_json_object
from server.http.json_reply import json_reply
from server.keys import CALLER, SETTINGS, STREAMS
from server.protocols.ag_ui.request import Asked, chat_call_of
from server.protocols.ag_ui.view import AgUiView
from server.protocols.answering import begin, read
from server.routes.readers import View
from server.routes.results import events_gone
from server.routes.sending import EVENTS, Form
from server.routes.starting import stream_grace_s

RUN_ID = "X-Run-Id"
_RUN, _THREAD = "run", "thread"
_EVENT_ID = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,18})")


class AgUi:
    """The dialect (`server.protocols.answering.Dialect`) of one request.

    Args:
        after: number of the last event that the reader has.
        has_ids: whether the reader can come back to what it has lost, by the ids of events.
    """

    name = "ag-ui"
    form: Form = EVENTS

    def __init__(self, *, after: int = 0, has_ids: bool = False) -> None:
        self._after = after
        self._has_ids = has_ids

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""
        asked = stream.asked if isinstance(stream.asked, Asked) else Asked(stream.id, stream.id, is_resumable=True)
        return AgUiView(log_events_of(stream), asked, stream.id, after=self._after, has_ids=self._has_ids)

    def whole(self, result: dict[str, Any], stream: Readable) -> dict[str, Any]:
        """This protocol has no whole answers."""
        return result

    def failed(self, failure: Failure) -> tuple[int, Any]:
        """Status and JSON of a failure: ours, but that a request that cannot be taken is a 400."""
        status = 400 if failure.status == 422 else failure.status
        return status, msgspec.structs.replace(failure, status=status)

    def respond(self, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
        """The reply that refuses a request."""
        status, error = self.failed(failure)
        return told_as(error, status, failure, headers)


AG_UI = AgUi()


async def post_run(request: web.Request) -> web.StreamResponse:
    """Starts a run, or goes on with one when `Last-Event-ID` names its last event that came."""
    last_event_id = request.headers.get("Last-Event-ID")
    if last_event_id:
        return await _resume(request, last_event_id)
    run_id = request.headers.get(RUN_ID)
    if run_id is not None and not 1 <= len(run_id) <= LONGEST_NAME:
        raise refuse("invalid_request", 400, f"{RUN_ID} must be text of 1 to {LONGEST_NAME} characters.")
    config = request.app[SETTINGS].current
    try:
        call = chat_call_of(
            await read_json_object(request),
            is_resumable=run_id is not None,
            default_model=config.upstream.model,
            max_grace_s=config.streams.max_grace_s,
        )
    except InvalidRequest as exc:
        raise invalid_request(exc.details) from exc
    grace_s = stream_grace_s(request, call.grace_s)
    if grace_s is None and run_id is None:
        grace_s = 0.0
    dialect = AgUi(has_ids=run_id is not None)
    stream = await begin(request, dialect, call._replace(grace_s=grace_s))
    _name(request, stream, run_id)
    return await read(request, dialect, stream)


async def get_run(request: web.Request) -> web.StreamResponse:
    """A run from its beginning and on (`?runId=`), or which run of a thread is under way (`?threadId=`)."""
    run_id, thread_id = request.query.get("runId"), request.query.get("threadId")
    if run_id is not None:
        last_event_id = request.headers.get("Last-Event-ID") or request.query.get("offset", "-1")
        if last_event_id != "-1":
            return await _resume(request, last_event_id)
        return await _read_on(request, await _find(request, run_id), 0)
    if thread_id is None:
        raise refuse("invalid_request", 400, "Name a run (?runId=) or a thread (?threadId=).")
    stream = await request.app[STREAMS].find_named(request[CALLER].name, _THREAD, thread_id)
    asked = stream.asked if stream is not None and stream.is_running else None
    active = {"runId": asked.run_id} if isinstance(asked, Asked) else None
    return json_reply({"messages": [], "activeRun": active, "interrupts": []})


def _name(request: web.Request, stream: Readable, run_id: str | None) -> None:
    """The newest run of an id is meant from now on."""
    streams = request.app[STREAMS]
    if isinstance(stream.asked, Asked):
        streams.give_name(stream, _THREAD, stream.asked.thread_id)
        streams.give_name(stream, _RUN, run_id or stream.asked.run_id)


async def _find(request: web.Request, run_id: str) -> Readable:
    """The caller's run of that id; answers that began in other words have the id of their stream."""
    streams, owner = request.app[STREAMS], request[CALLER].name
    stream = await streams.find_named(owner, _RUN, run_id) or await streams.find(run_id, owner)
    if stream is None:
        raise refuse("not_found", 404, "There is no such run; it may have expired (streams.retain_s).")
    return stream


async def _resume(request: web.Request, last_event_id: str) -> web.StreamResponse:
    """Everything after an event, and on; nothing is started anew."""
    match = _EVENT_ID.fullmatch(last_event_id)
    if match is None:
        raise refuse("invalid_request", 400, "Last-Event-ID is not an event id of this server.")
    stream = await request.app[STREAMS].find(match[1], request[CALLER].name)
    if stream is None:
        raise refuse("not_found", 404, "There is no such run; it may have expired (streams.retain_s).")
    request.app[STREAMS].figures.resumes += 1
    return await _read_on(request, stream, int(match[2]))


async def _read_on(request: web.Request, stream: Readable, after: int) -> web.StreamResponse:
    if stream.log.first > 1:  # events are numbered as they are made, from the first record on
        raise events_gone(stream)
    return await read(request, AgUi(after=after, has_ids=True), stream)

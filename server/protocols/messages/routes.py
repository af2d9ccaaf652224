"""`POST /v1/messages`, its count of tokens, and any stream in the same words; below `/api/v1` too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from client.errors import Failure
from client.streams.readable import Readable
from client.upstream.request import InvalidRequest
from server.errors import invalid_request, refuse, told_as
from server.http.json_body import read_json_object
from server.http.json_reply import json_reply
from server.keys import CALLER, SETTINGS, STREAMS
from server.protocols.answering import answer, read
from server.protocols.messages.asked.count import estimated_tokens
from server.protocols.messages.asked.request import body_problems, messages_call_of
from server.protocols.messages.failures import error_of, status_of
from server.protocols.messages.gathering import whole_message
from server.protocols.messages.view import PING, PROTOCOL, message_id, view_of
from server.routes.readers import View
from server.routes.results import RESULTS, events_gone
from server.routes.sending import Form
from server.routes.starting import stream_grace_s

_ID_PREFIX = message_id("")


class Messages:
    """The dialect (`server.protocols.answering.Dialect`)."""

    name = PROTOCOL
    form = Form(ping=PING)

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""
        return view_of(stream)

    async def whole(self, result: dict[str, Any], stream: Readable) -> dict[str, Any]:
        """The reply to a request that is not streamed, made of the same events as one that is."""
        return await whole_message(stream)

    def failed(self, failure: Failure) -> tuple[int, Any]:
        """Status and JSON of a failure."""
        return status_of(failure), error_of(failure)

    def respond(self, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
        """The reply that refuses a request."""
        request_id = None if headers is None else headers.get("Request-Id")
        return told_as(error_of(failure, request_id), status_of(failure), failure, headers)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Starts an answer."""
        config = request.app[SETTINGS].current
        body = await read_json_object(request)
        try:
            call = messages_call_of(
                body,
                default_model=config.upstream.model,
                max_grace_s=config.streams.max_grace_s,
                passes=config.upstream.speaks(PROTOCOL),
            )
        except InvalidRequest as exc:
            raise invalid_request(exc.details) from exc
        call = call._replace(grace_s=stream_grace_s(request, call.grace_s) or 0.0)
        return await answer(request, self, call)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Any answer of the caller's, in whatever words it was asked for: whole, or in events (`?stream=true`)."""
        stream_id = request.match_info["stream_id"].removeprefix(_ID_PREFIX)
        stream = await request.app[STREAMS].find(stream_id, request[CALLER].name)
        if stream is None:
            raise refuse("not_found", 404, "There is no such message; it may have expired (streams.retain_s).")
        if stream.log.first > 1:
            raise events_gone(stream)
        if request.query.get("stream", "").lower() not in ("true", "1"):
            return await request.app[RESULTS].gathered(request, stream, self)
        return await read(request, self, stream)


async def count_tokens(request: web.Request) -> web.Response:
    """An estimate; upstream is not asked, which would have to be paid for or is not possible."""
    body = await read_json_object(request)
    if problems := body_problems(body):
        raise invalid_request(problems)
    return json_reply({"input_tokens": estimated_tokens(body)})


MESSAGES = Messages()

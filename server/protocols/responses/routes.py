"""`POST /v1/responses` and `POST /api/v1/responses`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from client.streams.readable import Readable
from client.upstream.request import ChatCall, InvalidRequest
from server.errors import invalid_request, refuse
from server.http.json_body import read_json_object
from server.keys import SETTINGS
from server.protocols.answering import answer, begin, read
from server.protocols.chat_completions.words import FailureWords
from server.protocols.responses.asked.request import passed_call_of, response_call_of
from server.protocols.responses.stored import Poll, known_items, object_of, told
from server.protocols.responses.view import PROTOCOL, view_of
from server.routes.readers import View
from server.routes.results import stream_headers
from server.routes.sending import EVENTS, Form
from server.routes.starting import stream_grace_s


class Responses(FailureWords):
    """The dialect (`server.protocols.answering.Dialect`), below either mount."""

    name = PROTOCOL
    form: Form = EVENTS

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""
        return view_of(stream)

    async def whole(self, result: dict[str, Any], stream: Readable) -> dict[str, Any]:
        """The reply to a request that is not streamed: items in the order in which they came."""
        return await object_of(stream)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Starts an answer. With `background` it goes on without its caller, who may come back to it."""
        config = request.app[SETTINGS].current
        body = await read_json_object(request)
        body = {**body, "input": await known_items(request, body.get("input"))}
        try:
            call_of = passed_call_of if config.upstream.speaks(PROTOCOL) else response_call_of
            call = call_of(body, default_model=config.upstream.model, max_grace_s=config.streams.max_grace_s)
        except InvalidRequest as exc:
            raise invalid_request(exc.details) from exc
        grace_s = stream_grace_s(request, call.grace_s)
        if body.get("background"):
            return await self._in_background(request, call._replace(grace_s=grace_s))
        return await answer(request, self, call._replace(grace_s=grace_s or 0.0))

    async def _in_background(self, request: web.Request, call: ChatCall) -> web.StreamResponse:
        """Events; else the object as soon as upstream has accepted the request, which is polled from then on."""
        stream = await begin(request, self, call._replace(stream=True))
        stream.keep_whole()
        if call.stream:
            return await read(request, self, stream)
        poll = Poll()
        stream.attach(poll)
        try:
            await poll.wait_verdict(stream, request.app[SETTINGS].current.server.ping_interval_s)
            if stream.refusal is not None:
                failure = stream.refusal
                await stream.ended.wait()
                return self.respond(failure, stream_headers(stream))
            return await told(request, stream)
        finally:
            stream.detach(poll)


async def refuse_absent(request: web.Request) -> web.Response:
    """Routes of OpenAI below this one that are not served."""
    raise refuse("not_found", 404, f"{request.path} is not served here.")


RESPONSES_OF_OPENAI = Responses(is_openrouters=False)
RESPONSES_OF_OPENROUTER = Responses(is_openrouters=True)

"""`/v1/chat/completions` and `/api/v1/chat/completions`: an answer is started, or read again."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from client.streams.log_events import log_events_of
from client.streams.readable import Readable
from client.translation.foreign.fronts import CHAT as UPSTREAM_CHAT
from client.upstream.request import ChatCall, InvalidRequest
from server.errors import invalid_request, refuse
from server.http.json_body import read_json_object
from server.keys import CALLER, SETTINGS, STREAMS
from server.protocols.answering import answer, read
from server.protocols.chat_completions.made_chunks import MadeChunks
from server.protocols.chat_completions.request import chat_call_of
from server.protocols.chat_completions.view import ConvertedView, OpenAiView, TransparentView
from server.protocols.chat_completions.whole import completion_of
from server.protocols.chat_completions.words import FailureWords
from server.routes.readers import View
from server.routes.results import RESULTS, events_gone
from server.routes.sending import EVENTS, Form
from server.routes.starting import stream_grace_s


class ChatCompletions(FailureWords):
    """Both dialects (`server.protocols.answering.Dialect`), which differ in few things.

    Args:
        name: of the protocol.
        is_transparent: OpenRouter's own words, else OpenAI's.
    """

    form: Form = EVENTS

    def __init__(self, name: str, *, is_transparent: bool) -> None:
        super().__init__(is_openrouters=is_transparent)
        self.name = name
        self._is_transparent = is_transparent

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""
        view = TransparentView() if self._is_transparent else OpenAiView()
        if stream.holds_chunks and stream.upstream_protocol == UPSTREAM_CHAT:
            return view
        return ConvertedView(MadeChunks(log_events_of(stream), _created_s(stream)), view)

    def whole(self, result: dict[str, Any], stream: Readable) -> dict[str, Any]:
        """The reply to a request that is not streamed."""
        return completion_of(result, created_s=_created_s(stream), with_reasoning_content=not self._is_transparent)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Starts an answer."""
        config = request.app[SETTINGS].current
        body = await read_json_object(request)
        try:
            call = chat_call_of(body, default_model=config.upstream.model, max_grace_s=config.streams.max_grace_s)
        except InvalidRequest as exc:
            raise invalid_request(exc.details) from exc
        call = ChatCall(call.body, call.stream, stream_grace_s(request, call.grace_s) or 0.0)
        return await answer(request, self, call)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Any answer of the caller's, in whatever words it was asked for: whole, or in chunks (`?stream=true`)."""
        stream = await request.app[STREAMS].find(request.match_info["stream_id"], request[CALLER].name)
        if stream is None:
            raise refuse("not_found", 404, "There is no such answer; it may have expired (streams.retain_s).")
        if stream.log.first > 1:
            raise events_gone(stream)
        if request.query.get("stream", "").lower() not in ("true", "1"):
            return await request.app[RESULTS].gathered(request, stream, self)
        return await read(request, self, stream)


def _created_s(stream: Readable) -> int:
    return int(stream.created_s)


OPENAI = ChatCompletions("chat.completions", is_transparent=False)
OPENROUTER = ChatCompletions("openrouter", is_transparent=True)

"""`POST /v1/completions` and `POST /api/v1/completions`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from client.streams.readable import Readable
from client.upstream.request import InvalidRequest
from server.errors import invalid_request
from server.http.json_body import read_json_object
from server.keys import SETTINGS
from server.protocols.answering import answer
from server.protocols.chat_completions.view import OpenAiView, TransparentView
from server.protocols.chat_completions.words import FailureWords
from server.protocols.passed_payloads import check_spoken, payloads_of
from server.protocols.text_completions.request import PROTOCOL, completions_call_of
from server.protocols.text_completions.whole import text_completion_of
from server.routes.readers import View
from server.routes.sending import EVENTS, Form
from server.routes.starting import stream_grace_s


class TextCompletions(FailureWords):
    """The dialect (`server.protocols.answering.Dialect`), below either mount. Whoever reads a stream in its words has
    asked for it in these words."""

    name = PROTOCOL
    form: Form = EVENTS

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log: upstream's chunks, and the ends of Chat Completions."""
        return TransparentView() if self._is_openrouters else OpenAiView()

    async def whole(self, result: dict[str, Any], stream: Readable) -> dict[str, Any]:
        """The reply to a request that is not streamed."""
        return text_completion_of(result, await payloads_of(stream), created_s=int(stream.created_s))

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Starts an answer."""
        check_spoken(request, PROTOCOL)
        config = request.app[SETTINGS].current
        body = await read_json_object(request)
        try:
            call = completions_call_of(
                body, default_model=config.upstream.model, max_grace_s=config.streams.max_grace_s
            )
        except InvalidRequest as exc:
            raise invalid_request(exc.details) from exc
        call = call._replace(grace_s=stream_grace_s(request, call.grace_s) or 0.0)
        return await answer(request, self, call)


COMPLETIONS_OF_OPENAI = TextCompletions(is_openrouters=False)
COMPLETIONS_OF_OPENROUTER = TextCompletions(is_openrouters=True)

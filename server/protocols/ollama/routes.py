"""`POST /api/chat` and `POST /api/generate`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from client.errors import Failure
from client.streams.log_events import log_events_of
from client.streams.readable import Readable
from client.upstream.request import ChatCall, InvalidRequest
from server.errors import ApiError, invalid_request, refuse, told_as
from server.http.json_body import read_json_object
from server.http.json_reply import json_reply
from server.keys import CATALOGUE, SETTINGS
from server.protocols.answering import answer
from server.protocols.ollama.failures import error_of, status_of
from server.protocols.ollama.models import meant_model
from server.protocols.ollama.request import (
    OllamaRequest,
    asked_model,
    chat_call_of,
    generate_call_of,
    is_without_question,
)
from server.protocols.ollama.view import OllamaView, head_of, said_of
from server.protocols.ollama.whole import answer_of
from server.routes.readers import View
from server.routes.sending import Form
from server.routes.starting import idempotency_key, stream_grace_s


def respond(failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
    """The reply that refuses a request."""
    return told_as(error_of(failure), status_of(failure), failure, headers)


async def refuse_embeddings(request: web.Request) -> web.Response:
    """`POST /api/embed` and the older `/api/embeddings`: a budget could not be kept."""
    raise refuse("not_found", 404, "Embeddings are not served: what they cost could not be counted against budgets.")


class Ollama:
    """Both dialects (`server.protocols.answering.Dialect`): chats, and single prompts.

    Args:
        question: the field that holds what is asked.
    """

    form = Form(content_type="application/x-ndjson", ping=b"", probe=b" ")  # JSON may begin with spaces

    def __init__(self, name: str, question: str, read_call: Callable[..., ChatCall], *, is_chat: bool) -> None:
        self.name = name
        self._question = question
        self._read_call = read_call
        self._is_chat = is_chat

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""
        return OllamaView(log_events_of(stream), _head_of(stream), is_chat=self._is_chat)

    def whole(self, result: dict[str, Any], stream: Readable) -> Any:
        """The reply to a request that is not streamed."""
        found, odd = answer_of(result, _head_of(stream), is_chat=self._is_chat)
        if odd is not None:
            raise ApiError(odd)
        return found

    def failed(self, failure: Failure) -> tuple[int, Any]:
        """Status and JSON of a failure."""
        return status_of(failure), error_of(failure)

    def respond(self, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
        """The reply that refuses a request."""
        return respond(failure, headers)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Starts an answer."""
        return await self.start(request, await read_json_object(request, may_be_unsaid=True))

    async def start(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        """Starts an answer to a body that was read. A caller who leaves ends it, having no way back."""
        config = request.app[SETTINGS].current
        try:
            name = asked_model(body, config.upstream.model)
            if is_without_question(body, self._question):
                return self._nothing_asked(request, body, name)
            model = meant_model(name, request.app[CATALOGUE])
            call = self._read_call(body, model=model, max_grace_s=config.streams.max_grace_s)
        except InvalidRequest as exc:
            raise invalid_request(exc.details) from exc
        call = call._replace(grace_s=stream_grace_s(request, call.grace_s) or 0.0)
        return await answer(request, self, call)

    def _nothing_asked(self, request: web.Request, body: Mapping[str, Any], name: str) -> web.Response:
        """No model is loaded or let go here; who asks for that shall go on."""
        stream_grace_s(request, None)
        idempotency_key(request)
        reason = "unload" if body.get("keep_alive") in (0, "0", "0s") else "load"
        said = said_of("", {}, is_chat=self._is_chat)
        return json_reply({**head_of(name, time.time()), **said, "done": True, "done_reason": reason})


def _head_of(stream: Readable) -> dict[str, Any]:
    asked = stream.asked
    return head_of(asked.model if isinstance(asked, OllamaRequest) else stream.requested_model, stream.created_s)


CHAT = Ollama("ollama", "messages", chat_call_of, is_chat=True)
GENERATE = Ollama("ollama.generate", "prompt", generate_call_of, is_chat=False)

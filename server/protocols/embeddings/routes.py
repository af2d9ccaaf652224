"""`POST /v1/embeddings` and `POST /api/v1/embeddings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from client.errors import Detail
from client.models.costs import NothingWritten
from client.streams.readable import Readable
from client.upstream.request import ChatCall, InvalidRequest
from server.errors import invalid_request
from server.http.json_body import read_json_object
from server.protocols.answering import answer
from server.protocols.chat_completions.view import OpenAiView
from server.protocols.chat_completions.words import FailureWords
from server.protocols.passed_payloads import check_spoken, payloads_of
from server.routes.readers import View
from server.routes.sending import EVENTS, Form

PROTOCOL = "embeddings"


def embeddings_call_of(body: Mapping[str, Any]) -> ChatCall:
    """What is asked for: it goes on unchanged.

    Raises:
        InvalidRequest: what cannot be passed on, each field with what is wrong with it.
    """
    problems: list[Detail] = []
    if body.get("input") in (None, "", []):
        problems.append(Detail("input", "is missing; give a text, or a list of texts"))
    model = body.get("model")
    if not (isinstance(model, str) and model):
        problems.append(Detail("model", "must be the id of a model for embeddings, as text"))
    if problems:
        raise InvalidRequest(problems)
    return ChatCall(NothingWritten(body), stream=False, grace_s=0.0, upstream_protocol=PROTOCOL)


class Embeddings(FailureWords):
    """The dialect (`server.protocols.answering.Dialect`), below either mount."""

    name = PROTOCOL
    form: Form = EVENTS

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log; there is no route that asks for one."""
        return OpenAiView()

    async def whole(self, result: dict[str, Any], stream: Readable) -> msgspec.Raw:
        """Upstream's own reply."""
        return msgspec.Raw((await payloads_of(stream))[-1])

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Passes a request on."""
        check_spoken(request, PROTOCOL)
        try:
            call = embeddings_call_of(await read_json_object(request))
        except InvalidRequest as exc:
            raise invalid_request(exc.details) from exc
        return await answer(request, self, call)


EMBEDDINGS_OF_OPENAI = Embeddings(is_openrouters=False)
EMBEDDINGS_OF_OPENROUTER = Embeddings(is_openrouters=True)

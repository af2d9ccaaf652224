"""OpenRouter's chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from client.sandbox.frames import DONE, chunk, error_body, sse_event
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Piece
from client.sandbox.models.catalogue import PROVIDER
from client.sandbox.models.message import WholeMessage
from client.sandbox.protocols.speech import EventSink, JsonSink, Sink, json_refusal


def error_response(
    status: int,
    message: str,
    metadata: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A refusal in OpenRouter's shape."""
    return json_refusal(status, error_body(status, message, metadata), headers)


class Chat:
    """The protocol (`client.sandbox.protocols.speech.Speech`)."""

    refusal = staticmethod(error_response)

    def as_chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """It is one."""
        return body

    def stream(self, request: web.Request, generation: Generation) -> Sink:
        """Chunks."""
        return _Stream(request, generation)

    def whole(self, request: web.Request, generation: Generation) -> Sink:
        """A whole completion."""
        return _Whole(request, generation)


class _Stream(EventSink):
    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            await self.add(sse_event(self._chunk(piece.delta)))

    async def fail(self, code: int, message: str, error_type: str) -> None:
        """The form seen most: no choices, and no `[DONE]` after it."""
        error = error_body(code, message, {"error_type": error_type})
        await self.add(sse_event({**self._chunk({}), **error, "choices": []}))
        await self.flush()

    async def finish(self, finish_reason: str) -> None:
        """The finish, again the finish with the usage (OpenRouter says it twice), `[DONE]`."""
        await self.add(sse_event(self._chunk({}, finish_reason)))
        usage = self.generation.usage()
        await self.add(sse_event({**self._chunk({}, finish_reason), "service_tier": None, "usage": usage}) + DONE)
        await self.flush()

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return chunk(
            delta,
            finish_reason,
            generation_id=self.generation.id,
            model=self.generation.model["canonical_slug"],
            created=self.generation.created,
        )


class _Whole(JsonSink):
    def __init__(self, request: web.Request, generation: Generation) -> None:
        super().__init__(request, generation)
        self._message = WholeMessage()

    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            self._message.add(piece.delta)

    async def fail(self, code: int, message: str, error_type: str) -> None:
        await self.end({**error_body(code, message, {"error_type": error_type}), "user_id": "user_sandbox"})

    async def finish(self, finish_reason: str) -> None:
        generation = self.generation
        choice = {
            "index": 0,
            "logprobs": None,
            "finish_reason": finish_reason,
            "native_finish_reason": finish_reason,
            "message": self._message.build(),
        }
        await self.end(
            {
                "id": generation.id,
                "object": "chat.completion",
                "created": generation.created,
                "model": generation.model["canonical_slug"],
                "provider": PROVIDER,
                "system_fingerprint": None,
                "service_tier": None,
                "choices": [choice],
                "usage": generation.usage(),
            }
        )

"""OpenRouter's older completions of a text: chunks and whole replies of one shape."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from client.sandbox.frames import DONE, error_body, sse_event
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Piece
from client.sandbox.models.catalogue import PROVIDER
from client.sandbox.models.order import BadRequest
from client.sandbox.protocols.chat import error_response
from client.sandbox.protocols.speech import EventSink, JsonSink, Sink


class Completions:
    """The protocol (`client.sandbox.protocols.speech.Speech`)."""

    refusal = staticmethod(error_response)

    def as_chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The prompt as a message; of tokens that are given by their numbers, the numbers."""
        prompt = body.get("prompt")
        prompt = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
        if not isinstance(prompt, str | list) or not prompt:
            raise BadRequest('Input required: specify "prompt" or "messages"')
        text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
        return {**body, "messages": [{"role": "user", "content": text}]}

    def stream(self, request: web.Request, generation: Generation) -> Sink:
        """Chunks."""
        return _Stream(request, generation)

    def whole(self, request: web.Request, generation: Generation) -> Sink:
        """A whole completion."""
        return _Whole(request, generation)


def _completion(generation: Generation, text: str, finish_reason: str | None, **beside: Any) -> dict[str, Any]:
    ends = {"finish_reason": finish_reason, "native_finish_reason": finish_reason}
    return {
        "id": generation.id,
        "object": "text_completion",
        "created": generation.created,
        "model": generation.model["canonical_slug"],
        "provider": PROVIDER,
        "choices": [{"text": text, "index": 0, "logprobs": None, **ends}],
        **beside,
    }


class _Stream(EventSink):
    async def show(self, piece: Piece) -> None:
        if piece.delta is not None and piece.delta.get("content"):
            await self.add(sse_event(_completion(self.generation, piece.delta["content"], None)))

    async def fail(self, code: int, message: str, error_type: str) -> None:
        error = error_body(code, message, {"error_type": error_type})
        await self.add(sse_event({**_completion(self.generation, "", None), **error, "choices": []}))
        await self.flush()

    async def finish(self, finish_reason: str) -> None:
        await self.add(sse_event(_completion(self.generation, "", finish_reason)))
        await self.add(
            sse_event(_completion(self.generation, "", finish_reason, usage=self.generation.usage())) + DONE
        )
        await self.flush()


class _Whole(JsonSink):
    def __init__(self, request: web.Request, generation: Generation) -> None:
        super().__init__(request, generation)
        self._texts: list[str] = []

    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            self._texts.append(piece.delta.get("content") or "")

    async def fail(self, code: int, message: str, error_type: str) -> None:
        await self.end(error_body(code, message, {"error_type": error_type}))

    async def finish(self, finish_reason: str) -> None:
        text = "".join(self._texts)
        await self.end(_completion(self.generation, text, finish_reason, usage=self.generation.usage()))

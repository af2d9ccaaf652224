"""OpenAI's Responses, as OpenRouter speaks them: comments between the events, what the answer cost in the usage, and
`[DONE]` behind the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from client.border.json_codec import encode_json
from client.sandbox.frames import DONE, error_body
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Piece
from client.sandbox.protocols.responses_events import Event, ResponseEvents
from client.sandbox.protocols.responses_request import as_chat
from client.sandbox.protocols.speech import EventSink, JsonSink, Sink, json_refusal
from client.sandbox.state import CALL


def response_event(event: Mapping[str, Any]) -> bytes:
    """One event under its name."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encode_json(event) + b"\n\n"


class Responses:
    """The protocol (`client.sandbox.protocols.speech.Speech`)."""

    as_chat = staticmethod(as_chat)

    def refusal(
        self,
        status: int,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """A refusal; what it says beside its message stands beside the error."""
        body = error_body(status, message)
        return json_refusal(status, {**body, "metadata": dict(metadata)} if metadata else body, headers)

    def stream(self, request: web.Request, generation: Generation) -> Sink:
        """Events."""
        return _Stream(request, generation)

    def whole(self, request: web.Request, generation: Generation) -> Sink:
        """A whole object."""
        return _Whole(request, generation)


def _events_of(request: web.Request, generation: Generation) -> ResponseEvents:
    return ResponseEvents(generation, json.loads(request[CALL].body))


class _Stream(EventSink):
    def __init__(self, request: web.Request, generation: Generation) -> None:
        super().__init__(request, generation)
        self._events = _events_of(request, generation)
        self._has_begun = False

    async def show(self, piece: Piece) -> None:
        await self._begin()
        if piece.delta is not None:
            await self._add(self._events.show(piece.delta))

    async def fail(self, code: int, message: str, error_type: str) -> None:
        await self._begin()
        await self._add(self._events.fail(message, error_type))
        await self.add(DONE)
        await self.flush()

    async def finish(self, finish_reason: str) -> None:
        await self._begin()
        await self._add(self._events.finish(finish_reason))
        await self.add(DONE)
        await self.flush()

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._add(self._events.start())

    async def _add(self, events: Iterable[Event]) -> None:
        await self.add(b"".join(map(response_event, events)))


class _Whole(JsonSink):
    def __init__(self, request: web.Request, generation: Generation) -> None:
        super().__init__(request, generation)
        self._events = _events_of(request, generation)

    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            for _ in self._events.show(piece.delta):
                continue

    async def fail(self, code: int, message: str, error_type: str) -> None:
        await self.end(error_body(code, message, {"error_type": error_type}))

    async def finish(self, finish_reason: str) -> None:
        last: Event = {}
        for last in self._events.finish(finish_reason):  # noqa: B007
            continue
        await self.end(last["response"])

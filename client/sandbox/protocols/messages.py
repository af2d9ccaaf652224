"""Anthropic's Messages, as OpenRouter speaks it: comments between the events, what the answer cost in the usage, and
behind the end an event that is none of the protocol's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from client.border.json_codec import encode_json
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Piece
from client.sandbox.protocols.messages_events import Event, MessageEvents, whole_message
from client.sandbox.protocols.messages_request import as_chat
from client.sandbox.protocols.speech import EventSink, JsonSink, Sink, json_refusal

LEAKED = b"event: data\ndata: [DONE]\n\n"
"""What OpenRouter sends behind `message_stop`."""
_TYPES = {400: "invalid_request_error", 402: "billing_error", 404: "not_found_error", 429: "rate_limit_error"}


def message_event(event: Mapping[str, Any]) -> bytes:
    """One event under its name."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encode_json(event) + b"\n\n"


def message_error(code: int, message: str) -> dict[str, Any]:
    """Anthropic's error shape, which is also the event that ends a broken stream."""
    error = {"type": _TYPES.get(code, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": "req_sandbox"}


class Messages:
    """The protocol (`client.sandbox.protocols.speech.Speech`)."""

    as_chat = staticmethod(as_chat)

    def refusal(
        self,
        status: int,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """A refusal; it says nothing beside its message."""
        return json_refusal(status, message_error(status, message), headers)

    def stream(self, request: web.Request, generation: Generation) -> Sink:
        """Events."""
        return _Stream(request, generation)

    def whole(self, request: web.Request, generation: Generation) -> Sink:
        """A whole message."""
        return _Whole(request, generation)


class _Stream(EventSink):
    def __init__(self, request: web.Request, generation: Generation) -> None:
        super().__init__(request, generation)
        self._events = MessageEvents(generation)
        self._has_begun = False

    async def show(self, piece: Piece) -> None:
        await self._begin()
        if piece.delta is not None:
            await self._add(self._events.show(piece.delta))

    async def fail(self, code: int, message: str, error_type: str) -> None:
        await self._add([message_error(code, message)])
        await self.flush()

    async def finish(self, finish_reason: str) -> None:
        await self._begin()
        await self._add(self._events.finish(finish_reason))
        await self.add(LEAKED)
        await self.flush()

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._add(self._events.start())

    async def _add(self, events: Iterable[Event]) -> None:
        await self.add(b"".join(map(message_event, events)))


class _Whole(JsonSink):
    def __init__(self, request: web.Request, generation: Generation) -> None:
        super().__init__(request, generation)
        self._events = MessageEvents(generation)
        self._made = [*self._events.start()]

    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            self._made += self._events.show(piece.delta)

    async def fail(self, code: int, message: str, error_type: str) -> None:
        await self.end(message_error(code, message))

    async def finish(self, finish_reason: str) -> None:
        self._made += self._events.finish(finish_reason)
        await self.end(whole_message(self._made))

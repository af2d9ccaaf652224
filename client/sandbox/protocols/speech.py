"""What a protocol of the sandbox is, and what all of them share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import hdrs, web

from client.border.json_codec import encode_json
from client.sandbox.frames import COMMENT, PADDING
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Piece
from client.sandbox.player import send
from client.sandbox.state import CALL

_BATCH_BYTES = 16 * 1024
_PADDING_INTERVAL_S = 1.0


class Sink(Protocol):
    """Where an answer goes."""

    response: web.StreamResponse

    async def start(self) -> None: ...
    async def keep_alive(self) -> None: ...
    async def show(self, piece: Piece) -> None: ...
    async def flush(self) -> None: ...
    async def fail(self, code: int, message: str, error_type: str) -> None: ...
    async def finish(self, finish_reason: str) -> None: ...


class Speech(Protocol):
    """One protocol."""

    def as_chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The same request for chat completions.

        Raises:
            BadRequest: it is none.
        """

    def refusal(
        self,
        status: int,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """A refusal ahead of any answer."""

    def stream(self, request: web.Request, generation: Generation) -> Sink:
        """Where the events go."""

    def whole(self, request: web.Request, generation: Generation) -> Sink:
        """Where an answer goes that is not streamed."""


def json_refusal(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    """A refusal as JSON."""
    return web.Response(body=encode_json(body), status=status, headers=headers, content_type="application/json")


def _response(generation: Generation, content_type: str) -> web.StreamResponse:
    headers = {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CACHE_CONTROL: "no-cache",
        "X-Generation-Id": generation.id,
    }
    return web.StreamResponse(headers=headers)


class EventSink:
    """The answer as server-sent events; those that are due together share a write."""

    def __init__(self, request: web.Request, generation: Generation) -> None:
        self.response = _response(generation, "text/event-stream")
        self.generation = generation
        self._request = request
        self._buffer = bytearray()

    async def start(self) -> None:
        """Sends the head."""
        await self.response.prepare(self._request)

    async def keep_alive(self) -> None:
        """Sends a comment."""
        await send(self.response, COMMENT, self._request[CALL])

    async def add(self, data: bytes) -> None:
        """Takes what is to be sent; sends it when it is enough."""
        self._buffer += data
        if len(self._buffer) >= _BATCH_BYTES:
            await self.flush()
            await asyncio.sleep(0)  # an endless answer to a fast reader must not hold the loop

    async def flush(self) -> None:
        """Sends what waits."""
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await send(self.response, data, self._request[CALL])


class JsonSink:
    """The answer as one JSON text, with white space ahead of it while it is made."""

    def __init__(self, request: web.Request, generation: Generation) -> None:
        self.response = _response(generation, "application/json")
        self.generation = generation
        self._request = request
        self._padded_s = time.monotonic()

    async def start(self) -> None:
        """Sends the head."""
        await self.response.prepare(self._request)

    async def keep_alive(self) -> None:
        """Sends white space."""
        self._padded_s = time.monotonic()
        await send(self.response, PADDING, self._request[CALL])

    async def flush(self) -> None:
        """Sends white space, now and then."""
        if time.monotonic() - self._padded_s >= _PADDING_INTERVAL_S:
            await self.keep_alive()

    async def end(self, body: Mapping[str, Any]) -> None:
        """Sends the JSON text."""
        await send(self.response, encode_json(body), self._request[CALL])

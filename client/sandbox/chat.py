"""`POST /chat/completions`: runs an answer at its pace, streamed or whole, and bills it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import hdrs, web

from client.border.json_codec import encode_json
from client.sandbox.calls import Call
from client.sandbox.frames import COMMENT, DONE, PADDING, chunk, error_body, sse_event
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Answer, Piece, compose
from client.sandbox.models.catalogue import PROVIDER, find_model
from client.sandbox.models.message import WholeMessage
from client.sandbox.models.order import BadRequest, Knobs, Order, read_order
from client.sandbox.player import hang_up, send
from client.sandbox.state import CALL, SANDBOX, Sandbox

_BATCH_BYTES = 16 * 1024
_PADDING_INTERVAL_S = 1.0
_BROKEN = error_body(502, "Network connection lost.", {"error_type": "provider_unavailable"})


def error_response(
    status: int,
    message: str,
    metadata: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A refusal in OpenRouter's shape."""
    body = encode_json(error_body(status, message, metadata))
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def chat(request: web.Request) -> web.StreamResponse:
    """Tries the models asked for in order; the first that does not refuse answers."""
    call, sandbox = request[CALL], request.app[SANDBOX]
    try:
        order = read_order(call.body)
        refusal: web.Response | None = None
        for model_id in order.models:
            refused = _refuse(model_id, order, call, sandbox)
            if refused is None:
                return await _answer(request, model_id, order)
            refusal = refusal or refused
    except BadRequest as exc:
        return error_response(400, str(exc))
    assert refusal is not None, "an order names a model"  # noqa: S101
    return refusal


def _refuse(model_id: str, order: Order, call: Call, sandbox: Sandbox) -> web.Response | None:
    """The refusal of this model ahead of any answer."""
    model = find_model(model_id)
    if model is None:
        return error_response(400, f"{model_id} is not a valid model ID")
    if model["id"] == "sandbox/no-credits":
        wanted = order.max_tokens or model["top_provider"]["max_completion_tokens"]
        message = (
            "This request requires more credits, or fewer max_tokens. You requested up to"
            f" {wanted} tokens, but can only afford {wanted // 10}."
        )
        return error_response(402, message, {"limit_source": "openrouter_credits"})
    if model["id"] == "sandbox/rate-limited" and sandbox.attempts.refuse(_fingerprint(call)):
        metadata = {
            "provider_name": PROVIDER,
            "raw": f"{model_id} is temporarily rate-limited upstream. Please retry shortly.",
            "limit_source": "upstream_provider_shared_pool",
            "error_type": "rate_limit_exceeded",
            "is_byok": False,
        }
        return error_response(429, "Provider returned error", metadata, {hdrs.RETRY_AFTER: "1"})
    return None


def _fingerprint(call: Call) -> bytes:
    authorization = call.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
    return hashlib.sha256(authorization + b"\0" + call.body).digest()


async def _answer(request: web.Request, model_id: str, order: Order) -> web.StreamResponse:
    model = find_model(model_id)
    assert model is not None, "refused otherwise"  # noqa: S101
    answer = compose(model["id"], order)
    generation = Generation(model, order.prompt_tokens, order.stream, server_tool_use=answer.server_tool_use)
    call, sandbox = request[CALL], request.app[SANDBOX]
    call.generation_id = generation.id
    sink: _Sink = _Stream(request, generation) if order.stream else _Whole(request, generation)
    try:
        await _run(request, order, answer, generation, sink)
    except (asyncio.CancelledError, ConnectionError):
        _cancel(order, answer, generation)
        raise
    finally:
        sandbox.generations.settle(generation)
    return sink.response


def _cancel(order: Order, answer: Answer, generation: Generation) -> None:
    """A stream stops where its caller left; an answer that is not streamed is made, and billed, to its end."""
    if generation.streamed:
        generation.cancelled = True
        return
    for piece in answer.pieces:
        if not _fits(piece, order, generation):
            break
        generation.count(piece)


async def _run(request: web.Request, order: Order, answer: Answer, generation: Generation, sink: _Sink) -> None:
    if order.knobs.first_token_s:
        await asyncio.sleep(order.knobs.first_token_s)
    await sink.start()
    await _wait_first_token(order.knobs, sink)
    finish_reason = await _send_pieces(order, answer, generation, sink)
    match answer.fault:
        case "silence":
            await sink.flush()
            await asyncio.Event().wait()
        case "hang_up":
            await sink.flush()
            hang_up(request, request[CALL])
        case "error":
            generation.finish_reason = "error"
            await sink.fail(_BROKEN)
        case None:
            generation.finish_reason = finish_reason
            await sink.finish(finish_reason)


async def _wait_first_token(knobs: Knobs, sink: _Sink) -> None:
    if not knobs.comments:
        await asyncio.sleep(knobs.first_token_delay_s)
    for _ in range(knobs.comments):
        await sink.keep_alive()
        if knobs.first_token_delay_s:
            await asyncio.sleep(knobs.first_token_delay_s / knobs.comments)


async def _send_pieces(order: Order, answer: Answer, generation: Generation, sink: _Sink) -> str:
    """Sends the answer at its pace, up to the caller's limit; returns the finish reason."""
    pace = _Pace(order.knobs.tokens_per_s)
    for piece in answer.pieces:
        if not _fits(piece, order, generation):
            return "length"
        generation.count(piece)  # before the wait: a token in the making is billed, as at OpenRouter
        await pace.wait(piece.tokens, sink)
        await sink.show(piece)
    return answer.finish_reason


def _fits(piece: Piece, order: Order, generation: Generation) -> bool:
    return order.max_tokens is None or generation.completion_tokens + piece.tokens <= order.max_tokens


class _Pace:
    """Keeps to so many tokens per second on average, however coarse the clock's ticks are."""

    def __init__(self, tokens_per_s: float) -> None:
        self._token_s = 1 / tokens_per_s if tokens_per_s else 0.0
        self._due_s = time.monotonic()

    async def wait(self, tokens: int, sink: _Sink) -> None:
        """Returns when the next tokens are due; what is ready goes out before any wait."""
        if not self._token_s:
            return
        self._due_s += tokens * self._token_s
        delay_s = self._due_s - time.monotonic()
        if delay_s > 0:
            await sink.flush()
            await asyncio.sleep(delay_s)


class _Sink(Protocol):
    """Where an answer goes: `_Stream` or `_Whole`."""

    response: web.StreamResponse

    async def start(self) -> None: ...
    async def keep_alive(self) -> None: ...
    async def show(self, piece: Piece) -> None: ...
    async def flush(self) -> None: ...
    async def fail(self, error: dict[str, Any]) -> None: ...
    async def finish(self, finish_reason: str) -> None: ...


def _response(generation: Generation, content_type: str) -> web.StreamResponse:
    headers = {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CACHE_CONTROL: "no-cache",
        "X-Generation-Id": generation.id,
    }
    return web.StreamResponse(headers=headers)


class _Stream:
    """The answer as server-sent events; frames that are due together share a write."""

    def __init__(self, request: web.Request, generation: Generation) -> None:
        self.response = _response(generation, "text/event-stream")
        self._request = request
        self._generation = generation
        self._buffer = bytearray()

    async def start(self) -> None:
        await self.response.prepare(self._request)

    async def keep_alive(self) -> None:
        await send(self.response, COMMENT, self._request[CALL])

    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            self._add(self._chunk(piece.delta))
        if len(self._buffer) >= _BATCH_BYTES:
            await self.flush()
            await asyncio.sleep(0)  # an endless answer to a fast reader must not hold the loop

    async def flush(self) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await send(self.response, data, self._request[CALL])

    async def fail(self, error: dict[str, Any]) -> None:
        """The form seen most: no choices, and no `[DONE]` after it."""
        self._add({**self._chunk({}), **error, "choices": []})
        await self.flush()

    async def finish(self, finish_reason: str) -> None:
        """The finish, again the finish with the usage (OpenRouter says it twice), `[DONE]`."""
        self._add(self._chunk({}, finish_reason))
        usage = self._generation.usage()
        self._add({**self._chunk({}, finish_reason), "service_tier": None, "usage": usage})
        self._buffer += DONE
        await self.flush()

    def _add(self, frame: dict[str, Any]) -> None:
        self._buffer += sse_event(frame)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        generation = self._generation
        return chunk(
            delta,
            finish_reason,
            generation_id=generation.id,
            model=generation.model["canonical_slug"],
            created=generation.created,
        )


class _Whole:
    """The answer as one JSON text, with white space ahead of it while it is made."""

    def __init__(self, request: web.Request, generation: Generation) -> None:
        self.response = _response(generation, "application/json")
        self._request = request
        self._generation = generation
        self._message = WholeMessage()
        self._padded_s = time.monotonic()

    async def start(self) -> None:
        await self.response.prepare(self._request)

    async def keep_alive(self) -> None:
        self._padded_s = time.monotonic()
        await send(self.response, PADDING, self._request[CALL])

    async def show(self, piece: Piece) -> None:
        if piece.delta is not None:
            self._message.add(piece.delta)

    async def flush(self) -> None:
        if time.monotonic() - self._padded_s >= _PADDING_INTERVAL_S:
            await self.keep_alive()

    async def fail(self, error: dict[str, Any]) -> None:
        await self._end({**error, "user_id": "user_sandbox"})

    async def finish(self, finish_reason: str) -> None:
        generation = self._generation
        choice = {
            "index": 0,
            "logprobs": None,
            "finish_reason": finish_reason,
            "native_finish_reason": finish_reason,
            "message": self._message.build(),
        }
        await self._end(
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

    async def _end(self, body: dict[str, Any]) -> None:
        await send(self.response, encode_json(body), self._request[CALL])

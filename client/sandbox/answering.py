"""Runs an answer at its pace, streamed or whole, in whatever words it was asked for, and bills it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from client.sandbox.calls import Call
from client.sandbox.generations import Generation
from client.sandbox.models.answers import Answer, Piece, compose
from client.sandbox.models.catalogue import PROVIDER, find_model
from client.sandbox.models.order import BadRequest, Knobs, Order, read_order
from client.sandbox.player import hang_up
from client.sandbox.protocols.speech import Sink, Speech
from client.sandbox.state import CALL, SANDBOX, Sandbox

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(speech: Speech) -> Handler:
    """The handler of the route at which answers are asked for in one protocol."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _handle(request, speech)

    return handle


async def _handle(request: web.Request, speech: Speech) -> web.StreamResponse:
    """Tries the models asked for in order; the first that does not refuse answers."""
    call, sandbox = request[CALL], request.app[SANDBOX]
    try:
        order = read_order(call.body, speech.as_chat)
        refusal: web.Response | None = None
        for model_id in order.models:
            refused = _refuse(model_id, order, call, sandbox, speech)
            if refused is None:
                return await _answer(request, model_id, order, speech)
            refusal = refusal or refused
    except BadRequest as exc:
        return speech.refusal(400, str(exc))
    assert refusal is not None, "an order names a model"  # noqa: S101
    return refusal


def _refuse(model_id: str, order: Order, call: Call, sandbox: Sandbox, speech: Speech) -> web.Response | None:
    """The refusal of this model ahead of any answer."""
    model = find_model(model_id)
    if model is None:
        return speech.refusal(400, f"{model_id} is not a valid model ID")
    if model["id"] == "sandbox/no-credits":
        wanted = order.max_tokens or model["top_provider"]["max_completion_tokens"]
        message = (
            "This request requires more credits, or fewer max_tokens. You requested up to"
            f" {wanted} tokens, but can only afford {wanted // 10}."
        )
        return speech.refusal(402, message, {"limit_source": "openrouter_credits"})
    if model["id"] == "sandbox/rate-limited" and sandbox.attempts.refuse(_fingerprint(call)):
        metadata = {
            "provider_name": PROVIDER,
            "raw": f"{model_id} is temporarily rate-limited upstream. Please retry shortly.",
            "limit_source": "upstream_provider_shared_pool",
            "error_type": "rate_limit_exceeded",
            "is_byok": False,
        }
        return speech.refusal(429, "Provider returned error", metadata, {hdrs.RETRY_AFTER: "1"})
    return None


def _fingerprint(call: Call) -> bytes:
    authorization = call.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
    return hashlib.sha256(authorization + b"\0" + call.body).digest()


async def _answer(request: web.Request, model_id: str, order: Order, speech: Speech) -> web.StreamResponse:
    model = find_model(model_id)
    assert model is not None, "refused otherwise"  # noqa: S101
    answer = compose(model["id"], order)
    generation = Generation(model, order.prompt_tokens, order.stream, server_tool_use=answer.server_tool_use)
    call, sandbox = request[CALL], request.app[SANDBOX]
    call.generation_id = generation.id
    sink = speech.stream(request, generation) if order.stream else speech.whole(request, generation)
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


async def _run(request: web.Request, order: Order, answer: Answer, generation: Generation, sink: Sink) -> None:
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
            await sink.fail(502, "Network connection lost.", "provider_unavailable")
        case None:
            generation.finish_reason = finish_reason
            await sink.finish(finish_reason)


async def _wait_first_token(knobs: Knobs, sink: Sink) -> None:
    if not knobs.comments:
        await asyncio.sleep(knobs.first_token_delay_s)
    for _ in range(knobs.comments):
        await sink.keep_alive()
        if knobs.first_token_delay_s:
            await asyncio.sleep(knobs.first_token_delay_s / knobs.comments)


async def _send_pieces(order: Order, answer: Answer, generation: Generation, sink: Sink) -> str:
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

    async def wait(self, tokens: int, sink: Sink) -> None:
        """Returns when the next tokens are due; what is ready goes out before any wait."""
        if not self._token_s:
            return
        self._due_s += tokens * self._token_s
        delay_s = self._due_s - time.monotonic()
        if delay_s > 0:
            await sink.flush()
            await asyncio.sleep(delay_s)

"""Whole answers as one JSON: put together and encoded in steps, a few at a time, and counted while they are held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import isawaitable
from typing import Any, Protocol

import msgspec
from aiohttp import hdrs, web

from client.border.fit import header_value
from client.border.large_json import encode_in_steps
from client.errors import Failure
from client.streams.answer import Answer
from client.streams.gathering import WholeReader, read_answer
from client.streams.log import EventsGone
from client.streams.readable import Readable, StreamsFull
from client.streams.streams import Streams
from server.errors import note_retry, refuse

AT_ONCE = 2
"""Results that are put together at the same time; others wait."""

_STEP_BYTES = 65_536
_STALLED_S = 60.0
"""How long a piece of a reply may wait to be taken: what is held of it takes room from everybody."""
_RETRY_AFTER_S = 5.0


class Words(Protocol):
    """How a protocol of other clients says what has become of an answer."""

    def whole(self, result: dict[str, Any], stream: Readable) -> Any:
        """The JSON of a whole answer, of which `result` is ours, and `created` in it the epoch seconds that upstream
        told, or None; or what to wait for to have it."""

    def failed(self, failure: Failure) -> tuple[int, Any]:
        """Status and JSON of a failure."""


class Results:
    """Makes replies of whole answers."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def gathered(
        self, request: web.Request, stream: Readable, words: Words | None = None
    ) -> web.StreamResponse:
        """The reply of `stream=false`: waits for the end; leaves with its caller, without any grace.

        `words` are those of another protocol.
        """
        with stream.pinned():
            reader = WholeReader(stream)
            stream.attach(reader)
            try:
                failure = await reader.wait_whole()
            finally:
                stream.detach(reader)
            headers = stream_headers(stream)
            if failure is not None:
                return await _refuse_large(request, failure, headers, words)
            with self._room_for(stream):
                async with self._at_once:
                    status, pieces = await _gathered_reply(stream, headers, words)
                return await _send(request, pieces, status, headers)

    async def so_far(self, request: web.Request, stream: Readable) -> web.StreamResponse:
        """The reply of `/result`: the whole answer, or 202 with what there is while it runs."""
        with stream.pinned(), self._room_for(stream):
            async with self._at_once:
                status, pieces = await _reply_so_far(stream)
            return await _send(request, pieces, status, {})

    async def made(
        self, request: web.Request, stream: Readable, make: Callable[[], Awaitable[Any]]
    ) -> web.StreamResponse:
        """The reply with what is made of a stream's log, be it whole or not."""
        with stream.pinned(), self._room_for(stream):
            async with self._at_once:
                pieces = await encode_in_steps(await make())
            return await _send(request, pieces, 200, stream_headers(stream))

    def _room_for(self, stream: Readable) -> AbstractContextManager[None]:
        """Room for the reply beside the log, until it is sent; a small one is never refused."""
        size_bytes = stream.log.size_bytes
        try:
            return nullcontext() if size_bytes <= _STEP_BYTES else self._streams.holding(size_bytes)
        except StreamsFull as exc:
            error = f"The server is at its limit: {exc}. Read this answer as events, at {stream_path(stream)}."
            raise refuse("overloaded", 503, error, retry_after_s=_RETRY_AFTER_S) from exc


RESULTS = web.AppKey("RESULTS", Results)


def stream_path(stream: Readable) -> str:
    """Where the stream can be read."""
    return f"/chat/{stream.id}"


def stream_headers(stream: Readable) -> dict[str, str]:
    """What every reply about a stream says of it."""
    headers = {"X-Stream-Id": stream.id, hdrs.LOCATION: stream_path(stream)}
    generation_id = header_value(stream.generation_id)
    if generation_id is not None:
        headers["X-Generation-Id"] = generation_id
    if stream.holds_chunks:  # the SDKs of other protocols show it in their exceptions
        headers["X-Request-Id"] = headers["Request-Id"] = stream.id
    return headers


def events_gone(stream: Readable) -> Exception:
    """The refusal of what was dropped."""
    return refuse(
        "not_found",
        404,
        f"The events before {stream.log.first} of this stream were dropped, since it outgrew streams.max_log_bytes.",
    )


async def _reply_so_far(stream: Readable) -> tuple[int, list[bytes]]:
    answer = await _answer_of(stream)
    result = _result_of(answer, stream)
    result |= {"stream_id": stream.id, "running": stream.is_running}
    if answer.error is not None:
        result["error"] = answer.error
    return 202 if stream.is_running else 200, await encode_in_steps(result)


async def _gathered_reply(stream: Readable, headers: dict[str, str], words: Words | None) -> tuple[int, list[bytes]]:
    answer = await _answer_of(stream)
    result = _result_of(answer, stream)
    if answer.error is None and answer.done is not None and answer.done["completed"]:
        made = result if words is None else words.whole({**result, "created": answer.created_s}, stream)
        return 200, await encode_in_steps(await made if isawaitable(made) else made)
    error = _failure_of(answer, result)
    note_retry(headers, error.get("retry_after_s"))
    status = 502 if answer.start is not None else error["status"]
    if words is not None:
        error.pop("partial", None)
        if answer.error is None and result["finish_reason"] == "cancelled":  # no fault, and to be asked for no more
            status, error["retryable"] = 499, False
        status, error = words.failed(msgspec.convert({**error, "status": status}, Failure))
    return status, await encode_in_steps(error)


def _failure_of(answer: Answer, result: dict[str, Any]) -> dict[str, Any]:
    """The error shape with upstream's status; with the partial answer when it was cut in the middle."""
    reason = result["finish_reason"]
    error = answer.error or {
        "error": f"The answer was stopped ({reason}) before it was whole.",
        "type": "stream_interrupted",
        "status": 502,
        "retryable": True,
    }
    return error if answer.start is None else {**error, "partial": result}


async def _refuse_large(
    request: web.Request, failure: Failure, headers: dict[str, str], words: Words | None
) -> web.StreamResponse:
    """An answer that was ended for its size: what came of it is in the log, and not sent along."""
    told = f"{failure.error} What came of it can be read as events, at {headers[hdrs.LOCATION]}."
    failure = msgspec.structs.replace(failure, error=told)
    note_retry(headers, failure.retry_after_s)
    status, error = (failure.status, msgspec.to_builtins(failure)) if words is None else words.failed(failure)
    return await _send(request, await encode_in_steps(error), status, headers)


async def _answer_of(stream: Readable) -> Answer:
    answer = Answer()
    try:
        view = stream.typed_view()
        await read_answer(stream.log, answer, view=view)
        answer.created_s = None if view is None else view.created_s
    except EventsGone:
        raise events_gone(stream) from None
    return answer


def _result_of(answer: Answer, stream: Readable) -> dict[str, Any]:
    result = answer.to_result()
    if answer.start is None and not stream.is_running and stream.generation_id is not None:  # its text was lost
        result |= {"id": stream.generation_id, "model": stream.model}
    settlement = stream.settlement
    if result["usage"] is None and settlement.usage is not None:
        result["usage"] = settlement.usage
    if result["usage"] is not None:
        result["usage"] = {**result["usage"], "settled": settlement.is_settled}
    elif settlement.is_sought:
        result["usage"] = {"settled": False}
    return result


async def _send(
    request: web.Request, pieces: list[bytes], status: int, headers: dict[str, str]
) -> web.StreamResponse:
    """Small replies at once; large ones piece by piece, as fast as they are taken."""
    if len(pieces) == 1 or request.method == hdrs.METH_HEAD:
        body = b"".join(pieces)
        return web.Response(body=body, status=status, headers=headers, content_type="application/json")
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type = "application/json"
    response.content_length = sum(map(len, pieces))
    await response.prepare(request)
    try:
        for piece in pieces:
            async with asyncio.timeout(_STALLED_S):
                await response.write(piece)
            await asyncio.sleep(0)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reply is not taken") from None
    await response.write_eof()
    return response

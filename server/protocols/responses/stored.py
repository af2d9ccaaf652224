"""Answers that were begun before: read again as an object or as events, stopped, forgotten.

Any answer of the caller's can be read so, whatever protocol it was asked for in, for as long as the server keeps it
(`streams.retain_s`). Reading an object counts as reading, so an answer that is polled goes on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from client.streams.gathering import PIECE_BYTES
from client.streams.log import EventsGone
from client.streams.readable import Readable
from server.errors import refuse
from server.keys import CALLER, STREAMS
from server.protocols.responses.response_object import RESPONSE, stream_id_of_item, stream_ids_of
from server.protocols.responses.view import NOTHING, PROTOCOL, Answer, view_of
from server.routes.readers import ResponseReader
from server.routes.results import RESULTS, events_gone
from server.routes.sending import EVENTS, begin_sending

_NUMBER = re.compile("[0-9]{1,18}")
_MOST_LOOKED_THROUGH = 20
"""Answers of a caller in which items are looked for."""
_TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}


async def get_response(request: web.Request) -> web.StreamResponse:
    """The object, or with `stream=true` its events: all, or those after the number that `starting_after` gives."""
    stream = await _find(request)
    is_streamed = _TRUTHS.get(request.query.get("stream", "").lower())
    if is_streamed is None:
        raise refuse("invalid_request", 400, "stream must be true or false.")
    text = request.query.get("starting_after")
    if text is not None and not (is_streamed and _NUMBER.fullmatch(text)):
        raise refuse("invalid_request", 400, "starting_after must be the number of an event, beside stream=true.")
    if not is_streamed:
        return await told(request, stream)
    if stream.log.first > 1:
        raise events_gone(stream)
    if text is not None:
        request.app[STREAMS].figures.resumes += 1
    view = view_of(stream, -1 if text is None else int(text))
    reader = ResponseReader(stream, request.protocol, 0, view, EVENTS.ping)
    stream.attach(reader)
    try:
        response = await begin_sending(request, stream, reader, EVENTS, view)
        await reader.run()
        return response
    finally:
        stream.detach(reader)


async def cancel_response(request: web.Request) -> web.StreamResponse:
    """Stops an answer; one that has ended stays as it is."""
    stream = await _find(request)
    await stream.end("cancelled")
    return await told(request, stream)


async def delete_response(request: web.Request) -> web.StreamResponse:
    """Stops and forgets an answer: nobody finds it any more, in no protocol."""
    stream = await _find(request)
    await stream.end("cancelled")
    await request.app[STREAMS].forget(stream)
    return web.json_response({"id": RESPONSE + stream.id, "object": "response", "deleted": True})


async def told(request: web.Request, stream: Readable) -> web.StreamResponse:
    """The reply with the object as it is now."""
    await request.app[STREAMS].told(stream)
    with _reading(stream):
        return await request.app[RESULTS].made(request, stream, lambda: object_of(stream))


async def object_of(stream: Readable) -> dict[str, Any]:
    """The Response object of an answer, or of what there is of it.

    Raises:
        ApiError: its beginning was dropped.
    """
    answer = await _read(stream)
    found = answer.response(stream.settlement.usage)
    return {**found, "status": "queued"} if stream.is_running and not stream.has_verdict else found


async def known_items(request: web.Request, given: Any) -> Any:
    """The input with the items themselves in place of references to those that were answered here.

    A client that takes its answers for stored (the AI SDK does, unless it is told otherwise) sends only the ids of
    what the model said before. What is not here any more stays a reference.
    """
    if not isinstance(given, list) or not any(map(_is_reference, given)):
        return given
    known = _KnownItems(request)
    return [await known.find(item["id"]) or item if _is_reference(item) else item for item in given]


class _KnownItems:
    """Items of the caller's answers."""

    def __init__(self, request: web.Request) -> None:
        self._streams = request.app[STREAMS]
        self._owner = request[CALLER].name
        self._answers: dict[str, Answer] = {}

    async def find(self, item_id: Any) -> dict[str, Any] | None:
        """Our ids say whose they are; those that upstream gave are looked for in the newest answers."""
        stream_id = stream_id_of_item(item_id)
        named = None if stream_id is None else await self._streams.find(stream_id, self._owner)
        passed = self._passed() if named is None else _only(named)
        async for stream in passed:
            if stream.id not in self._answers:
                self._answers[stream.id] = await _read(stream)
            found = self._answers[stream.id].item(item_id)
            if found is not None:
                return found
        return None

    async def _passed(self) -> AsyncIterator[Readable]:
        for newest in await self._streams.list_of(self._owner, _MOST_LOOKED_THROUGH):
            if newest.upstream_protocol == PROTOCOL:
                stream = await self._streams.find(newest.id, self._owner)
                if stream is not None and stream.log.first == 1:
                    yield stream


async def _only(stream: Readable) -> AsyncIterator[Readable]:
    yield stream


def _is_reference(item: Any) -> bool:
    """Also without its type, which OpenAI does not insist on."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("id"), str)
        and (item.get("type") == "item_reference" or item.keys() == {"id"})
    )


async def _find(request: web.Request) -> Readable:
    response_id = request.match_info["response_id"]
    for stream_id in stream_ids_of(response_id):
        stream = await request.app[STREAMS].find(stream_id, request[CALLER].name)
        if stream is not None:
            return stream
    raise refuse("not_found", 404, "There is no such response; it may have expired (streams.retain_s).")


async def _read(stream: Readable) -> Answer:
    """Everything that the log holds, a piece a turn of the loop."""
    view, after = view_of(stream, NOTHING), 0
    with stream.pinned():
        try:
            while after < stream.log.last:
                records, after = await stream.log.read_after(after, PIECE_BYTES)
                view.view(records)
                await asyncio.sleep(0)
        except EventsGone:
            raise events_gone(stream) from None
    return view.answer


class Poll:
    """A reader that takes no bytes: whoever asks for the object wants the answer to go on, and all of it kept.

    Attributes:
        position: stays at the beginning, so that nothing is dropped.
    """

    position = 0

    def __init__(self) -> None:
        self._turn = asyncio.Event()

    def push(self, data: bytes, last: int) -> None:
        """They are in the log."""

    def wake(self) -> None:
        """Upstream has given its verdict, or the stream has ended."""
        self._turn.set()

    def stalled_s(self) -> float:
        """It takes nothing, and holds nobody up for long."""
        return 0.0

    def leave(self) -> None:
        """It goes by itself."""

    async def wait_verdict(self, stream: Readable, at_most_s: float) -> None:
        """Until upstream has accepted or refused the request, but no longer than that."""
        try:
            async with asyncio.timeout(at_most_s):
                while not stream.has_verdict:
                    self._turn.clear()
                    await self._turn.wait()
        except TimeoutError:
            return


@contextmanager
def _reading(stream: Readable) -> Iterator[None]:
    poll = Poll()
    stream.attach(poll)
    try:
        yield
    finally:
        stream.detach(poll)

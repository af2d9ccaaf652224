"""Sending a stream to a reader: what is there, and what comes, until the answer has ended."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse

from client.streams.readable import Readable
from client.streams.wire import PING
from server.http.prefix import prefix_of
from server.http.spare import spare
from server.keys import SETTINGS, STREAMS
from server.routes.readers import PIECE_BYTES, ResponseReader, View
from server.routes.results import stream_headers
from server.routes.whole_reply import WholeReply, can_be_whole

EVENT_STREAM = "text/event-stream"
_RETRY_MS = 1000, 5000
"""When to come back: readers whose process is gone come to the others all at once, but not in step."""


@dataclass(frozen=True, slots=True)
class Form:
    """In what form a stream goes out.

    Attributes:
        ping: what goes out in a silence; empty where readers would not bear it.
        probe: the same for callers who have closed their side (`ResponseReader`).
        headers: beside those that every stream has.
        charset: of text.
        has_way_back: whether readers go on by themselves behind what they have; they are told when.
        tells_failures: whether there are words for them; else the connection of a broken answer breaks off, too.
    """

    content_type: str = EVENT_STREAM
    ping: bytes = PING
    probe: bytes = PING
    headers: Mapping[str, str] = field(default_factory=dict)
    charset: str | None = None
    tells_failures: bool = True
    has_way_back: bool = False


EVENTS = Form()
"""Server-sent events, which may have comments between them."""
TYPED_EVENTS = Form(has_way_back=True)
"""Our own."""


async def begin_sending(
    request: web.Request, stream: Readable, reader: ResponseReader, form: Form = EVENTS, view: View | None = None
) -> web.StreamResponse:
    """Begins to send everything after the reader's position: an answer that has ended in one piece, else the head.
    What comes then is the reader's to `run`: this here is not held for as long as the answer takes. `view` is the
    reader's."""
    streams = request.app[STREAMS]
    if streams.is_shared:
        await streams.told(stream)
    if stream.log.closed and form.tells_failures:
        records, last = await stream.log.read_after(reader.position, PIECE_BYTES)
        if last == stream.log.last and len(records) <= PIECE_BYTES:
            body = records if view is None else view.view(records)
            if can_be_whole(request):
                return _whole_reply(request, stream, body, form)
            whole = whole_body(stream, body, form=form)
            if request.version >= HttpVersion11:
                whole.enable_chunked_encoding()  # as all streams are sent: clients may count on it
            return whole
    interval_s = request.app[SETTINGS].current.server.ping_interval_s
    response = _response(stream, form, interval_s)
    await response.prepare(request)
    if not stream.has_verdict and form.ping:
        await response.write(form.ping)  # the silence has lasted an interval already
    if form.has_way_back and streams.is_shared:
        await response.write(b"retry: %d\n\n" % random.randint(*_RETRY_MS))  # noqa: S311 - no secret
    if not stream.log.closed:
        spare(request, response)
    reader.begin(response, interval_s)
    return response


def whole_body(stream: Readable, body: bytes, status: int = 200, form: Form = EVENTS) -> web.Response:
    """The rest of an answer that has ended, in one piece."""
    return web.Response(
        body=body, status=status, headers=_headers(stream, form), content_type=form.content_type, charset=form.charset
    )


class _EventsResponse(EventSourceResponse):
    """One without pings of its own, and so without a task: they go out beside the events, not only in silence."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Sends the head."""
        if not self.prepared:
            self._set_tcp_user_timeout(request)
            if request.version >= HttpVersion11:
                self.enable_chunked_encoding()
        return await web.StreamResponse.prepare(self, request)


def _whole_reply(request: web.Request, stream: Readable, body: bytes, form: Form) -> WholeReply:
    """The same in one write."""
    headers = _headers(stream, form)
    headers[hdrs.LOCATION] = prefix_of(request) + headers[hdrs.LOCATION]
    del headers[hdrs.CONNECTION]
    charset = "" if form.charset is None else f"; charset={form.charset}"
    headers[hdrs.CONTENT_TYPE] = f"{form.content_type}{charset}"
    return WholeReply(headers.items(), body)


def _response(stream: Readable, form: Form, ping_interval_s: float) -> web.StreamResponse:
    if form.content_type == EVENT_STREAM:
        headers = {**form.headers, **stream_headers(stream)}
        return _EventsResponse(headers=headers, allow_all_methods=True, ping_interval=ping_interval_s)
    response = web.StreamResponse(headers=_headers(stream, form))
    response.content_type, response.charset = form.content_type, form.charset
    return response


def _headers(stream: Readable, form: Form) -> dict[str, str]:
    return {
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.CONNECTION: "keep-alive",
        "X-Accel-Buffering": "no",
        **form.headers,
        **stream_headers(stream),
    }

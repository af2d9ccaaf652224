"""What all protocols share: a call becomes a stream, and the caller reads it in the protocol's words.

No protocol has a pump, a limit or a log of its own: those belong to the stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from client.errors import Failure
from client.streams.readable import Readable
from client.upstream.request import ChatCall
from server.keys import SETTINGS
from server.protocols.passed_headers import passed_headers
from server.routes.readers import ResponseReader, View
from server.routes.results import RESULTS, Words, stream_headers
from server.routes.sending import Form, begin_sending
from server.routes.starting import start_stream


class Dialect(Words, Protocol):
    """One protocol: how it says whole answers and failures (`Words`), and these.

    Attributes:
        name: of the protocol, for lists and logs.
        form: in what form a stream goes out.
    """

    name: str
    form: Form

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""

    def respond(self, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
        """The reply that refuses a request."""


async def answer(request: web.Request, dialect: Dialect, call: ChatCall) -> web.StreamResponse:
    """Starts what is asked for, and sends it as the caller wants it: event by event, or whole."""
    stream = await begin(request, dialect, call)
    if not call.stream:
        return await request.app[RESULTS].gathered(request, stream, dialect)
    return await read(request, dialect, stream)


async def begin(request: web.Request, dialect: Dialect, call: ChatCall) -> Readable:
    """Starts what is asked for. Whoever shall read it attaches before the next turn of the loop."""
    grace_s = call.grace_s if call.stream else 0.0
    headers = passed_headers(request.headers, call.upstream_protocol)
    return await start_stream(request, call, grace_s=grace_s, protocol=dialect.name, headers=headers)


async def read(request: web.Request, dialect: Dialect, stream: Readable) -> web.StreamResponse:
    """Sends a stream from its beginning and on, or what it was refused with."""
    view = dialect.view(stream)
    reader = ResponseReader(stream, request.protocol, 0, view, dialect.form.ping, dialect.form.probe)
    stream.attach(reader)
    try:
        await reader.wait_verdict(request.app[SETTINGS].current.server.ping_interval_s)
        if stream.refusal is not None:
            failure = stream.refusal
            await stream.ended.wait()
            return dialect.respond(failure, stream_headers(stream))
        response = await begin_sending(request, stream, reader, dialect.form, view)
        await reader.run()
        return response
    finally:
        stream.detach(reader)

"""Connections: aiohttp's, with what callers of this server may count on.

1. Bodies stay packed as they come; `server.body` unpacks what is wanted.
2. `100 Continue` is sent by whoever reads the body, not before the request was looked at.
3. A caller who has closed its sending side gets its answers. TCP does not tell it from one who has gone: both send
   the same FIN, and only who has gone answers what is written with a reset. So something harmless is written: a
   comment in an event stream, at once; before the head of a POST's response, `100 Continue`, which a client may get
   at any time (RFC 9110, section 15.2.1), once an answer has not come by itself. The others only cost what is being
   worked out anyway. A connection that was reset is lost, and its handler cancelled, as ever.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from itertools import chain, repeat
from typing import Any, Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from server.keys import EXPECTATION

_UNASKED_LINGERING_S: Final = 1.0
"""How long a connection stays open for a body that nobody asked for."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LOOKS_S: Final = (0.001, 0.003, 0.01, 0.03)
"""After so long it is looked whether what was written was answered with a reset: on one machine that is at once."""
_PATIENCE_S: Final = 0.05
"""How long an answer may take to come by itself before `100 Continue` is written."""
_RARELY_S: Final = 15.0
"""How often something is written in the end: who has closed its sending side long ago may still leave."""


class HttpRunner(web.AppRunner):
    """Serves an application; cancels handlers whose caller leaves, or an answer that nobody reads would go on."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=shutdown_timeout,
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _HttpServer(made)


class _HttpServer(web.Server):
    """aiohttp's server, with our connections."""

    def __init__(self, made: web.Server) -> None:
        super().__init__(
            made.request_handler,
            request_factory=self._make_request,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        self._make_plain_request = made.request_factory

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> BaseRequest:
        """aiohttp would meet an expectation at once, before anybody looks at the request; so it does not see it."""
        expectation = message.headers.get(hdrs.EXPECT)
        if expectation is None:
            return self._make_plain_request(message, payload, protocol, writer, task)
        headers = CIMultiDict(message.headers)
        del headers[hdrs.EXPECT]
        message = message._replace(headers=CIMultiDictProxy(headers))
        request = self._make_plain_request(message, payload, protocol, writer, task)
        if message.version >= HttpVersion11:  # an older client's means nothing (RFC 9110, section 10.1.1)
            request[EXPECTATION] = expectation
        return request


class Connection(web.RequestHandler):
    """One caller's connection.

    Attributes:
        probe: writes something that an event stream's reader does not mind; set while one is being written.
    """

    __slots__ = ("_has_ended", "_last_payload", "_watching", "probe")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.probe: Callable[[], None] | None = None
        self._last_payload: StreamReader = EMPTY_PAYLOAD
        self._has_ended = False  # no more requests will come
        self._watching: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            self._last_payload = self._messages[-1][1]

    def eof_received(self) -> bool:  # type: ignore[override]
        """The caller has closed its sending side, or has gone; returns whether the connection stays open."""
        if self._watching is not None:  # uvloop says it again whenever reading is resumed
            return True
        if self._is_idle():
            return False
        self._has_ended = True
        self._break_payload()
        self._watching = asyncio.ensure_future(self._watch())
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        if self._watching is not None:
            self._watching.cancel()
        super().connection_lost(exc)

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the response, or the end of one that was begun."""
        self.probe = None
        if self._has_ended and not self._messages:
            resp.force_close()
        if EXPECTATION in request:  # nobody read the body, and the caller may never send it
            resp.force_close()
            self._lingering_time = _UNASKED_LINGERING_S
        finished = await super().finish_response(request, resp, start_time)
        if request.content.exception() is not None and not request.content.is_eof():
            request.content.feed_eof()  # aiohttp would read on, and log the exception as a fault of its own
        return finished

    def _is_idle(self) -> bool:
        """Whether it waits for a request; the first one, or the next."""
        return not self._messages and (self._waiter is not None or not self._request_count)

    def _break_payload(self) -> None:
        """Tells whoever reads the body that the rest will not come."""
        if not self._last_payload.is_eof():
            self._last_payload.set_exception(web.RequestPayloadError("the rest of the body will not come"))

    def _may_be_told(self) -> bool:
        request = self._current_request
        return (
            request is not None
            and request.method == hdrs.METH_POST
            and request.version >= HttpVersion11
            and request.writer.output_size == 0
        )

    async def _watch(self) -> None:
        """Finds out whether a caller that has closed its sending side has gone, as long as it is served."""
        for interval_s in chain((_PATIENCE_S, 1.0, 2.0, 4.0, 8.0), repeat(_RARELY_S)):
            if self.probe is not None:
                self.probe()
            for wait_s in (*_LOOKS_S, interval_s):
                await asyncio.sleep(wait_s)
                if self._has_left():
                    return
            if self.transport is not None and self._may_be_told():
                self.transport.write(_CONTINUE)

    def _has_left(self) -> bool:
        """Whether nothing is left to be done; closes the connection then."""
        if self.transport is None:
            return True
        if self._is_idle():  # the FIN came in the very moment in which the last response was out
            self.force_close()
            return True
        if _was_reset(self.transport):
            self.transport.abort()
            return True
        return False


def write_now(response: web.StreamResponse, data: bytes) -> None:
    """Writes to a response that is sent piece by piece, in this turn of the loop, without waiting for the connection.

    Raises:
        ConnectionError: the caller has gone.
    """
    writing = response.write(data)
    try:
        writing.send(None)
        writing.close()  # it would wait now, but only after the connection has taken the data
    except StopIteration:
        pass


def _was_reset(transport: asyncio.Transport) -> bool:
    """Whether the other side has said that nobody is there; on a UNIX socket that is known at once."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    if not hasattr(select, "poll"):  # Windows: the next write fails
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))

"""Connections: aiohttp's, with what callers of this server may count on.

1. Bodies stay packed as they come; `server.body` unpacks what is wanted.
2. `100 Continue` is sent by whoever reads the body, not before the request was looked at.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from server.keys import EXPECTATION

_UNASKED_LINGERING_S: Final = 1.0
"""How long a connection stays open for a body that nobody asked for."""


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
    """One caller's connection."""

    __slots__ = ()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the response, or the end of one that was begun."""
        if EXPECTATION in request:  # nobody read the body, and the caller may never send it
            resp.force_close()
            self._lingering_time = _UNASKED_LINGERING_S
        return await super().finish_response(request, resp, start_time)

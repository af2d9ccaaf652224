"""The HTTP server: aiohttp's, set up as this product needs it.

1. Bodies stay packed as they come; `server.http.body` unpacks what is wanted.
2. `100 Continue` is sent by whoever reads the body, not before the request was looked at.
3. Connections are those of `server.http.connection`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from server.config import LiveConfig
from server.http.connection import Connection
from server.http.envelope import Envelope
from server.http.malformed import MAX_FIELD_BYTES, MAX_LINE_BYTES
from server.keys import EXPECTATION, SETTINGS, WRONG_VERSION

_UNREADABLE: Final = ERROR._replace(version=HttpVersion11)
"""Stands for a request that could not be parsed; aiohttp would answer it as HTTP/1.0."""

_VERSIONS: Final = (HttpVersion11, HttpVersion10)


class HttpRunner(web.AppRunner):
    """Serves an application; cancels handlers whose caller leaves, or an answer that nobody reads would go on."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=shutdown_timeout,
            auto_decompress=False,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return HttpServer(made, self.app[SETTINGS])


class HttpServer(web.Server):
    """aiohttp's server, with our connections."""

    def __init__(self, made: web.Server, settings: LiveConfig) -> None:
        self.settings = settings
        super().__init__(
            made.request_handler,
            request_factory=self._make_request,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        self._make_plain_request = made.request_factory

    def __call__(self) -> Connection:
        return Connection(self, self.settings, loop=self._loop, **self._kwargs)

    def pre_shutdown(self) -> None:
        """Lets go of connections that wait for one more request.

        Those that wait for their first one may still send it: `close` would leave them open, and deaf to it.
        """
        for connection in self.connections:
            if connection._request_count:
                connection.close()

    def last_requests(self) -> None:
        """From now on the next request of every connection is its last one, and its response says so."""
        for connection in self.connections:
            connection._request_factory = self._make_last_request

    def _make_last_request(
        self,
        message: RawRequestMessage | Envelope,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> BaseRequest:
        message = message.open() if isinstance(message, Envelope) else message
        if message is not ERROR:
            message = message._replace(should_close=True)
        return self._make_request(message, payload, protocol, writer, task)

    def _make_request(
        self,
        message: RawRequestMessage | Envelope,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> BaseRequest:
        """A request without what aiohttp would act upon by itself.

        It would meet an expectation before anybody looks at the request, and answer in the version that it is asked
        in, whether that exists or not.
        """
        if isinstance(message, Envelope):
            message = message.open()
        elif message is ERROR:
            message = _UNREADABLE
        version = message.version
        expectation = message.headers.get(hdrs.EXPECT)
        if expectation is None and version in _VERSIONS:
            return self._make_plain_request(message, payload, protocol, writer, task)
        headers = CIMultiDict(message.headers)
        headers.popall(hdrs.EXPECT, None)
        is_spoken = version in _VERSIONS
        message = message._replace(headers=CIMultiDictProxy(headers), version=version if is_spoken else HttpVersion11)
        request = self._make_plain_request(message, payload, protocol, writer, task)
        if not is_spoken:
            request[WRONG_VERSION] = True
        if expectation and version >= HttpVersion11:  # an older client's means nothing (RFC 9110, section 10.1.1)
            request[EXPECTATION] = expectation
            if isinstance(protocol, Connection):
                protocol.was_asked_to_continue = True
        return request

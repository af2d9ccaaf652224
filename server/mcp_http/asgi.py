"""One ASGI application behind one aiohttp route.

The rules that matter: the application runs in a task of its own, shielded, because a client that has read its answer
may leave before the last byte and must not break what the application still does; and `receive` says
`http.disconnect` exactly when the client has gone, never before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from aiohttp import hdrs, web

from client.streams.readable import StreamsFull
from client.streams.wire import PING
from mcp_app.state import GONE, PREFIX
from server.errors import overloaded, refuse
from server.http.body import BodyReader
from server.http.connection import Connection, write_now
from server.http.prefix import prefix_of
from server.keys import STREAMS

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})
_OF_PACKED = (b"content-encoding", b"content-length")
"""Headers that are not true of a body once it is unpacked."""
_POLL_S = 0.1
_SLOW_POLL_S = 1.0
"""For requests on which nothing is spent: a GET only stands there."""
_GRACE_S = 2.0
"""How long an application may take to notice that its client has gone."""


class AsgiBridge:
    """Runs ASGI requests.

    Attributes:
        closing: set when the server stops: every client counts as gone then.
    """

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self._posts: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.Request, app: AsgiApp, user: object) -> web.StreamResponse:
        """Runs one request to its end; `user` becomes the scope's.

        Raises:
            ApiError: the body cannot be taken.
        """
        reader = BodyReader(request)
        body = await reader.read_rest()
        try:
            holding = request.app[STREAMS].holding(len(body))
        except StreamsFull as exc:
            raise overloaded(exc) from exc
        with holding:  # the application keeps it for as long as it answers
            scope = _scope_of(request, user, is_packed=reader.is_packed)
            return await self._run(_Exchange(scope, request, body), request, app)

    async def _run(self, exchange: _Exchange, request: web.Request, app: AsgiApp) -> web.StreamResponse:
        task = asyncio.create_task(exchange.run(app), name=f"asgi {request.method} {request.path}")
        if request.method == hdrs.METH_POST:
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)
        watcher = asyncio.create_task(self._watch(request, exchange.gone))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.gone.set()
            await asyncio.wait({task}, timeout=_GRACE_S)
            raise
        finally:
            if not exchange.is_finished:
                exchange.gone.set()
            watcher.cancel()
            if not task.done():
                task.cancel()
        return exchange.result()

    async def wait_posts(self, timeout_s: float) -> None:
        """Lets running POSTs come to their end, but no longer than that. A GET may stand for ever."""
        if self._posts:
            await asyncio.wait(set(self._posts), timeout=timeout_s)

    async def _watch(self, request: web.Request, gone: asyncio.Event) -> None:
        """Notices a client that goes where the runner does not cancel handlers, and the server's own end."""
        interval_s = _POLL_S if request.method == hdrs.METH_POST else _SLOW_POLL_S
        while not self.closing.is_set():
            if request.transport is None or request.transport.is_closing():
                break
            try:
                async with asyncio.timeout(interval_s):
                    await self.closing.wait()
            except TimeoutError:
                continue
        gone.set()


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, request: web.Request, body: bytes) -> None:
        self.gone = asyncio.Event()
        self.is_finished = False
        self._request = request
        self._response: web.StreamResponse | None = None
        self._body: bytes | None = body
        self._scope = {**scope, "extensions": {GONE: self.gone, PREFIX: prefix_of(request)}}

    async def run(self, app: AsgiApp) -> None:
        try:
            await app(self._scope, self._receive, self._send)
        except asyncio.CancelledError:
            raise
        except Exception:
            if not self.gone.is_set():
                raise
            logger.debug("an ASGI request failed after its client had gone", exc_info=True)

    def result(self) -> web.StreamResponse:
        if self._response is None:
            raise refuse("internal", 500, "The server gave no answer to this request; its log has the details.")
        return self._response

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()  # an empty message instead would make the application spin
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.gone.is_set() and self._request.transport is None:
            return
        try:
            if message["type"] == "http.response.start":
                await self._start(message)
            elif message["type"] == "http.response.body":
                await self._write(message)
        except (ConnectionError, RuntimeError) as exc:
            if isinstance(exc, RuntimeError) and not self.gone.is_set():
                raise
            self.gone.set()

    async def _start(self, message: Message) -> None:
        response = web.StreamResponse(status=message["status"])
        for name, value in message.get("headers", ()):
            decoded = name.decode("latin-1")
            if decoded.lower() not in _HOP_BY_HOP:
                response.headers.add(decoded, value.decode("latin-1"))
        self._response = response
        await response.prepare(self._request)
        if response.content_type == "text/event-stream" and isinstance(self._request.protocol, Connection):
            self._request.protocol.probe = self._probe

    def _probe(self) -> None:
        """Says something, since only so can it be told whether the client is still there."""
        if self._response is not None and not self.is_finished:
            with suppress(ConnectionError):
                write_now(self._response, PING)

    async def _write(self, message: Message) -> None:
        response = self._response
        if response is None:
            raise RuntimeError("http.response.body came before http.response.start")
        if body := message.get("body"):
            await response.write(body)
        if not message.get("more_body"):
            self.is_finished = True
            await response.write_eof()


def _scope_of(request: web.Request, user: object, *, is_packed: bool) -> Scope:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    own = transport.get_extra_info("sockname") if transport is not None else None
    headers = [(name.lower(), value) for name, value in request.raw_headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.rel_url.raw_path.encode(),
        "query_string": request.rel_url.raw_query_string.encode(),
        "root_path": "",
        "headers": [(name, value) for name, value in headers if not (is_packed and name in _OF_PACKED)],
        "client": tuple(peer[:2]) if isinstance(peer, tuple) else None,
        "server": tuple(own[:2]) if isinstance(own, tuple) else None,
        "state": {},
        "user": user,
    }

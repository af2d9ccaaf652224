"""The sandbox as a server: routes, the record of requests, the queue of scripted replies, start and stop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from client.sandbox.calls import Call
from client.sandbox.frames import error_body
from client.sandbox.player import play_reply
from client.sandbox.script import Reply

PREFIX = "/api/v1"
CHAT_PATH = "/chat/completions"
MAX_BODY_BYTES = 256 * 1024 * 1024


class Sandbox:
    """A running stand-in for OpenRouter, as tests and the product's `--sandbox` hold it.

    Attributes:
        base_url: where it is served, `http://127.0.0.1:PORT/api/v1`; "" until it listens.
        requests: every request of any route, oldest first; only the last `record` are kept.
        calls: those to `/chat/completions`.
    """

    def __init__(self, record: int = 256) -> None:
        self.base_url = ""
        self.requests: deque[Call] = deque(maxlen=record)
        self.calls: deque[Call] = deque(maxlen=record)
        self._scripts: dict[tuple[str, str], deque[Reply]] = {}
        self._standing: dict[tuple[str, str], Reply] = {}
        self._arrived = asyncio.Event()

    def script(self, *replies: Reply, path: str = CHAT_PATH, method: str | None = None) -> None:
        """Queues replies; the next requests to `path` take them in order, then the route works as usual.

        Args:
            path: below the base URL and without the query: `/models`, `/generation`, `/model/sandbox/echo`.
            method: POST for `/chat/completions`, else GET, unless given.
        """
        self._scripts.setdefault(_route(path, method), deque()).extend(replies)

    def script_always(self, reply: Reply, path: str = CHAT_PATH, method: str | None = None) -> None:
        """Answers every request to `path` with `reply` once the queue is empty, until `clear_scripts`."""
        self._standing[_route(path, method)] = reply

    def clear_scripts(self) -> None:
        """Forgets all scripted replies; the models answer again."""
        self._scripts.clear()
        self._standing.clear()

    async def wait_call(self, number: int = 0) -> Call:
        """The chat request of this number, from 0, as soon as it has arrived."""
        while len(self.calls) <= number:
            self._arrived.clear()
            await self._arrived.wait()
        return self.calls[number]

    def receive(self, call: Call) -> Reply | None:
        """Notes the request and takes the reply scripted for it, if there is one."""
        self.requests.append(call)
        if call.path == CHAT_PATH:
            self.calls.append(call)
            self._arrived.set()
        route = (call.method, call.path)
        queue = self._scripts.get(route)
        return queue.popleft() if queue else self._standing.get(route)


SANDBOX = web.AppKey("SANDBOX", Sandbox)
CALL = web.RequestKey("CALL", Call)


def create_sandbox_app(sandbox: Sandbox | None = None) -> web.Application:
    """The application; without `handler_cancellation=True` it does not notice callers who leave."""
    app = web.Application(middlewares=[_record, _errors], client_max_size=MAX_BODY_BYTES)
    app[SANDBOX] = sandbox or Sandbox()
    return app


@asynccontextmanager
async def open_sandbox(
    port: int = 0, *, host: str = "127.0.0.1", record: int = 256
) -> AsyncIterator[Sandbox]:
    """Serves a sandbox while the context is open.

    Args:
        port: 0 takes a free one; read it from `base_url`.
        record: how many requests are kept; 0 where nobody looks at them.
    """
    sandbox = Sandbox(record)
    runner = web.AppRunner(
        create_sandbox_app(sandbox), handler_cancellation=True, access_log=None, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        sandbox.base_url = f"http://{_authority(runner.addresses[0])}{PREFIX}"
        yield sandbox
    finally:
        await runner.cleanup()


def _authority(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _route(path: str, method: str | None) -> tuple[str, str]:
    return method or ("POST" if path == CHAT_PATH else "GET"), path


@web.middleware
async def _record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Follows every request to its end, and plays the script where there is one."""
    call = Call(
        method=request.method,
        path=request.path.removeprefix(PREFIX),
        query=request.query,
        headers=request.headers,
        body=await request.read(),
    )
    request[CALL] = call
    reply = request.app[SANDBOX].receive(call)
    call.started.set()
    try:
        response = await (play_reply(request, reply, call) if reply else handler(request))
        call.completed = not call.hung_up
    except (asyncio.CancelledError, ConnectionError) as exc:
        call.cancelled = not call.hung_up
        if isinstance(exc, ConnectionError):
            return web.Response()
        raise
    finally:
        call.closed_at_s = time.monotonic()
        call.closed.set()
    return response


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals of the router in OpenRouter's shape."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        return web.json_response(error_body(exc.status, exc.reason), status=exc.status)

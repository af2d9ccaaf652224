"""The sandbox as a server: its application, the record of requests, start and stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from client.sandbox.answering import answering
from client.sandbox.calls import Call
from client.sandbox.player import play_reply
from client.sandbox.protocols.chat import Chat, error_response
from client.sandbox.protocols.completions import Completions
from client.sandbox.protocols.embeddings import embed
from client.sandbox.protocols.messages import Messages
from client.sandbox.protocols.responses import Responses
from client.sandbox.protocols.speech import Speech
from client.sandbox.routes import catalogue_and_account_routes
from client.sandbox.state import (
    CALL,
    CHAT_PATH,
    COMPLETIONS_PATH,
    EMBEDDINGS_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    SANDBOX,
    Sandbox,
)

_logger = logging.getLogger(__name__)

PREFIX = "/api/v1"
_SPEECHES: dict[str, Speech] = {
    CHAT_PATH: Chat(),
    MESSAGES_PATH: Messages(),
    RESPONSES_PATH: Responses(),
    COMPLETIONS_PATH: Completions(),
}
MAX_BODY_BYTES = 256 * 1024 * 1024
_BACKLOG = 1024
"""Connections that may wait to be accepted: of more, some hang until the kernel tries again, 20 s and more."""


def create_sandbox_app(sandbox: Sandbox | None = None) -> web.Application:
    """The application; without `handler_cancellation=True` it does not notice callers who leave."""
    app = web.Application(middlewares=[_errors, _record], client_max_size=MAX_BODY_BYTES)
    app[SANDBOX] = sandbox or Sandbox()
    for path, speech in _SPEECHES.items():
        app.router.add_post(PREFIX + path, answering(speech))
    app.router.add_post(PREFIX + EMBEDDINGS_PATH, embed)
    app.router.add_routes(catalogue_and_account_routes(PREFIX))
    return app


@asynccontextmanager
async def open_sandbox(
    port: int = 0, *, host: str = "127.0.0.1", record: int = 256, settle_s: float = 1.0
) -> AsyncIterator[Sandbox]:
    """Serves a sandbox while the context is open.

    Args:
        port: 0 takes a free one; read it from `base_url`.
        record: how many requests are kept; 0 where nobody looks at them.
        settle_s: how long after its end an answer is still a 404 at `/generation`.
    """
    sandbox = Sandbox(record, settle_s)
    runner = web.AppRunner(
        create_sandbox_app(sandbox), handler_cancellation=True, access_log=None, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        sandbox.base_url = f"http://{_authority(runner.addresses[0])}{PREFIX}"
        yield sandbox
    finally:
        await runner.cleanup()


def _authority(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
    except web.HTTPException:
        call.completed = True
        raise
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
    """Refusals of the router, and our own mistakes, in OpenRouter's shape."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        return error_response(exc.status, exc.reason)
    except Exception:
        if request.writer.output_size > 0:  # a second head must not land in a reply that has begun
            raise
        _logger.exception("the sandbox failed")
        return error_response(500, "Internal Server Error")

"""MCP over HTTP, in the same process, over the same streams and catalogue.

The SDK is loaded at the first request, on a thread: it takes a second and 30 MB, which a server that nobody asks for
MCP does not spend.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from client.errors import Refusal
from mcp_app.config import McpConfig
from mcp_app.state import McpState
from server.budgets.admission import ADMISSION
from server.budgets.rules import BudgetState
from server.config import Config
from server.errors import FAILURE, ApiError, Handler, failure_response, refuse
from server.http.json_reply import json_reply
from server.keys import CALLER, CATALOGUE, OPENROUTER, SETTINGS, SPENDING, STREAMS
from server.mcp_http.asgi import AsgiBridge
from server.version import program_version

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from server.mcp_http.sessions import McpSessions

CreateManager = Callable[[], "StreamableHTTPSessionManager"]

_FLUSH_S = 0.5
"""How long calls that have just been stopped may take to say so to their clients."""
_REQUEST_HEADERS = (
    "authorization, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id, "
    "traceparent, tracestate"
)
_EXPOSED = "Mcp-Session-Id, WWW-Authenticate"
_REFUSED = -32000
"""JSON-RPC's first code that is left to servers."""


class McpEndpoint:
    """The route's handler. Nothing is loaded or opened before the first request.

    Args:
        create_manager: called on a thread, once.
        max_body_bytes: of one message.
    """

    def __init__(self, create_manager: CreateManager, *, max_body_bytes: int) -> None:
        self._create_manager = create_manager
        self._max_body_bytes = max_body_bytes
        self._bridge = AsgiBridge()
        self._starting: asyncio.Task[McpSessions] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Takes any method: the SDK knows what each means in which revision."""
        if self._bridge.closing.is_set():
            raise refuse("shutting_down", 503, "The server is restarting; try again.", retry_after_s=5)
        sessions = await self._started()
        with sessions.as_caller(request[CALLER].name) as user:
            return await self._bridge.handle(request, sessions.app, user)

    async def stop(self) -> None:
        """Ends every session and connection; calls that ended a moment ago may still tell their clients."""
        await self._bridge.wait_posts(_FLUSH_S)
        self._bridge.closing.set()
        if self._starting is not None:
            await asyncio.wait({self._starting})
            if self._starting.exception() is None:
                await self._starting.result().stop()

    async def _started(self) -> McpSessions:
        """Starts once, for all who wait; one of them may leave without ending it for the others."""
        starting = self._starting
        if starting is None or (starting.done() and starting.exception() is not None):
            starting = self._starting = asyncio.create_task(self._start(), name="start mcp")
        return await asyncio.shield(starting)

    async def _start(self) -> McpSessions:
        module = await asyncio.to_thread(importlib.import_module, "server.mcp_http.sessions")
        manager = await asyncio.to_thread(self._create_manager)
        sessions: McpSessions = module.McpSessions(manager, max_body_bytes=self._max_body_bytes)
        await sessions.wait_ready()
        return sessions


MCP = web.AppKey("MCP", McpEndpoint)


def add_mcp(app: web.Application, config: McpConfig) -> None:
    """Adds the route and what belongs to it, if it is switched on."""
    if not config.enabled:
        return
    for path in (config.path, f"{config.path}/"):  # a client that redirects a POST makes a GET of it, so both serve
        app.router.add_route("*", path, _handle)
    app.cleanup_ctx.append(_open_endpoint)
    app.on_shutdown.append(_stop_endpoint)
    app.on_response_prepare.append(_add_cors_headers)


@web.middleware
def mcp_refusals_middleware(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Refusals on the endpoint's path as JSON-RPC errors: an MCP client shows its user the message of those only.

    The status is that of every other route. For a foreign `Host` that is 403, where the SDK says 421 (Misdirected
    Request): the client is not asked to come again over another connection, it may not come at all. Other paths get
    no coroutine, which would be resumed whenever their handler is.
    """
    return _handled(request, handler) if _is_mcp(request) else handler(request)


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except Refusal as exc:
        return _jsonrpc_refusal(exc)
    if hdrs.ACCESS_CONTROL_ALLOW_HEADERS in response.headers and not response.prepared:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _REQUEST_HEADERS
    return response


def _jsonrpc_refusal(refusal: Refusal) -> web.Response:
    failure = refusal.failure
    response = failure_response(failure, refusal.headers if isinstance(refusal, ApiError) else None)
    error = {"code": _REFUSED, "message": failure.error, "data": {"type": failure.type}}
    described = json_reply({"jsonrpc": "2.0", "id": None, "error": error}, status=failure.status)
    described[FAILURE] = failure
    for name in (hdrs.WWW_AUTHENTICATE, hdrs.RETRY_AFTER, hdrs.ALLOW, hdrs.ACCEPT_ENCODING):
        if name in response.headers:
            described.headers[name] = response.headers[name]
    if isinstance(refusal, ApiError) and refusal.closes:
        described.force_close()
    return described


async def _handle(request: web.Request) -> web.StreamResponse:
    return await request.app[MCP].handle(request)


async def _open_endpoint(app: web.Application) -> AsyncIterator[None]:
    max_body_bytes = app[SETTINGS].current.server.max_body_bytes
    app[MCP] = McpEndpoint(lambda: _create_manager(app), max_body_bytes=max_body_bytes)
    yield


async def _stop_endpoint(app: web.Application) -> None:
    await app[MCP].stop()


def _create_manager(app: web.Application) -> StreamableHTTPSessionManager:
    from server.mcp_http.sessions import build_server, create_manager

    config = app[SETTINGS].current
    state = McpState(
        streams=app[STREAMS],
        catalogue=app[CATALOGUE],
        openrouter=app[OPENROUTER],
        spending=app[SPENDING],
        serves_http=True,
        budget_of=lambda owner: _budget_of(app, owner),
        sees_account=lambda owner: _is_admin(app[SETTINGS].current, owner),
    )
    server = build_server(state, program_version())
    return create_manager(
        server,
        config.mcp,
        max_body_bytes=config.server.max_body_bytes,
        count_callers=lambda: len(app[SETTINGS].current.callers),
    )


async def _budget_of(app: web.Application, name: str) -> BudgetState | None:
    caller = app[SETTINGS].current.caller_named(name)
    return None if caller is None else await app[ADMISSION].budget_of(caller)


def _is_admin(config: Config, name: str) -> bool:
    caller = config.caller_named(name)
    return caller is not None and caller.admin


async def _add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Lets a browser's script read what the protocol needs, beside what `server.http.access` allows."""
    if hdrs.ACCESS_CONTROL_EXPOSE_HEADERS in response.headers and _is_mcp(request):
        allowed = response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = f"{allowed}, {_EXPOSED}"


def _is_mcp(request: web.Request) -> bool:
    config: McpConfig = request.app[SETTINGS].current.mcp
    return config.enabled and request.path in (config.path, f"{config.path}/")

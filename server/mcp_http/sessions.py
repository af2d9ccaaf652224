"""The part of MCP over HTTP that needs the SDK; imported at the first request (see `server.mcp_http.endpoint`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from mcp_app.config import McpConfig
from mcp_app.server import build_mcp
from mcp_app.state import McpState
from server.mcp_http.asgi import AsgiApp
from server.mcp_http.front import McpFront
from server.mcp_http.room import RoomySessionManager

_BEFORE_US = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""Host and Origin are judged by `server.access`, before anything reaches the SDK and with its exact rules."""


class McpSessions:
    """A session manager that runs.

    Attributes:
        app: takes ASGI requests.
    """

    def __init__(self, manager: StreamableHTTPSessionManager, *, max_body_bytes: int) -> None:
        self.app: AsgiApp = McpFront(manager.handle_request, _Agreed(manager), max_body_bytes=max_body_bytes)
        self._manager = manager
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._owner = asyncio.create_task(self._own(), name="mcp sessions")

    async def wait_ready(self) -> None:
        """Returns when requests can be taken; raises what went wrong otherwise."""
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._owner}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._owner.done():
            self._owner.result()

    async def stop(self) -> None:
        """Ends every session."""
        self._stopping.set()
        await self._owner
        await _end_watchers()

    @contextmanager
    def as_caller(self, name: str) -> Iterator[AuthenticatedUser]:
        """Binds what runs inside to a caller: its sessions are nobody else's, and tools can ask who it is."""
        user = AuthenticatedUser(AccessToken(token=name, client_id=name, scopes=[]))
        reset = auth_context_var.set(user)
        try:
            yield user
        finally:
            auth_context_var.reset(reset)

    async def _own(self) -> None:
        """The manager must be entered and left by one task."""
        async with self._manager.run():
            self._ready.set()
            await self._stopping.wait()


class _Agreed:
    """The revision of every session that is open."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._sessions = manager._server_instances  # nothing public names a session's transport
        self._revisions: WeakKeyDictionary[StreamableHTTPServerTransport, str] = WeakKeyDictionary()

    def agreed(self, session_id: str) -> str | None:
        """None for no known session."""
        session = self._sessions.get(session_id)
        return None if session is None else self._revisions.get(session)

    def note(self, session_id: str, revision: str) -> None:
        """A session has agreed to a revision."""
        if (session := self._sessions.get(session_id)) is not None:
            self._revisions[session] = revision


async def _end_watchers() -> None:
    """sse_starlette starts a task that polls for the end of uvicorn, which does not serve here, and never ends it."""
    watchers = {task for task in asyncio.all_tasks() if _name_of(task) == "_shutdown_watcher"}
    for task in watchers:
        task.cancel()
    if watchers:
        await asyncio.wait(watchers)


def _name_of(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")


def build_server(state: McpState, version: str) -> MCPServer[Any]:
    """The product's tools over a state that is open already."""

    @asynccontextmanager
    async def open_state() -> AsyncIterator[McpState]:
        yield state

    return build_mcp(open_state, version=version)


def create_manager(
    mcp: MCPServer[Any], config: McpConfig, *, max_body_bytes: int, count_callers: Callable[[], int]
) -> StreamableHTTPSessionManager:
    """The session manager of a server."""
    logging.getLogger("mcp").setLevel(logging.WARNING)  # a line for every session says nothing to operators
    return RoomySessionManager(
        app=mcp._lowlevel_server,  # the public way builds a Starlette application with a manager of its own
        max_sessions=config.max_sessions,
        count_callers=count_callers,
        session_idle_timeout=config.session_idle_timeout_s,
        max_request_body_size=max_body_bytes,
        security_settings=_BEFORE_US,
    )

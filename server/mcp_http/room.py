"""Sessions of the revisions up to 2025-11-25, of which there is room for so many: the longest idle one makes room.

Clients that end without a word leave their sessions behind, and those would shut everybody else out until they time
out. A session with a request or a stream open stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send


class Session(StreamableHTTPServerTransport):
    """One session.

    Attributes:
        idle_since_s: when its last request ended, by the monotonic clock.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.idle_since_s = time.monotonic()
        self._open_requests = 0

    @property
    def is_idle(self) -> bool:
        """Whether neither a request nor a stream is open."""
        return self._open_requests == 0

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request of the session."""
        self._open_requests += 1
        try:
            await super().handle_request(scope, receive, send)
        finally:
            self._open_requests -= 1
            self.idle_since_s = time.monotonic()

    async def _terminate_unanswered_request(self, request_id: int | str) -> None:
        """Ends the reply of a request that was cancelled; an answer would be for an id that its client has forgotten,
        which some clients take for a broken connection."""
        self.close_sse_stream(str(request_id))


class RoomySessionManager(StreamableHTTPSessionManager):
    """Makes room for a new session, first at the cost of the same caller's.

    Args:
        count_callers: how many callers there can be; where it is more than one, none of them gets more than half of
            the room, however many streams it keeps open.
    """

    def __init__(self, *, max_sessions: int, count_callers: Callable[[], int], **arguments: Any) -> None:
        super().__init__(max_sessions=max_sessions, **arguments)
        self._most = max_sessions
        self._count_callers = count_callers

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        if not self._makes_room(requestor):
            return None
        session_id = uuid4().hex
        session = Session(
            mcp_session_id=session_id,
            is_json_response_enabled=self.json_response,
            security_settings=self.security_settings,
            idle_timeout=self.session_idle_timeout,
        )
        if requestor is not None:
            self._session_owners[session_id] = requestor
        self._server_instances[session_id] = session
        return session

    def _makes_room(self, requestor: AuthorizationContext | None) -> bool:
        """Whether there is room, perhaps since a moment ago."""
        share = self._most if self._count_callers() <= 1 else max(1, self._most // 2)
        sessions = {name: each for name, each in self._server_instances.items() if isinstance(each, Session)}
        own = {name: each for name, each in sessions.items() if self._session_owners.get(name) == requestor}
        is_at_share = len(own) >= share
        if not is_at_share and len(sessions) < self._most:
            return True
        return self._evict_idlest(own) or (not is_at_share and self._evict_idlest(sessions))

    def _evict_idlest(self, sessions: dict[str, Session]) -> bool:
        idle = [name for name, session in sessions.items() if session.is_idle]
        if not idle or self._task_group is None:
            return False
        name = min(idle, key=lambda each: sessions[each].idle_since_s)
        self._server_instances.pop(name, None)
        self._session_owners.pop(name, None)
        self._task_group.start_soon(self._discard_session, name, sessions[name])
        return True

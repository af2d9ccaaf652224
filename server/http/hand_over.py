"""Connections of a server that accepts no more: each may still bring what its caller has begun.

A caller does not know that the process ends, and nobody sends a POST again by itself. So what comes on a connection
is served once more, and the response says that it is the last (`Connection: close`); one that is not used for a while
is closed. A process that nobody follows cannot do that for long: it lets connections go that have had an answer.
"""

from __future__ import annotations

from typing import Final

from server.http.connection import Connection, Waits
from server.http.server import HttpServer

_FRESH_S: Final = 1.0
"""How long a connection that was accepted just before may take to send its first request."""
_KEPT_S: Final = 2.0
"""How long one that is kept may take to send one more: whoever does not use it for so long will hardly do so in the
very moment in which it is closed."""


class HandOver:
    """Begins when it is made.

    Args:
        server: accepts no more.
        now_s: by a clock that never goes back, as for `is_over`.
        keeps_idle: waits for one more request also on connections that have had an answer.
    """

    def __init__(self, server: HttpServer, now_s: float, *, keeps_idle: bool) -> None:
        self._server = server
        self._begun_s = now_s
        self._idle_since_s: dict[Connection, float] = {}
        server.last_requests()
        if not keeps_idle:
            server.pre_shutdown()

    def is_over(self, now_s: float) -> bool:
        """Whether nothing more may come; closes what was idle for too long."""
        waiting = [self._waits(connection, now_s) for connection in self._connections()]
        return not any(waiting)

    def _connections(self) -> list[Connection]:
        return [connection for connection in self._server.connections if isinstance(connection, Connection)]

    def _waits(self, connection: Connection, now_s: float) -> bool:
        waits = connection.waits
        if waits is Waits.MORE:
            if now_s - self._idle_since_s.setdefault(connection, now_s) < _KEPT_S:
                return True
            connection.close()
            return False
        self._idle_since_s.pop(connection, None)
        return waits is Waits.ANSWER or (waits is Waits.FIRST and now_s - self._begun_s < _FRESH_S)

"""How late the event loop runs its timers: the one figure that tells an overloaded process from a slow upstream."""

from __future__ import annotations

import asyncio

from aiohttp import web

from client.streams.histogram import Histogram

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_INTERVAL_S = 1.0


class LoopLag:
    """Looks once a second by how much a timer was late.

    Attributes:
        lag_s: seconds late.
    """

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        self.lag_s = Histogram(BOUNDS_S)
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._due_s = 0.0
        self._set_timer()

    def stop(self) -> None:
        """Looks no more."""
        self._timer.cancel()

    def _set_timer(self) -> None:
        self._due_s = self._loop.time() + self._interval_s
        self._timer = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        self.lag_s.observe(max(0.0, self._loop.time() - self._due_s))
        self._set_timer()


LOOP_LAG = web.AppKey("LOOP_LAG", LoopLag)

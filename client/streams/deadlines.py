"""Times at which something is looked at again, of as many streams as there are, behind few timers of the loop.

A timer of a loop takes 500 bytes, and every open stream has two. So who waits is put with others whose time is about
the same, and called a little later than asked for: by a sixteenth of the wait at most, and by a second at most, or by
a 512th of waits above a quarter of an hour. A timer that nobody needs any more stays until its time, so there must be
few.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from math import ceil, frexp, ldexp
from typing import Protocol

logger = logging.getLogger(__name__)

_COARSEST_S = 1.0
_LONG_S = 1024.0
_LONG_BITS = 10
_SHARE_BITS = 5
"""Of a wait between 16 and 32 times 2^n the steps are 2^n."""


class Due(Protocol):
    """Who waits. It is called once, unless it is discarded before."""

    def due(self) -> None:
        """The time has come. Must not raise."""


class Deadlines:
    """All who wait in one loop.

    Attributes:
        time: the loop's clock.
    """

    __slots__ = ("_by_time", "loop", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.time = loop.time
        self._by_time: dict[float, set[Due]] = {}

    def add(self, who: Due, when_s: float) -> set[Due]:
        """Calls `who` at that time of the loop, or a little later, unless it is discarded from the set before."""
        wait_s = when_s - self.time()
        if wait_s >= _LONG_S:  # of a limit of days there would be one for each second of them
            step_s = ldexp(1.0, frexp(wait_s)[1] - _LONG_BITS)
        else:
            step_s = _COARSEST_S if wait_s >= 32 else ldexp(1.0, max(frexp(wait_s)[1], -9) - _SHARE_BITS)
        time_s = ceil(when_s / step_s) * step_s
        waiting = self._by_time.get(time_s)
        if waiting is None:
            waiting = self._by_time[time_s] = set()
            self.loop.call_at(time_s, self._call, time_s, context=Context())
        waiting.add(who)
        return waiting

    def _call(self, time_s: float) -> None:
        waiting = self._by_time.pop(time_s)
        while waiting:
            try:
                waiting.pop().due()
            except Exception:
                logger.exception("something that was due failed")


_known: list[Deadlines] = []


def deadlines_of(loop: asyncio.AbstractEventLoop) -> Deadlines:
    """Those of a loop, which has them for good."""
    for deadlines in _known:
        if deadlines.loop is loop:
            return deadlines
    _known[:] = [deadlines for deadlines in _known if not deadlines.loop.is_closed()]
    _known.append(Deadlines(loop))
    return _known[-1]

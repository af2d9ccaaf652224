"""Says in the log that OpenRouter takes nothing from this server any more: a dead key, no credits.

Callers are told with every answer; whoever runs the server would otherwise learn it from them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from aiohttp import web

from client.errors import Failure
from client.streams.stream import Stream

logger = logging.getLogger("upstream")

EVERY_S = 60.0
_TYPES = frozenset({"upstream_auth", "insufficient_credits"})


class UpstreamAlarm:
    """Warns once a minute at most for each type of failure, with how many there were.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_s: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note_end(self, stream: Stream) -> None:
        """An answer has ended."""
        self.note(stream.pump.translator.failure)

    def note(self, failure: Failure | None) -> None:
        """A request has failed, or (None) has not."""
        if failure is None or failure.type not in _TYPES:
            return
        now_s = self._clock()
        if now_s - self._told_s.get(failure.type, -EVERY_S) < EVERY_S:
            self._untold[failure.type] = self._untold.get(failure.type, 0) + 1
            return
        self._told_s[failure.type] = now_s
        more = self._untold.pop(failure.type, 0)
        since = f" ({more} more since the last such line)" if more else ""
        logger.warning("%s: %s%s", failure.type, failure.error, since)


ALARM = web.AppKey("ALARM", UpstreamAlarm)

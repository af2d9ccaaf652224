"""Counts wrong tokens by address, so that nobody tries many.

A caller with a right token is let through whatever was tried from his address: many may share one, and none of them
shall lock out the others. So this bounds what guessing costs this server; what makes guessing hopeless is the length
of the tokens (`openrouter-server new-token` makes them of 256 random bits).
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from aiohttp import web

logger = logging.getLogger(__name__)

LIMIT = 10
WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000
_OWN_IPV6_BITS = 64
"""What one household or machine is given to choose addresses from (RFC 6177)."""


class FailedAttempts:
    """Wrong tokens of the last minute, by address.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # oldest minute first

    def __len__(self) -> int:
        return len(self._counts)

    def note(self, address: str) -> float | None:
        """Counts a wrong token; returns the seconds for which that address is to wait, if it had too many."""
        now_s, key = self._clock(), _key(address)
        since_s, count = self._counts.get(key, (now_s, 0))
        if now_s >= since_s + WINDOW_S:
            since_s, count = now_s, 0
        if count == 0:
            self._make_room(key)
        self._counts[key] = since_s, count + 1
        if count + 1 == LIMIT + 1:
            logger.warning("more than %d wrong tokens within a minute from %s", LIMIT, key)
        return since_s + WINDOW_S - now_s if count + 1 > LIMIT else None

    def _make_room(self, key: str) -> None:
        self._counts.pop(key, None)  # its new minute is the youngest
        if len(self._counts) >= _MOST_ADDRESSES:
            self._counts.popitem(last=False)


ATTEMPTS = web.AppKey("ATTEMPTS", FailedAttempts)


def _key(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ip_network((parsed, _OWN_IPV6_BITS), strict=False))

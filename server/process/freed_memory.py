"""Gives the system back what logs have left: the allocator keeps the holes between those that are still there.

With logs of 100 kB and `streams.max_total_bytes` full of them these holes were 40 MB, of which no setting tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from client.streams.streams import Streams
from server.process.meanwhile import meanwhile

_INTERVAL_S = 2.0
_WORTH_BYTES = 16 * 1024 * 1024
"""To look through everything for holes takes a millisecond or two."""


@asynccontextmanager
async def giving_memory_back(streams: Streams, interval_s: float = _INTERVAL_S) -> AsyncIterator[None]:
    """Does so while the context is open, now and then, where logs have left much since the last time."""
    async with meanwhile(_watch(streams, streams.freed_bytes, interval_s), name="memory"):
        yield


async def _watch(streams: Streams, given_back_bytes: int, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        if streams.freed_bytes - given_back_bytes >= _WORTH_BYTES:
            given_back_bytes = streams.freed_bytes
            if not await asyncio.to_thread(trim):
                return


def trim() -> bool:
    """Has the allocator give back whole pages that nobody uses; False where it cannot be told to (no glibc, or a
    Python without `ctypes`)."""
    try:
        import ctypes  # 15 ms, which nobody pays who keeps little

        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (ImportError, AttributeError, OSError, TypeError):
        return False
    malloc_trim(0)
    return True

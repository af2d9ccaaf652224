"""Waiting for what comes about by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    """Returns when it holds, or fails."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  what is waited for happens in an engine, or another process
            await asyncio.sleep(0.005)

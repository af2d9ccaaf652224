"""Ends tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN_S: Final = 0.2


async def end_all(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancels them until each has ended: `asyncio.wait_for` of Python 3.11, which the engine's library uses, takes a
    cancellation for itself when what it waits for ends in the same turn (bpo-37658)."""
    left = {task for task in tasks if task is not None}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)

"""A state of the tools that is opened when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import anyio

from mcp_app.state import McpState

_CLOSE_S = 5.0
"""How long running answers may take to be stopped."""

OpenState = Callable[[], AbstractAsyncContextManager[McpState]]
"""Opens the state. A `ToolFailure` that it raises is what every call is told."""


class LateState:
    """A state that is opened by the first call that needs it: hosts give up on a server that starts slowly."""

    def __init__(self, open_state: OpenState) -> None:
        self._open_state = open_state
        self._opening: asyncio.Task[McpState] | None = None
        self._stack = AsyncExitStack()

    async def get(self) -> McpState:
        """The state; the first call opens it, and one that is cancelled does not spoil it for the others."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._stack.enter_async_context(self._open_state()))
        return await asyncio.shield(self._opening)

    async def aclose(self) -> None:
        """Closes what was opened, also for a caller that is being cancelled."""
        with anyio.move_on_after(_CLOSE_S, shield=True):
            if self._opening is not None:
                await asyncio.wait({self._opening})
            await self._stack.aclose()

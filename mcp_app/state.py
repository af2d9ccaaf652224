"""What the tools work on: objects of `client`, opened and closed by whoever serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:  # they bring aiohttp along, which a client that waits for `initialize` need not wait for
    from client.catalogue import Catalogue
    from client.openrouter import OpenRouterClient
    from client.streams import Streams
    from mcp_app.spending import Spending

GONE: Final = "aiohttp.gone"
"""Key in an ASGI scope's `extensions`: an `asyncio.Event` that is set when the client is gone or the server stops."""


_CLOSE_S = 5.0
"""How long running answers may take to be stopped."""


@dataclass
class McpState:
    """Shared by all calls of all clients.

    Attributes:
        serves_http: whether `/chat/{id}/result` can be read beside the tools.
    """

    streams: Streams
    catalogue: Catalogue
    openrouter: OpenRouterClient
    spending: Spending
    serves_http: bool = False

    @property
    def lacks_key(self) -> bool:
        """Whether nothing can be asked of upstream because there is no key."""
        return self.openrouter.config.lacks_key


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

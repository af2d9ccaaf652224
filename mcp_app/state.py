"""What the tools work on: objects of `client`, opened and closed by whoever serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:  # they bring aiohttp along, which a client that waits for `initialize` need not wait for
    from client.models.catalogue import Catalogue
    from client.streams.streams import Streams
    from client.upstream.openrouter import OpenRouterClient
    from mcp_app.results.spending import Spending

PREFIX: Final = "our.prefix"
"""Key in an ASGI scope's `extensions`: the path below which this client sees our routes."""
GONE: Final = "aiohttp.gone"
"""Key in an ASGI scope's `extensions`: an `asyncio.Event` that is set when the client is gone or the server stops."""


class Budget(Protocol):
    """What may be spent, by the process or by a caller, in nano-USD."""

    @property
    def limit_nano(self) -> int: ...

    @property
    def spent_nano(self) -> int: ...

    @property
    def reserved_nano(self) -> int: ...

    @property
    def left_nano(self) -> int:
        """What is neither spent nor reserved."""


@dataclass
class McpState:
    """Shared by all calls of all clients.

    Attributes:
        sees_account: whether a caller, by name, may see the key's limits and what all callers spent.
        budget: of this process, where it has one.
        budget_of: tells that of a caller, by name, where callers have budgets; raises `Refusal` where nobody knows.
        background: tasks that go on behind calls; whoever closes the state ends them.
        folders: of this machine, in which a caller's files may be read and written; None where none may, ever.
        serves_http: whether `/chat/{id}/result` can be read beside the tools.
        prefix: what stands before our paths for this client.
    """

    streams: Streams
    catalogue: Catalogue
    openrouter: OpenRouterClient
    spending: Spending
    serves_http: bool = False
    prefix: str = ""
    sees_account: Callable[[str], bool] = lambda owner: True
    budget: Budget | None = None
    budget_of: Callable[[str], Awaitable[Budget | None]] | None = None
    folders: tuple[str, ...] | None = None
    background: set[asyncio.Task[None]] = field(default_factory=set)

    async def end_background(self) -> None:
        """Gives up what still goes on behind calls."""
        for task in tuple(self.background):
            task.cancel()
        if self.background:
            await asyncio.wait(self.background)

    @property
    def lacks_key(self) -> bool:
        """Whether nothing can be asked of upstream because there is no key."""
        return self.openrouter.config.lacks_key

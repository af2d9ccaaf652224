"""What the tools work on: objects of `client`, opened and closed by whoever serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from client.catalogue import Catalogue
from client.openrouter import OpenRouterClient
from client.streams import Streams
from mcp_app.spending import Spending

GONE: Final = "aiohttp.gone"
"""Key in an ASGI scope's `extensions`: an `asyncio.Event` that is set when the client is gone or the server stops."""


@dataclass
class McpState:
    """Shared by all calls of all clients.

    Attributes:
        lacks_key: nothing can be asked of upstream, because there is no key.
        serves_http: whether `/chat/{id}/result` can be read beside the tools.
    """

    streams: Streams
    catalogue: Catalogue
    openrouter: OpenRouterClient
    spending: Spending = field(default_factory=Spending)
    lacks_key: bool = False
    serves_http: bool = False

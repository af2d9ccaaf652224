"""What the tools work on: objects of `client`, opened and closed by whoever serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from client.catalogue import Catalogue
from client.openrouter import OpenRouterClient
from client.streams import Stream, Streams
from mcp_app.spending import Spending

GONE: Final = "aiohttp.gone"
"""Key in an ASGI scope's `extensions`: an `asyncio.Event` that is set when the client is gone or the server stops."""


class StartStream(Protocol):
    """Starts an answer for a caller, as `Streams.start` does.

    Raises:
        StreamsFull: a limit was reached.
        Refusal: the caller may not.
    """

    def __call__(self, body: Mapping[str, Any], *, owner: str, grace_s: float | None = None) -> Stream: ...


@dataclass
class McpState:
    """Shared by all calls of all clients.

    Attributes:
        start: how an answer is started; None: `streams.start`.
        lacks_key: nothing can be asked of upstream, because there is no key.
        serves_http: whether `/chat/{id}/result` can be read beside the tools.
    """

    streams: Streams
    catalogue: Catalogue
    openrouter: OpenRouterClient
    spending: Spending = field(default_factory=Spending)
    start: StartStream | None = None
    lacks_key: bool = False
    serves_http: bool = False

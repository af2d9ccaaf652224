"""The lists of the product's MCP server, as a client of the revisions with a handshake gets them.

python -m tests.support.mcp.lists        prints them, by method (see scripts/write-mcp-lists)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp_app.late_state import OpenState
from mcp_app.server import build_mcp
from mcp_app.state import McpState
from mcp_app.stdio.conversation import Conversation

METHODS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "lists", "version": "0"},
}


@asynccontextmanager
async def _no_state() -> AsyncIterator[McpState]:
    raise LookupError("a list needs no state")
    yield


async def read_lists(client: str = "lists", open_state: OpenState = _no_state) -> dict[str, Any]:
    """The lists by method, for a client that says that name."""
    found: dict[str, Any] = {}
    complete = asyncio.Event()

    async def write(line: bytes) -> None:
        message = json.loads(line)
        if message["id"]:
            found[METHODS[message["id"] - 1]] = message["result"]
        if len(found) == len(METHODS):
            complete.set()

    async def lines() -> AsyncIterator[bytes]:
        info = {"name": client, "version": "0"}
        yield _line(id=0, method="initialize", params={**_INITIALIZE, "clientInfo": info})
        yield _line(method="notifications/initialized")
        for number, method in enumerate(METHODS, start=1):
            yield _line(id=number, method=method)
        await complete.wait()

    server = build_mcp(open_state, version="0")._lowlevel_server
    async with asyncio.timeout(60), server.lifespan(server) as state:
        await Conversation(server, state, write).run(lines())
    return {method: found[method] for method in METHODS}


def _line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(read_lists()), indent=1, ensure_ascii=False))

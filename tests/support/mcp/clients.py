"""MCP clients for tests: in memory, and the product's tools without any transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mcp import Client
from mcp.types import CallToolResult, TextContent

from client.config import StreamsConfig, UpstreamConfig
from client.models.catalogue import Catalogue
from client.sandbox import DONE, Reply, Sandbox, Step, chunk
from client.streams.streams import Admit, Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from mcp_app.results.spending import Spending
from mcp_app.server import build_mcp
from mcp_app.state import McpState

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")
"""How the SDK's client opens: as 2026-07-28 has it, or with the older `initialize`."""

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@dataclass
class Progress:
    """Collects reports; pass it as `progress_callback`."""

    values: list[float] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    reported: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.values.append(progress)
        self.messages.append(message or "")
        self.reported.set()


@asynccontextmanager
async def open_state(
    upstream: Sandbox,
    *,
    config: UpstreamConfig | None = None,
    limits: StreamsConfig | None = None,
    admit: Admit | None = None,
    serves_http: bool = False,
    folders: tuple[str, ...] | None = None,
) -> AsyncIterator[McpState]:
    """What the tools work on, over a scripted upstream."""
    config = config or UpstreamConfig(base_url=upstream.base_url, model="sandbox/echo", max_retries=0)
    async with create_session(config) as session:
        openrouter = OpenRouterClient(session, config)
        spending = Spending()
        streams = Streams(openrouter, limits or StreamsConfig(), spending.note_end, admit=admit)
        catalogue = Catalogue(openrouter)
        state = McpState(streams, catalogue, openrouter, spending, serves_http, folders=folders)
        yield state
        await state.end_background()
        await streams.aclose()
        await catalogue.aclose()


@asynccontextmanager
async def in_memory(upstream: Sandbox, era: Era = "auto", **changes: Any) -> AsyncIterator[Client]:
    """A client of the product's MCP server without any transport between them; `changes` are `open_state`'s."""
    mcp = build_mcp(lambda: open_state(upstream, **changes), version="0")
    async with Client(mcp, mode=era) as connected:
        yield connected


async def call(upstream: Sandbox, name: str, arguments: dict[str, Any], **changes: Any) -> CallToolResult:
    """One call of one tool; `changes` are `open_state`'s."""
    async with asyncio.timeout(60), in_memory(upstream, **changes) as client:
        return await client.call_tool(name, arguments)


def answer(*pieces: str, finish_reason: str = "stop", ahead: tuple[Step, ...] = ()) -> Reply:
    """A whole scripted answer."""
    steps: list[Step] = [*ahead, *(chunk({"content": piece}) for piece in pieces)]
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8, "cost": 0.25}
    return Reply.stream(*steps, chunk({}, finish_reason), chunk({}, finish_reason, usage=usage), DONE)


def modern(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A request as revision 2026-07-28 sends it: nothing goes before it."""
    params = dict(message["params"])
    params["_meta"] = {
        **params.get("_meta", {}),
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {**ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": message["method"]}
    for name in ("name", "uri"):
        if name in params:
            headers["Mcp-Name"] = params[name]
    return {**message, "params": params}, headers


def text_of(result: CallToolResult) -> str:
    """All the text that a model reads."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def data_of(result: CallToolResult) -> dict[str, Any]:
    """What a program reads."""
    assert isinstance(result.structured_content, dict)
    return result.structured_content

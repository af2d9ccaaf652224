"""Ends a tool call whose HTTP connection is gone.

Up to revision 2025-11-25 a disconnect is no cancel by the protocol, but without an event store the result could not
be delivered any more, and the answer would be paid for to its end. The SDK calls middleware provisional: it stays
here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from mcp_app.state import GONE

_CANCELLED = -32800


async def cancel_on_disconnect(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A middleware of the MCP server; does nothing on stdio, where a dead host ends the whole process."""
    gone = _gone_event(ctx)
    if gone is None or ctx.request_id is None or ctx.method != "tools/call":
        return await call_next(ctx)
    result: HandlerResult = None
    error: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_set, gone, group.cancel_scope)
        try:
            result = await call_next(ctx)
        except Exception as exc:  # kept out of the group, from which it would come as an ExceptionGroup
            error = exc
        group.cancel_scope.cancel()
    if error is not None:
        raise error
    if result is None:
        raise MCPError(code=_CANCELLED, message="The client has disconnected.")
    return result


def _gone_event(ctx: ServerRequestContext[Any, Any]) -> asyncio.Event | None:
    scope = getattr(ctx.request, "scope", None) or {}
    gone = scope.get("extensions", {}).get(GONE)
    return gone if isinstance(gone, asyncio.Event) else None


async def _cancel_when_set(gone: asyncio.Event, scope: anyio.CancelScope) -> None:
    await gone.wait()
    scope.cancel()

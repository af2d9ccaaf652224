"""Refuses a cursor that was never given out: every list here is one page."""

from __future__ import annotations

from typing import Any, Final

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.types import INVALID_PARAMS

_LISTS: Final = frozenset({"tools/list", "resources/list", "resources/templates/list", "prompts/list"})


async def refuse_unknown_cursors(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A middleware of the MCP server; a blank cursor is none."""
    if ctx.method in _LISTS and ctx.params and ctx.params.get("cursor"):
        raise MCPError(code=INVALID_PARAMS, message="Unknown cursor: the list is one page, which is got without one.")
    return await call_next(ctx)

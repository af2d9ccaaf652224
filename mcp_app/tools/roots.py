"""Folders in which files may be touched for a call: those that the user lists, and the roots that a host offers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context

if TYPE_CHECKING:
    from mcp_app.files.folders import Folders
    from mcp_app.state import McpState

_ANSWER_S = 5.0
"""How long a host may take to tell its roots."""
_MOST_ROOTS = 50


async def folders_for(ctx: Context[Any], state: McpState, *, is_needed: bool) -> Folders | None:
    """None where no files are touched for callers, or none are asked for."""
    if state.folders is None or not is_needed:
        return None
    from mcp_app.files.folders import Folders

    listed = [*state.folders, *await _roots(ctx)]
    return await anyio.to_thread.run_sync(Folders, listed)


async def _roots(ctx: Context[Any]) -> list[str]:
    """Folders that the host works in; none from a host that offers no roots, or does not say.

    Revision 2026-07-28 has no way to ask in the middle of a call, and its clients offer none.
    """
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.roots is None:
        return []
    try:
        with anyio.fail_after(_ANSWER_S), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # roots are deprecated from 2026-07-28 on, and hosts still offer them
            found = await ctx.session.list_roots()
    except (TimeoutError, MCPError, RuntimeError, ValueError):
        return []
    return [str(root.uri) for root in found.roots[:_MOST_ROOTS] if str(root.uri).lower().startswith("file:")]

"""The settings of MCP."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from client.config import LONGEST_S, MOST_AT_ONCE, SHORTEST_S, Env, Section

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_MOST_USD = 1_000_000
_TAKEN = frozenset({"chat", "health", "models", "ready"})


def _check_path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError("must be a path such as /mcp, without a slash at its end")
    if path.split("/")[1] in _TAKEN:
        raise ValueError("must not lie below a route that the server has already")
    return path


class McpConfig(Section):
    """Whether and where MCP is served over HTTP, and what `openrouter-mcp` may do."""

    enabled: Annotated[bool, Env("MCP_ENABLED")] = True
    """Serve MCP over HTTP beside the other routes."""
    path: Annotated[str, AfterValidator(_check_path), Env("MCP_PATH")] = "/mcp"
    """Where."""
    max_sessions: Annotated[int, Field(ge=1, le=MOST_AT_ONCE), Env("MCP_MAX_SESSIONS")] = 1000
    """Sessions open at once, for clients of the revisions up to 2025-11-25. The longest idle one makes room for
    another, of the same caller first; where there are several callers, none gets more than half. Only when all have a
    request or a stream open, more get 503."""
    session_idle_timeout_s: Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S), Env("MCP_SESSION_IDLE_TIMEOUT")] = (
        1800.0
    )
    """A session that is not used for so long is closed."""
    budget_usd: Annotated[float | None, Field(ge=0, le=_MOST_USD), Env("MCP_BUDGET_USD")] = None
    """What one process of `openrouter-mcp` may spend, USD; None: no limit. Over HTTP callers have budgets."""

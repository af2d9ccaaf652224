"""The settings of MCP."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

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


def _split_paths(value: object) -> object:
    """TOML gives a list, the environment a comma list, or one as that of PATH."""
    if isinstance(value, str):
        value = [part.strip() for part in re.split(f"[,{re.escape(os.pathsep)}]", value) if part.strip()]
    return tuple(value) if isinstance(value, list) else value


def _check_folder(path: str) -> str:
    if not path.startswith("~") and not os.path.isabs(path):  # noqa: PTH117
        raise ValueError("must be an absolute path: clients choose the folder that a program is started in")
    return path


Folder = Annotated[str, AfterValidator(_check_folder)]


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
    folders: Annotated[tuple[Folder, ...], BeforeValidator(_split_paths), Env("MCP_FOLDERS")] = ()
    """Folders below which `openrouter-mcp` may read and save files for its client; never used over HTTP."""
    budget_usd: Annotated[float | None, Field(ge=0, le=_MOST_USD), Env("MCP_BUDGET_USD")] = None
    """What one process of `openrouter-mcp` may spend, USD; None: no limit. Over HTTP callers have budgets."""

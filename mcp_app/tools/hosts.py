"""Hosts that are known to give a model what they get: an answer goes to them once, as content.

A result has two forms, of which some hosts hand on the one, some the other, and some both, so that their model reads,
and its user pays for, everything twice. Structured content alone hides pictures. Every host hands the content on when
there is nothing else. Programs, and hosts that nobody knows, get both forms.
"""

from __future__ import annotations

from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from pydantic import BaseModel

_HOSTS: Final = (
    "claude-code",
    "claude-ai",
    "claude desktop",
    "codex",
    "copilot",
    "github-copilot",
    "gemini-cli",
    "opencode",
    "cursor",
    "visual studio code",
    "windsurf",
    "zed",
    "cline",
    "roo code",
    "goose",
    "librechat",
    "@librechat",
)
"""What the names begin with by which hosts say who they are, in small letters."""


async def fit_host(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A middleware of the MCP server: leaves the structured form out for hosts whose model reads the content."""
    result = await call_next(ctx)
    if ctx.method not in ("tools/call", "tools/list") or not is_host(_name_of(ctx)):
        return result
    return _without_structure(result)


def is_host(name: str) -> bool:
    """Whether a client of that name gives its model the content."""
    return name.lower().startswith(_HOSTS)


def _name_of(ctx: ServerRequestContext[Any, Any]) -> str:
    params = ctx.session.client_params
    return "" if params is None else params.client_info.name


def _without_structure(result: HandlerResult) -> HandlerResult:
    if isinstance(result, BaseModel):
        result = result.model_dump(by_alias=True, mode="json", exclude_unset=True)
    if not isinstance(result, dict):
        return result
    plain = {name: value for name, value in result.items() if name != "structuredContent"}
    if "tools" in plain:
        plain["tools"] = [_without_schema(tool) for tool in plain["tools"]]
    return plain


def _without_schema(tool: Any) -> dict[str, Any]:
    described = (
        tool.model_dump(by_alias=True, mode="json", exclude_unset=True) if isinstance(tool, BaseModel) else tool
    )
    return {name: value for name, value in described.items() if name != "outputSchema"}

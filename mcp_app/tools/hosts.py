"""Sends hosts that are known an answer once (`mcp_app.results.readers`)."""

from __future__ import annotations

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from pydantic import BaseModel

from mcp_app.results.readers import reads_content


async def fit_host(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A middleware of the MCP server: leaves the structured form out for hosts whose model reads the content."""
    result = await call_next(ctx)
    if ctx.method not in ("tools/call", "tools/list") or not reads_content(_name_of(ctx)):
        return result
    return _without_structure(result)


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

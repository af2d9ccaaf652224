"""The MCP server: every tool and the catalogue registered with the SDK, free of transport."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from keyword import iskeyword
from typing import Any, cast

from mcp.server import CacheHint, MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import (
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    InputRequiredResult,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
)
from mcp.types import Tool as ListedTool
from pydantic import ValidationError

from mcp_app.late_state import LateState, OpenState
from mcp_app.results.clean import clean_json
from mcp_app.results.failures import ToolFailure
from mcp_app.results.schemas import plain_schema
from mcp_app.stdio.disconnect import cancel_on_disconnect
from mcp_app.stdio.greeting import INSTRUCTIONS, NAME, TITLE
from mcp_app.tools.arguments import argument_problems
from mcp_app.tools.cursors import refuse_unknown_cursors
from mcp_app.tools.hosts import fit_host
from mcp_app.tools.prompts import PROMPTS
from mcp_app.tools.tools import TOOLS, state_of
from mcp_app.tools.unknown_arguments import unknown_arguments, without_harmless

_CATALOGUE_TTL_MS = 300_000
_MAX_COMPLETIONS = 100


class PlainMCPServer(MCPServer[LateState]):
    """An `MCPServer` that hosts and models find easy: plain schemas, plain words about wrong arguments."""

    def __init__(self, *args: Any, tools: Sequence[Tool], **kwargs: Any) -> None:
        super().__init__(*args, tools=list(tools), **kwargs)
        self._argument_names = {tool.name: _argument_names(tool) for tool in tools}

    async def list_tools(self) -> list[ListedTool]:
        """Every tool; validation keeps using the whole schemas."""
        return [_plain(tool) for tool in await super().list_tools()]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[LateState, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Runs a tool; what it cannot do is an error result whose text is for the model."""
        known = self._argument_names.get(name)
        if known is not None:
            arguments = without_harmless(arguments, known)
            if (said := unknown_arguments(arguments, known)) is not None:
                return _error_result(said)
            arguments = {f"{name}_" if iskeyword(name) else name: value for name, value in arguments.items()}
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as exc:
            match exc.__cause__:
                case ToolFailure() as failure:
                    return _error_result(str(failure))
                case ValidationError() as invalid:
                    return _error_result(argument_problems(invalid))
            raise


def build_mcp(open_state: OpenState, *, version: str) -> PlainMCPServer:
    """The server with every tool.

    Args:
        open_state: gives the state that the tools work on; entered once, by the first call.
        version: of this program.
    """
    states: list[LateState] = []

    @asynccontextmanager
    async def lifespan(server: MCPServer[LateState]) -> AsyncIterator[LateState]:
        state = LateState(open_state)
        states[:] = [state]
        try:
            yield state
        finally:
            await state.aclose()

    mcp = PlainMCPServer(
        NAME,
        title=TITLE,
        instructions=INSTRUCTIONS,
        version=version,
        lifespan=lifespan,
        tools=_tools(),
        cache_hints={"tools/list": CacheHint(ttl_ms=_CATALOGUE_TTL_MS, scope="private")},  # hosts get it in forms
        middleware=[refuse_unknown_cursors, fit_host, cancel_on_disconnect],
    )
    for name, facts in PROMPTS.items():
        mcp.prompt(name, title=facts.title)(facts.function)
    _add_catalogue(mcp, states)
    return mcp


@cache
def _tools() -> tuple[Tool, ...]:
    """What the SDK reads off the functions: half of what it takes to build a server, and always the same."""
    return tuple(Tool.from_function(function, annotations=hints) for function, hints in TOOLS.items())


def _argument_names(tool: Tool) -> list[str]:
    return [_spelled(name) for name in inspect.signature(tool.fn).parameters if name != "ctx"]


def _add_catalogue(mcp: PlainMCPServer, states: list[LateState]) -> None:
    """The catalogue as a resource template, whose variable hosts can complete.

    A completion handler gets no context, so it finds the state in `states`.
    """

    @mcp.resource("openrouter://models/{+model_id}", mime_type="application/json")
    async def model(model_id: str, ctx: Context) -> dict[str, Any]:
        """A model of OpenRouter's list."""
        from mcp_app.tools.find_models import model_details
        from mcp_app.tools.models import describe_model

        try:
            described = describe_model(await model_details(await state_of(ctx), model_id))
        except ToolFailure as exc:
            raise (ResourceNotFoundError if exc.is_not_found else ResourceError)(clean_json(str(exc))) from exc
        return cast(dict[str, Any], clean_json(described))

    @mcp.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        from mcp_app.tools.find_models import complete_model_id

        if argument.name not in ("model_id", "model", "models"):
            return None
        before, comma, typed = (
            argument.value.rpartition(",") if argument.name == "models" else ("", "", argument.value)
        )
        found = clean_json(await complete_model_id(await states[0].get(), typed))
        found = [f"{before}{comma}{model_id}" for model_id in found]
        return Completion(values=found[:_MAX_COMPLETIONS], total=len(found), has_more=len(found) > _MAX_COMPLETIONS)


def _spelled(name: str) -> str:
    """An argument's name as callers write it: a word of Python's has an underscore behind it in a signature."""
    return name[:-1] if name.endswith("_") and iskeyword(name[:-1]) else name


def _error_result(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=clean_json(text))], is_error=True)


def _plain(tool: ListedTool) -> ListedTool:
    input_schema = {**plain_schema(tool.input_schema), "additionalProperties": False}
    properties: dict[str, Any] = input_schema.get("properties", {})
    input_schema["properties"] = {_spelled(name): described for name, described in properties.items()}
    title = tool.annotations.title if tool.annotations is not None else None
    changes: dict[str, Any] = {"input_schema": input_schema, "title": title}
    if tool.output_schema is not None:
        changes["output_schema"] = plain_schema(tool.output_schema)
    return tool.model_copy(update=changes)

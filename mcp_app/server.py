"""The MCP server: `mcp_app.tools` registered with the SDK, free of transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, cast

import anyio
from mcp.server import CacheHint, MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import (
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    ContentBlock,
    ImageContent,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ListedTool
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from mcp_app import tools
from mcp_app.disconnect import cancel_on_disconnect
from mcp_app.failures import ToolFailure
from mcp_app.models import describe_model
from mcp_app.progress import Report
from mcp_app.results import ToolOutput
from mcp_app.schemas import plain_schema
from mcp_app.state import McpState

LOCAL = "local"
"""The caller where nobody has to say who they are."""

_INSTRUCTIONS = (
    "Ask any language model that OpenRouter offers. llm_chat needs only a prompt; find models with search_models. "
    "An answer that takes longer than wait_s goes on in the background: fetch it with llm_chat_result."
)
_CATALOGUE_TTL_MS = 300_000
_MAX_COMPLETIONS = 100


# -- arguments: models send numbers as text, empty text for nothing, and lists as comma lists ---------------------


def _text(value: object) -> object:
    if value is None:
        return ""
    return str(value) if isinstance(value, int | float) else value


def _unset_if_blank(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in ("", "null", "none") else value


def _flag(value: object) -> object:
    return False if _unset_if_blank(value) is None else value


def _comma_list(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else _text(value)


Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[int | None, BeforeValidator(_unset_if_blank)]
Number = Annotated[float | None, BeforeValidator(_unset_if_blank)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Words = Annotated[str, BeforeValidator(_comma_list)]
Offset = Annotated[int, BeforeValidator(lambda value: 0 if _unset_if_blank(value) is None else value)]
Wait = Annotated[
    float,
    BeforeValidator(lambda value: 45.0 if _unset_if_blank(value) is None else value),
    Field(description="seconds; then it goes on in the background"),
]
Messages = Annotated[
    list[dict[str, Any]] | None,
    BeforeValidator(_unset_if_blank),
    WithJsonSchema({"type": "array", "items": {"type": "object"}}),
]


class ChatResult(BaseModel):
    """Structured output of the chat tools; what is unknown is left out."""

    status: Annotated[str, Field(description="completed, running or stopped")]
    stream_id: str
    text: str
    model: str
    cost_usd: float | None = None
    note: Annotated[str | None, Field(description="what to do next")] = None


# -- tools --------------------------------------------------------------------------------------------------------


async def llm_chat(
    ctx: Context[McpState],
    prompt: Annotated[Text, Field(description="the question; alone is enough")] = "",
    messages: Annotated[
        Messages,
        Field(
            description="earlier turns, [{role, content}]; content may hold image_url and file parts (https, data:)"
        ),
    ] = None,
    model: Annotated[Text, Field(description="id from search_models; has a default")] = "",
    system: Text = "",
    reasoning_effort: Annotated[Text, Field(description="none, minimal, low, medium, high")] = "",
    max_tokens: Annotated[Whole, Field(description="thinking counts too")] = None,
    temperature: Number = None,
    web_search: Flag = False,
    wait_s: Wait = 45.0,
    include_reasoning: Flag = False,
) -> Annotated[CallToolResult, ChatResult]:
    """Ask another language model through OpenRouter. Costs money; the cost is in the result."""
    arguments = tools.ChatArguments(
        prompt=prompt,
        messages=messages,
        model=model,
        system=system,
        reasoning_effort=reasoning_effort,
        max_tokens=max_tokens,
        temperature=temperature,
        web_search=web_search,
    )
    return await _run(
        tools.chat,
        _state(ctx),
        arguments,
        owner=_owner(),
        wait_s=wait_s,
        report=_report(ctx),
        include_reasoning=include_reasoning,
    )


async def llm_chat_result(
    ctx: Context[McpState],
    stream_id: Text,
    wait_s: Wait = 45.0,
    include_reasoning: Flag = False,
    offset: Annotated[Offset, Field(description="characters to skip, for long answers")] = 0,
) -> Annotated[CallToolResult, ChatResult]:
    """Wait for an llm_chat that is still running, or read its answer again."""
    return await _run(
        tools.chat_result,
        _state(ctx),
        stream_id,
        owner=_owner(),
        wait_s=wait_s,
        report=_report(ctx),
        include_reasoning=include_reasoning,
        offset=offset,
    )


async def llm_chat_stop(ctx: Context[McpState], stream_id: Text) -> Annotated[CallToolResult, ChatResult]:
    """Stop a running llm_chat and its cost; returns the text so far."""
    return await _run(tools.chat_stop, _state(ctx), stream_id, owner=_owner())


async def search_models(
    ctx: Context[McpState],
    q: Annotated[Text, Field(description="words in id, name or description")] = "",
    families: Annotated[Words, Field(description="authors, comma list: openai,anthropic")] = "",
    input_modalities: Annotated[Words, Field(description="all of: text,image,file,audio,video")] = "",
    output_modalities: Annotated[Words, Field(description="all of: text,image,embeddings,…")] = "",
    supported_parameters: Annotated[Words, Field(description="all of: tools,structured_outputs,seed,…")] = "",
    min_context_length: Annotated[Whole, Field(description="tokens")] = None,
    max_price: Annotated[Number, Field(description="prompt, USD per million tokens")] = None,
    free_only: Flag = False,
    reasoning: Annotated[bool | None, BeforeValidator(_unset_if_blank)] = None,
    sort: Annotated[
        Text,
        Field(
            description="newest, name, pricing_low_to_high, pricing_high_to_low, context_high_to_low, top_weekly, "
            "throughput_high_to_low, latency_low_to_high"
        ),
    ] = "",
    limit: Annotated[Whole, Field(description="at most 50")] = 20,
    offset: Offset = 0,
) -> CallToolResult:
    """Find models in OpenRouter's current list, with context length and prices."""
    parameters = {name: value for name, value in locals().items() if name not in ("ctx", "parameters")}
    if not parameters["limit"]:
        parameters["limit"] = 20
    return await _run(tools.search_models, _state(ctx), parameters)


async def get_model(ctx: Context[McpState], model_id: Text) -> CallToolResult:
    """One model in detail, with the providers that serve it."""
    return await _run(tools.get_model, _state(ctx), model_id)


async def account(ctx: Context[McpState]) -> CallToolResult:
    """Limits of the OpenRouter key, remaining credits, and what was spent here."""
    return await _run(tools.account, _state(ctx))


_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=True)
_CHATS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
_STOPS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
_TOOLS: Mapping[Callable[..., Any], ToolAnnotations] = {
    llm_chat: _CHATS,
    llm_chat_result: _READS,
    llm_chat_stop: _STOPS,
    search_models: _READS,
    get_model: _READS,
    account: _READS,
}


class PlainMCPServer(MCPServer[McpState]):
    """An `MCPServer` whose tools are listed with plain schemas."""

    async def list_tools(self) -> list[ListedTool]:
        """Every tool; validation keeps using the whole schemas."""
        return [_plain(tool) for tool in await super().list_tools()]


def build_mcp(open_state: Callable[[], AbstractAsyncContextManager[McpState]], *, version: str) -> PlainMCPServer:
    """The server with every tool.

    Args:
        open_state: gives the state that the tools work on; entered once, when serving begins.
        version: of this program.
    """
    states: list[McpState] = []

    @asynccontextmanager
    async def lifespan(server: MCPServer[McpState]) -> AsyncIterator[McpState]:
        async with open_state() as state:
            states[:] = [state]
            yield state

    mcp = PlainMCPServer(
        "openrouter",
        title="OpenRouter",
        instructions=_INSTRUCTIONS,
        version=version,
        lifespan=lifespan,
        cache_hints={"tools/list": CacheHint(ttl_ms=_CATALOGUE_TTL_MS, scope="public")},
        middleware=[cancel_on_disconnect],
    )
    for function, hints in _TOOLS.items():
        mcp.add_tool(function, annotations=hints)
    _add_catalogue(mcp, states)
    return mcp


def _add_catalogue(mcp: PlainMCPServer, states: list[McpState]) -> None:
    """The catalogue as a resource template, whose variable hosts can complete.

    A completion handler gets no context, so it finds the state in `states`.
    """

    @mcp.resource("openrouter://models/{+model_id}", mime_type="application/json")
    async def model(model_id: str, ctx: Context) -> dict[str, Any]:
        """A model of OpenRouter's list."""
        try:
            return describe_model(await tools.model_details(_state(ctx), model_id))
        except ToolFailure as exc:
            raise ResourceNotFoundError(str(exc)) from exc

    @mcp.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        if argument.name != "model_id":
            return None
        found = await tools.complete_model_id(states[0], argument.value)
        return Completion(values=found[:_MAX_COMPLETIONS], total=len(found), has_more=len(found) > _MAX_COMPLETIONS)


# -- between the SDK and the tools --------------------------------------------------------------------------------


def _state(ctx: Context[Any]) -> McpState:
    return cast(McpState, ctx.request_context.lifespan_context)


def _owner() -> str:
    """The caller's name as the HTTP bridge knows it."""
    token = get_access_token()
    return LOCAL if token is None else token.client_id


def _report(ctx: Context[McpState]) -> Report:
    async def report(progress: float, message: str) -> None:
        try:
            await ctx.report_progress(progress, None, message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the client has gone; whoever notices it cancels the call

    return report


async def _run(tool: Callable[..., Any], *args: Any, **kwargs: Any) -> CallToolResult:
    """A tool's output in the words of MCP; a failure is an error result that the model can read."""
    try:
        output: ToolOutput = await tool(*args, **kwargs)
    except ToolFailure as exc:
        return CallToolResult(content=[TextContent(type="text", text=str(exc))], is_error=True)
    first, *rest = output.texts
    blocks: list[ContentBlock] = [TextContent(type="text", text=first)]
    blocks += [ImageContent(type="image", data=each.data, mime_type=each.mime_type) for each in output.pictures]
    blocks += [TextContent(type="text", text=text) for text in rest]
    return CallToolResult(content=blocks, structured_content=output.data)


def _plain(tool: ListedTool) -> ListedTool:
    changes: dict[str, Any] = {"input_schema": plain_schema(tool.input_schema), "title": None}
    if tool.output_schema is not None:
        changes["output_schema"] = plain_schema(tool.output_schema)
    return tool.model_copy(update=changes)

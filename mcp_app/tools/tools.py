"""The tools as the SDK registers them: names, arguments and descriptions are what a host's model reads.

What a tool does is imported once the state is open: with it comes aiohttp, which a client that waits for the answer
to `initialize` need not wait for. A `ToolFailure` that they raise is told to the model by `mcp_app.server`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, cast

import anyio
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from mcp_app.late_state import LateState
from mcp_app.results.clean import clean_json
from mcp_app.results.output import ToolOutput
from mcp_app.results.reports import Report, reporting
from mcp_app.state import PREFIX, McpState
from mcp_app.tools.arguments import (
    WAIT_S,
    Flag,
    MaybeFlag,
    Messages,
    Names,
    Number,
    Offset,
    Options,
    Text,
    Wait,
    Whole,
    Words,
)
from mcp_app.tools.roots import folders_for

LOCAL = "local"
"""The caller where nobody has to say who they are."""


class ChatResult(BaseModel):
    status: Annotated[str, Field(description="completed, running or stopped")]
    stream_id: str | None = None
    text: str | None = None
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    cost_usd: float | None = None
    next_offset: int | None = None
    note: str | None = None
    answers: Annotated[list[dict[str, Any]] | None, Field(description="of each of models")] = None


# -- the tools -----------------------------------------------------------------------------------------------------


async def llm_chat(
    ctx: Context[LateState],
    prompt: Annotated[Text, Field(description="the question; alone is enough")] = "",
    messages: Annotated[
        Messages,
        Field(
            description="earlier turns, [{role, content}]; content may hold image_url and file parts (https, data:)"
        ),
    ] = None,
    model: Annotated[Text, Field(description="id from search_models; has a default")] = "",
    models: Annotated[Names, Field(description="ask each of these, side by side")] = None,
    continue_: Annotated[Text, Field(description="stream_id of the turn before; sends it along")] = "",
    system: Text = "",
    reasoning_effort: Annotated[Text, Field(description="none, minimal, low, medium, high, xhigh, max")] = "",
    max_tokens: Annotated[Whole, Field(description="thinking counts too")] = None,
    temperature: Number = None,
    web_search: Flag = False,
    options: Annotated[
        Options,
        Field(
            description="more of OpenRouter's request: provider {order, sort, max_price, zdr, data_collection, …}, "
            "response_format, tools, seed, plugins, preset, …"
        ),
    ] = None,
    files: Annotated[Names, Field(description="local paths to send along: text, pictures, PDF, audio")] = None,
    save_to: Annotated[Text, Field(description="local file or folder for the answer and its pictures")] = "",
    overwrite: Flag = False,
    max_cost_usd: Annotated[Number, Field(description="of the call, refused or cut beyond")] = None,
    wait_s: Wait = WAIT_S,
    include_reasoning: Flag = False,
) -> Annotated[CallToolResult, ChatResult]:
    """Ask another language model through OpenRouter. Costs money; the cost is in the result."""
    from mcp_app.chats.request import ChatArguments, check_arguments

    arguments = ChatArguments(
        prompt=prompt,
        messages=messages,
        model=model,
        models=tuple(name for name in models or () if name.strip()),
        system=system,
        reasoning_effort=reasoning_effort,
        max_tokens=max_tokens,
        temperature=temperature,
        web_search=web_search,
        options=options or {},
        going_on_from=continue_,
        max_cost_usd=max_cost_usd,
        files=tuple(files or ()),
        save_to=save_to,
        overwrite=overwrite,
    )
    check_arguments(arguments)
    async with reporting(_report_of(ctx)) as reports:
        state = await state_of(ctx)
        from mcp_app.chats.chat import chat

        output = await chat(
            state,
            arguments,
            owner=_owner(),
            wait_s=wait_s,
            reports=reports,
            include_reasoning=include_reasoning,
            folders=await folders_for(ctx, state, is_needed=bool(files or save_to.strip())),
        )
    return _result_of(output)


async def llm_chat_result(
    ctx: Context[LateState],
    stream_id: Text,
    wait_s: Wait = WAIT_S,
    include_reasoning: Flag = False,
    offset: Annotated[Offset, Field(description="characters to skip: those that are known")] = 0,
) -> Annotated[CallToolResult, ChatResult]:
    """Wait for an llm_chat that is still running, or read its answer again."""
    async with reporting(_report_of(ctx)) as reports:
        state = await state_of(ctx)
        from mcp_app.chats.chat import chat_result

        output = await chat_result(
            state,
            stream_id,
            owner=_owner(),
            wait_s=wait_s,
            reports=reports,
            include_reasoning=include_reasoning,
            offset=offset,
        )
    return _result_of(output)


async def llm_chat_stop(ctx: Context[LateState], stream_id: Text) -> Annotated[CallToolResult, ChatResult]:
    """Stop a running llm_chat and its cost; returns the text so far."""
    state = await state_of(ctx)
    from mcp_app.chats.chat import chat_stop

    return _result_of(await chat_stop(state, stream_id, owner=_owner()))


async def search_models(
    ctx: Context[LateState],
    q: Annotated[Text, Field(description="words in id, name or description")] = "",
    families: Annotated[Words, Field(description="authors, comma list: openai,anthropic")] = "",
    input_modalities: Annotated[Words, Field(description="all of: text,image,file,audio,video")] = "",
    output_modalities: Annotated[Words, Field(description="all of: text,image,embeddings,…")] = "",
    supported_parameters: Annotated[Words, Field(description="all of: tools,structured_outputs,seed,…")] = "",
    min_context_length: Annotated[Whole, Field(description="tokens")] = None,
    max_price: Annotated[Number, Field(description="prompt, USD per million tokens")] = None,
    free_only: Flag = False,
    reasoning: MaybeFlag = None,
    sort: Annotated[
        Text,
        Field(
            description="newest, name, pricing_low_to_high, pricing_high_to_low, context_high_to_low, top_weekly, "
            "throughput_high_to_low, latency_low_to_high"
        ),
    ] = "",
    limit: Annotated[Whole, Field(description="20 without; at most 50")] = None,
    offset: Offset = 0,
) -> CallToolResult:
    """Find models in OpenRouter's current list, with context length and prices."""
    parameters = dict(locals())
    del parameters["ctx"]
    state = await state_of(ctx)
    from mcp_app.tools.find_models import search_models as search

    return _result_of(await search(state, parameters))


async def get_model(
    ctx: Context[LateState],
    model_id: Text,
    prompt_tokens: Annotated[Whole, Field(description="with completion_tokens: what they would cost")] = None,
    completion_tokens: Whole = None,
) -> CallToolResult:
    """One model in detail, with the providers that serve it."""
    state = await state_of(ctx)
    from mcp_app.tools.find_models import get_model as get

    return _result_of(await get(state, model_id, prompt_tokens, completion_tokens))


async def account(ctx: Context[LateState]) -> CallToolResult:
    """Limits of the OpenRouter key, remaining credits, and what was spent here."""
    state = await state_of(ctx)
    from mcp_app.tools.account import account as tell

    return _result_of(await tell(state, owner=_owner()))


def _titled(title: str, hints: ToolAnnotations) -> ToolAnnotations:
    return hints.model_copy(update={"title": title})


# What a hint is without being given is not given: that the world is open, and nothing else is true.
_READS: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True)
_CHATS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
_STOPS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True)
TOOLS: Final[Mapping[Callable[..., Any], ToolAnnotations]] = {
    llm_chat: _titled("Ask a model", _CHATS),
    llm_chat_result: _titled("Fetch an answer", _READS),
    llm_chat_stop: _titled("Stop an answer", _STOPS),
    search_models: _titled("Find models", _READS),
    get_model: _titled("Describe a model", _READS),
    account: _titled("Key and spending", _READS),
}


# -- between the SDK and the tools --------------------------------------------------------------------------------


async def state_of(ctx: Context[Any]) -> McpState:
    """What the tools work on; opened by the first call.

    Raises:
        ToolFailure: it cannot be opened.
    """
    state = await cast(LateState, ctx.request_context.lifespan_context).get()
    scope = getattr(ctx.request_context.request, "scope", None) or {}
    prefix = scope.get("extensions", {}).get(PREFIX)
    return replace(state, prefix=prefix) if prefix else state


def _owner() -> str:
    """The caller's name as the HTTP bridge knows it."""
    token = get_access_token()
    return LOCAL if token is None else token.client_id


def _report_of(ctx: Context[LateState]) -> Report:
    """Sends to the client of this call."""

    async def report(progress: float, message: str) -> None:
        try:
            await ctx.report_progress(progress, None, message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the client has gone; whoever notices it cancels the call

    return report


def _result_of(output: ToolOutput) -> CallToolResult:
    """A tool's output in the words of MCP."""
    first, *rest = clean_json(output.texts)
    blocks: list[ContentBlock] = [TextContent(type="text", text=first)]
    blocks += [ImageContent(type="image", data=each.data, mime_type=each.mime_type) for each in output.pictures]
    blocks += [TextContent(type="text", text=text) for text in rest]
    return CallToolResult(content=blocks, structured_content=clean_json(output.data))

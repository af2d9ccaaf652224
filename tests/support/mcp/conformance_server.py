"""What the official conformance suite calls, served through the product's own bridge, access rules included.

    python -m tests.support.mcp.conformance_server        prints its URL

Names, texts and schemas are the suite's. It proves the bridge, not the tools.
"""

from __future__ import annotations

import asyncio
import base64
import json
import warnings
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from aiohttp import web
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import (
    AudioContent,
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    JSONRPCMessage,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

from client.config import StreamsConfig, UpstreamConfig
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from server.config import Config, LiveConfig
from server.http.access import access_middleware
from server.http.failures import error_middleware
from server.keys import SETTINGS, STREAMS
from server.mcp_http.endpoint import MCP, McpEndpoint, mcp_refusals_middleware

warnings.simplefilter("ignore")  # the suite asks for what the newest revision has deprecated

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
MISSING_CAPABILITY = -32021

IMAGE = ImageContent(type="image", data=PIXEL, mime_type="image/png")


def resource(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


# -- tools --------------------------------------------------------------------------------------------------------


async def test_simple_text() -> str:
    """Text."""
    return "This is a simple text response for testing."


async def test_image_content() -> list[ImageContent]:
    """An image."""
    return [IMAGE]


async def test_audio_content() -> list[AudioContent]:
    """Sound."""
    return [AudioContent(type="audio", data=SOUND, mime_type="audio/wav")]


async def test_embedded_resource() -> list[EmbeddedResource]:
    """A resource."""
    return [resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


async def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Three kinds at once."""
    return [
        TextContent(type="text", text="Multiple content types test:"),
        IMAGE,
        resource("test://mixed-content-resource", "application/json", '{"test": "data", "value": 123}'),
    ]


async def test_tool_with_logging(ctx: Context[Any]) -> str:
    """Three log messages."""
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(message)
        await asyncio.sleep(0.05)
    return "done"


async def test_logging_tool(ctx: Context[Any]) -> str:
    """A log message, for those who asked for any."""
    await ctx.info("a message")
    return "done"


async def test_tool_with_progress(ctx: Context[Any]) -> str:
    """Three reports of progress."""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100, f"Completed step {progress} of 100")
        await asyncio.sleep(0.05)
    return "done"


async def test_streaming_elicitation(ctx: Context[Any]) -> str:
    """A report of progress, and nothing but notifications."""
    await ctx.report_progress(1, 2, "halfway")
    return "done"


async def test_error_handling() -> str:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


async def test_sampling(prompt: str, ctx: Context[Any]) -> str:
    """Asks the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    result = await ctx.session.create_message(
        messages=[message], max_tokens=100, related_request_id=ctx.request_context.request_id
    )
    return f"LLM response: {getattr(result.content, 'text', result.content)}"


class Answered(BaseModel):
    response: str = Field(description="User's response")


async def test_elicitation(message: str, ctx: Context[Any]) -> str:
    """Asks the user."""
    return await _elicit(ctx, message, Answered)


class Defaults(BaseModel):
    name: str = Field("John Doe", description="User name")
    age: int = Field(30, description="User age")
    score: float = Field(95.5, description="User score")
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(True, description="Verification status")


async def test_elicitation_sep1034_defaults(ctx: Context[Any]) -> str:
    """Asks the user, with defaults."""
    return await _elicit(ctx, "Please provide user information", Defaults)


def _choices(*pairs: tuple[str, str]) -> list[Any]:
    return [{"const": const, "title": title} for const, title in pairs]


class Enums(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})
    titledSingle: str = Field(json_schema_extra={"oneOf": _choices(("value1", "First"), ("value2", "Second"))})
    legacyEnum: str = Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _choices(("value1", "First"))}})


async def test_elicitation_sep1330_enums(ctx: Context[Any]) -> str:
    """Asks the user, with every kind of choice."""
    return await _elicit(ctx, "Please select options", Enums)


async def _elicit(ctx: Context[Any], message: str, schema: type[BaseModel]) -> str:
    result = await ctx.elicit(message, schema)
    content = result.data.model_dump() if result.action == "accept" else {}
    return f"Elicitation completed: action={result.action}, content={json.dumps(content)}"


async def test_reconnection(ctx: Context[Any]) -> str:
    """Closes the stream in the middle of the call."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return "Reconnection test completed"


async def test_missing_capability(ctx: Context[Any]) -> str:
    """Needs a client that samples."""
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(code=MISSING_CAPABILITY, message="Sampling is needed", data=data)
    return "done"


async def test_trigger_tool_change(ctx: Context[Any]) -> str:
    """Says that the tools have changed."""
    await ctx.notify_tools_changed()
    return "done"


async def test_trigger_prompt_change(ctx: Context[Any]) -> str:
    """Says that the prompts have changed."""
    await ctx.notify_prompts_changed()
    return "done"


async def test_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """An argument that stands in a header too."""
    return region


async def json_schema_2020_12_tool(name: str = "", address: dict[str, Any] | None = None) -> str:
    """Tool with JSON Schema 2020-12 features"""
    return name


SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


# -- answers that need input first --------------------------------------------------------------------------------


def _ask(message: str, name: str, type_: str = "string") -> dict[str, Any]:
    schema = {"type": "object", "properties": {name: {"type": type_}}, "required": [name]}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def _sample(text: str, max_tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": {"type": "text", "text": text}}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": max_tokens}}


ROOTS: dict[str, Any] = {"method": "roots/list", "params": {}}


def _need(asked: Mapping[str, Any], state: str | None = None) -> InputRequiredResult:
    shaped = {"resultType": "input_required", "inputRequests": dict(asked), "requestState": state}
    return InputRequiredResult.model_validate({key: value for key, value in shaped.items() if value is not None})


def _has(ctx: Context[Any], *names: str) -> bool:
    return ctx.input_responses is not None and all(name in ctx.input_responses for name in names)


def _told(ctx: Context[Any], name: str) -> str:
    response = (ctx.input_responses or {})[name]
    return json.dumps(response.model_dump(mode="json", by_alias=True, exclude_none=True))


async def test_input_required_result_elicitation(ctx: Context[Any]) -> str | InputRequiredResult:
    """Asks for a name."""
    if not _has(ctx, "user_name"):
        return _need({"user_name": _ask("What is your name?", "name")})
    content = getattr((ctx.input_responses or {})["user_name"], "content", None) or {}
    return f"Hello, {content.get('name')}!"


async def test_input_required_result_sampling(ctx: Context[Any]) -> str | InputRequiredResult:
    """Asks the client's model."""
    if not _has(ctx, "capital_question"):
        return _need({"capital_question": _sample("What is the capital of France?", 100)})
    return _told(ctx, "capital_question")


async def test_input_required_result_list_roots(ctx: Context[Any]) -> str | InputRequiredResult:
    """Asks for the client's roots."""
    return _told(ctx, "client_roots") if _has(ctx, "client_roots") else _need({"client_roots": ROOTS})


async def test_input_required_result_request_state(ctx: Context[Any]) -> str | InputRequiredResult:
    """Keeps a state between two calls."""
    if not _has(ctx, "confirm"):
        return _need({"confirm": _ask("Please confirm", "ok", "boolean")}, "confirming")
    return "state-ok" if ctx.request_state == "confirming" else "state lost"


async def test_input_required_result_tampered_state(ctx: Context[Any]) -> str | InputRequiredResult:
    """Keeps a state that nobody may change."""
    if not _has(ctx, "confirm"):
        return _need({"confirm": _ask("Please confirm", "ok", "boolean")}, "confirming")
    return "state-ok"


async def test_input_required_result_multiple_inputs(ctx: Context[Any]) -> str | InputRequiredResult:
    """Asks three things at once."""
    asked = {
        "user_name": _ask("What is your name?", "name"),
        "greeting": _sample("Generate a greeting", 50),
        "client_roots": ROOTS,
    }
    return "done" if _has(ctx, *asked) else _need(asked, "three")


async def test_input_required_result_multi_round(ctx: Context[Any]) -> str | InputRequiredResult:
    """Asks one thing after another."""
    if ctx.request_state == "two" and _has(ctx, "step2"):
        return "done"
    if ctx.request_state == "one" and _has(ctx, "step1"):
        return _need({"step2": _ask("Step 2: What is your favorite color?", "color")}, "two")
    return _need({"step1": _ask("Step 1: What is your name?", "name")}, "one")


async def test_input_required_result_capabilities(ctx: Context[Any]) -> str | InputRequiredResult:
    """Asks only what the client can do."""
    declared = ctx.client_capabilities
    asked: dict[str, Any] = {}
    if declared is not None and declared.sampling is not None:
        asked["greeting"] = _sample("Generate a greeting", 50)
    if declared is not None and declared.elicitation is not None:
        asked["user_name"] = _ask("What is your name?", "name")
    return _need(asked) if asked and not _has(ctx, *asked) else "done"


TOOLS = (
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_tool_with_logging,
    test_logging_tool,
    test_tool_with_progress,
    test_streaming_elicitation,
    test_error_handling,
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_reconnection,
    test_missing_capability,
    test_trigger_tool_change,
    test_trigger_prompt_change,
    test_headers,
    json_schema_2020_12_tool,
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_capabilities,
)


# -- the server ---------------------------------------------------------------------------------------------------


class ConformanceServer(MCPServer[dict[str, Any]]):
    """Lists one tool with a schema that no Python signature has."""

    async def list_tools(self) -> list[Tool]:
        listed = await super().list_tools()
        return [
            tool.model_copy(update={"input_schema": SCHEMA_2020_12})
            if tool.name == json_schema_2020_12_tool.__name__
            else tool
            for tool in listed
        ]


def build_server() -> ConformanceServer:
    mcp = ConformanceServer("conformance", version="1.0.0", log_level="ERROR")
    for function in TOOLS:
        mcp.add_tool(function)
    _add_resources(mcp)
    _add_prompts(mcp)
    low = mcp._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, _accept)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, _accept)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, _accept)
    return mcp


async def _accept(ctx: Any, params: Any) -> EmptyResult:
    return EmptyResult()


def _add_resources(mcp: ConformanceServer) -> None:
    @mcp.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @mcp.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(PIXEL)

    @mcp.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        return "Watched resource content"

    @mcp.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @mcp.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        return Completion(values=["paris", "park", "party"], total=3, has_more=False)


def _add_prompts(mcp: ConformanceServer) -> None:
    @mcp.prompt()
    def test_simple_prompt() -> list[UserMessage]:
        """Text."""
        return [UserMessage("This is a simple prompt for testing.")]

    @mcp.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        """Two arguments."""
        return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]

    @mcp.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A resource."""
        text = "Embedded resource content for testing."
        return [UserMessage(resource(resourceUri, "text/plain", text)), UserMessage("Please process it.")]

    @mcp.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """An image."""
        return [UserMessage(IMAGE), UserMessage("Please analyze the image above.")]

    @mcp.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
        """Asks first."""
        if not _has(ctx, "user_context"):
            return _need({"user_context": _ask("What context should the prompt use?", "context")})
        return [UserMessage(_told(ctx, "user_context"))]


class MemoryEvents(EventStore):
    """Keeps every event, so that a client can come back to a stream."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        position = int(last_event_id) if last_event_id.isdigit() else 0
        if not 0 < position <= len(self._events):
            return None
        stream_id = self._events[position - 1][0]
        for number, (owner, message) in enumerate(self._events[position:], start=position + 1):
            if owner == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


def create_manager() -> StreamableHTTPSessionManager:
    mcp = build_server()
    mcp.streamable_http_app(
        event_store=MemoryEvents(),
        retry_interval=100,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return mcp.session_manager


def create_app() -> web.Application:
    """The product's endpoint and rules, with other tools behind them."""
    app = web.Application(middlewares=[error_middleware, mcp_refusals_middleware, access_middleware])
    app[SETTINGS] = LiveConfig(Config())
    endpoint = McpEndpoint(create_manager, max_body_bytes=2**22)
    app[MCP] = endpoint
    app.router.add_route("*", "/mcp", endpoint.handle)

    async def stop(_: web.Application) -> None:
        await endpoint.stop()

    app.on_shutdown.append(stop)
    app.cleanup_ctx.append(_hold_streams)
    return app


async def _hold_streams(app: web.Application) -> AsyncIterator[None]:
    """They count what the bridge holds; nothing is asked of any upstream."""
    config = UpstreamConfig()
    async with create_session(config) as session:
        app[STREAMS] = streams = Streams(OpenRouterClient(session, config), StreamsConfig())
        yield
        await streams.aclose()


async def main() -> None:
    runner = web.AppRunner(create_app(), access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/mcp", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

"""Arguments that a tool does not have or cannot take: said before anything is sent, in words that help."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import MCPError
from mcp.types import INVALID_PARAMS

from client.sandbox import Sandbox
from tests.mcp.test_http import call_message
from tests.support.mcp.clients import ERAS, Era, answer, call, data_of, in_memory, modern, text_of
from tests.support.serving import Api


@pytest.mark.parametrize(
    ("tool", "arguments", "near"),
    [
        ("llm_chat", {"prompt": "hi", "modle": "cheap/model"}, "model"),
        ("llm_chat", {"prompt": "hi", "max_output_tokens": 5}, "max_tokens"),
        ("llm_chat", {"prompt": "hi", "maxTokens": 5}, "max_tokens"),
        ("llm_chat", {"prompt": "hi", "effort": "low"}, "reasoning_effort"),
        ("llm_chat", {"prompt": "hi", "model_name": ["a", "b"]}, "model"),
        ("llm_chat", {"message": "hi"}, "prompt"),
        ("search_models", {"query": "cheap"}, "q"),
        ("get_model", {"id": "sandbox/echo"}, "model_id"),
        ("llm_chat_stop", {"id": "x"}, "stream_id"),
        ("account", {"verbose": True}, None),
    ],
)
async def test_an_argument_that_a_tool_does_not_have_is_refused(
    upstream: Sandbox, tool: str, arguments: dict[str, Any], near: str | None
) -> None:
    """Mcp F4: dropped in silence it was answered, and billed, by the default model."""
    result = await call(upstream, tool, arguments)
    assert result.is_error
    said = text_of(result)
    assert f"{list(arguments)[-1]}: unknown argument" in said
    assert (f"did you mean {near}?" in said) if near else ("did you mean" not in said)
    assert not upstream.calls


async def test_a_great_many_unknown_arguments_are_counted(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {f"{'x' * 1000}{number}": 1 for number in range(10_000)})
    assert result.is_error
    assert "and 9995 more" in text_of(result)
    assert len(text_of(result)) < 2000


async def test_what_hosts_add_of_their_own_accord_is_let_through(upstream: Sandbox) -> None:
    """Mcp F4: n8n adds arguments to every call, and Cursor to those that need none."""
    upstream.script(answer("Hello"))
    added = {"sessionId": "1", "action": "sendMessage", "chatInput": "x", "toolCallId": "call_1", "tool": "llm_chat"}
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m", **added})
    assert data_of(result)["text"] == "Hello"
    assert not added.keys() & upstream.calls[0].json.keys()
    assert not (await call(upstream, "account", {"random_string": "x"})).is_error


@pytest.mark.parametrize("era", ERAS)
async def test_tools_say_what_they_take_and_do(upstream: Sandbox, era: Era) -> None:
    """Mcp F4 and F19."""
    async with in_memory(upstream, era) as client:
        listed = await client.list_tools()
    for tool in listed.tools:
        assert tool.input_schema["additionalProperties"] is False
        assert tool.title
        assert tool.annotations is not None
        assert tool.annotations.title == tool.title
        assert tool.annotations.destructive_hint is (tool.name == "llm_chat_stop")
    [chat] = [tool for tool in listed.tools if tool.name == "llm_chat"]
    for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max"):
        assert effort in chat.input_schema["properties"]["reasoning_effort"]["description"]


NUMBERS_THAT_ARE_TOO_LARGE = [
    '{"messages": [{"role": "user", "content": "hi", "x": 1e400}]}',
    '{"messages": [{"role": "user", "content": [{"x": [-1e400]}]}]}',
    r'{"messages": "[{\"role\": \"user\", \"content\": \"hi\", \"x\": 1e400}]"}',
    '{"prompt": 1e400}',
    '{"prompt": "hi", "model": 1e400}',
    '{"prompt": "hi", "temperature": 1e400}',
    '{"prompt": "hi", "temperature": "1e400"}',
    '{"prompt": "hi", "wait_s": 1e400}',
    '{"prompt": "hi", "max_tokens": 1e400}',
    '{"prompt": "hi", "max_tokens": "1e400"}',
    '{"prompt": "hi", "web_search": 1e400}',
]


@pytest.mark.parametrize("arguments", NUMBERS_THAT_ARE_TOO_LARGE)
async def test_a_number_that_is_too_large_is_refused(api: Api, upstream: Sandbox, arguments: str) -> None:
    """Faults I3: it went on as null."""
    message, headers = modern(call_message("llm_chat", {"arguments": 0}))
    body = json.dumps(message).replace('{"arguments": 0}', arguments)
    async with api.http.post(f"{api.url}/mcp", data=body, headers=headers) as response:
        result = (await response.json())["result"]
    assert result["isError"], result
    assert not upstream.calls


@pytest.mark.parametrize("items", [[1] * 750_000, json.dumps([[]] * 300_000), [{}, *["x"] * 100_000]])
async def test_a_great_many_wrong_messages_are_counted(upstream: Sandbox, items: Any) -> None:
    """Break-it 1."""
    result = await call(upstream, "llm_chat", {"messages": items})
    assert result.is_error
    assert len(text_of(result)) < 3000
    assert not upstream.calls


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": 0}, "limit: must be 1 to 50"),
        ({"limit": -3}, "limit: must be 1 to 50"),
        ({"limit": 500}, "At most 50 come at once"),
        ({"offset": 900}, "The offset 900 is past the end"),
        ({"q": "nothing-is-called-this", "offset": 3}, "No model fits"),
    ],
)
async def test_a_search_says_what_its_limits_are(upstream: Sandbox, arguments: dict[str, Any], said: str) -> None:
    """Mcp F20."""
    result = await call(upstream, "search_models", arguments)
    assert said in text_of(result)
    assert result.is_error is ("must be" in said)


@pytest.mark.parametrize(
    ("tool", "name"), [("get_model", "model_id"), ("llm_chat_result", "stream_id"), ("llm_chat_stop", "stream_id")]
)
async def test_a_blank_name_is_no_name(upstream: Sandbox, tool: str, name: str) -> None:
    """Mcp F20."""
    result = await call(upstream, tool, {name: " "})
    assert result.is_error
    assert text_of(result).startswith(f"{name}: is required")


@pytest.mark.parametrize("era", ERAS)
async def test_a_cursor_that_was_never_given_out_is_refused(upstream: Sandbox, era: Era) -> None:
    """Mcp F20."""
    async with in_memory(upstream, era) as client:
        for listing in (
            client.list_tools,
            client.list_resources,
            client.list_resource_templates,
            client.list_prompts,
        ):
            with pytest.raises(MCPError) as refused:
                await listing(cursor="page-2")
            assert refused.value.error.code == INVALID_PARAMS
        assert (await client.list_tools(cursor="")).tools

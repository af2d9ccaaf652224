"""Going on with a conversation by the id of its last answer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client

from client.sandbox import Reply, Sandbox, chunk
from mcp_app.server import build_mcp
from mcp_app.state import McpState
from tests.support.mcp.clients import answer, call, data_of, in_memory, open_state, text_of

DETAILS = [{"type": "reasoning.encrypted", "data": "c2lnbmVk", "id": "r1", "format": "x", "index": 0}]


def thinking(text: str) -> Reply:
    return Reply.stream(
        chunk({"reasoning_details": DETAILS}), chunk({"content": text}), chunk({}, "stop"), b"data: [DONE]\n\n"
    )


async def test_the_turn_and_its_thinking_go_along(upstream: Sandbox) -> None:
    """G7."""
    upstream.script(thinking("Bern"), answer("Aare"), answer("three"))
    async with asyncio.timeout(30), in_memory(upstream) as client:
        options = {"provider": {"zdr": True, "order": ["a"]}, "seed": 7}
        first = await client.call_tool(
            "llm_chat", {"prompt": "capital?", "model": "acme/m", "system": "be", "options": options}
        )
        arguments = {
            "continue": data_of(first)["stream_id"],
            "prompt": "river?",
            "options": {"provider": {"order": ["b"]}, "seed": None},
        }
        second = await client.call_tool("llm_chat", arguments)
        third = await client.call_tool(
            "llm_chat", {"continue": data_of(second)["stream_id"], "prompt": "and?", "system": "new"}
        )
    assert data_of(third)["text"] == "three"
    earlier = [
        {"role": "user", "content": "capital?"},
        {"role": "assistant", "content": "Bern", "reasoning_details": DETAILS},
        {"role": "user", "content": "river?"},
    ]
    assert upstream.calls[1].json == {
        "model": "acme/m",
        "messages": [{"role": "system", "content": "be"}, *earlier],
        "stream": True,
        "provider": {"zdr": True, "order": ["b"]},
    }
    assert upstream.calls[2].json["messages"] == [
        {"role": "system", "content": "new"},
        *earlier,
        {"role": "assistant", "content": "Aare"},
        {"role": "user", "content": "and?"},
    ]


async def test_another_model_does_not_get_thinking_that_is_not_its_own(upstream: Sandbox) -> None:
    upstream.script(thinking("Bern"), answer("Aare"))
    async with asyncio.timeout(30), in_memory(upstream) as client:
        first = await client.call_tool("llm_chat", {"prompt": "capital?", "model": "acme/m"})
        await client.call_tool(
            "llm_chat", {"continue": data_of(first)["stream_id"], "prompt": "river?", "model": "other/m"}
        )
    assert upstream.calls[1].json["model"] == "other/m"
    assert upstream.calls[1].json["messages"][1] == {"role": "assistant", "content": "Bern"}


async def test_results_of_tools_follow_the_calls(upstream: Sandbox) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    async with asyncio.timeout(30), in_memory(upstream) as client:
        first = await client.call_tool(
            "llm_chat", {"prompt": "hi", "model": "sandbox/tools", "options": {"tools": [tool]}}
        )
        [asked] = data_of(first)["tool_calls"]
        result = {"role": "tool", "tool_call_id": asked["id"], "content": "sunny"}
        second = await client.call_tool("llm_chat", {"continue": data_of(first)["stream_id"], "messages": [result]})
    assert "sunny" in data_of(second)["text"]
    sent = upstream.calls[1].json
    assert sent["tools"] == [tool]
    assert sent["messages"][1]["tool_calls"] == [
        {name: value for name, value in asked.items() if name in ("id", "type", "function")}
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"continue": "nothing", "prompt": "x"}, "no stream"), ({"continue": "nothing"}, "Nothing to answer")],
)
async def test_what_is_not_there_is_told(upstream: Sandbox, arguments: dict[str, Any], said: str) -> None:
    result = await call(upstream, "llm_chat", arguments)
    assert result.is_error
    assert said in text_of(result)


async def test_an_answer_that_still_runs_must_be_waited_for(upstream: Sandbox) -> None:
    async with asyncio.timeout(30), in_memory(upstream) as client:
        first = await client.call_tool("llm_chat", {"prompt": "x", "model": "sandbox/stalls", "wait_s": 0})
        again = {"continue": data_of(first)["stream_id"], "prompt": "y"}
        assert "still running" in text_of(await client.call_tool("llm_chat", again))
        await client.call_tool("llm_chat_stop", {"stream_id": data_of(first)["stream_id"]})


async def test_what_was_asked_counts_with_what_all_streams_take(upstream: Sandbox) -> None:
    async with open_state(upstream) as state:

        @asynccontextmanager
        async def opened() -> AsyncIterator[McpState]:
            yield state

        upstream.script(answer("y"))
        before = state.streams.total_bytes
        async with asyncio.timeout(30), Client(build_mcp(opened, version="0")) as client:
            await client.call_tool("llm_chat", {"prompt": "x" * 100_000, "model": "acme/m"})
        assert state.streams.total_bytes - before > 100_000
        await state.streams.aclose()
        gc.collect()
        assert state.streams.total_bytes < 100_000

"""LangChain's `ChatOpenAI`, against the server as a process and before a scripted upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from client.sandbox import Sandbox
from tests.protocols.chat_completions.test_node_clients import said
from tests.support.process import running_server

ASK: list[Any] = [("user", "Why?")]
TIDE = {"type": "function", "function": {"name": "tide", "description": "x", "parameters": {"type": "object"}}}


@pytest.fixture
async def model(upstream: Sandbox) -> AsyncIterator[Any]:
    """The model of a server of its own process; nobody tries anything again."""
    langchain_openai = pytest.importorskip("langchain_openai", reason="scripts/install requirements-dev.txt")
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server(env=env) as server:
        yield langchain_openai.ChatOpenAI(
            model="acme/m", base_url=f"{server.url}/v1", api_key="none", max_retries=0, stream_usage=True
        )


async def streamed(model: Any, asked: list[Any]) -> Any:
    """All pieces of an answer, added up."""
    whole = None
    async for piece in model.astream(asked):
        whole = piece if whole is None else whole + piece
    return whole


async def test_langchain_sees_what_upstream_said(model: Any, upstream: Sandbox) -> None:
    """traps 2, 5, 6, 8"""
    script = said()
    for name in ("text", "whole", "call", "turn", "refused", "failed", "cut"):
        upstream.script(*script[name])
    found = await streamed(model, ASK)
    assert found.content == "Hello 🚀\u2028"
    assert found.usage_metadata["total_tokens"] == 5
    found = await model.ainvoke(ASK)
    assert (found.content, found.usage_metadata["total_tokens"]) == ("Hello", 5)
    assert found.response_metadata["token_usage"]["cost"] == 0.001
    with_tools = model.bind_tools([TIDE])
    called = await streamed(with_tools, ASK)
    (call,) = called.tool_calls
    assert (call["name"], call["args"], call["id"]) == ("tide", {}, "c1")
    messages = pytest.importorskip("langchain_core.messages")
    result = messages.ToolMessage("high", tool_call_id=call["id"])
    assert (await streamed(with_tools, [*ASK, called, result])).content == "High."
    asked = upstream.calls[3].json["messages"]
    assert [each["role"] for each in asked] == ["user", "assistant", "tool"]
    assert (asked[1]["tool_calls"][0]["id"], asked[2]["tool_call_id"]) == ("c1", "c1")
    with pytest.raises(openai.APIStatusError, match="more credits") as refused:
        await streamed(model, ASK)
    assert refused.value.status_code == 402
    for words in ("Provider lost", "ended in the middle"):
        pieces = []
        with pytest.raises(openai.APIError, match=words):  # noqa: PT012
            async for piece in model.astream(ASK):
                pieces.append(piece.content)
        assert "".join(pieces) == "Hel"
    assert len(upstream.calls) == 7

"""What a model is told when a tool cannot do what was asked, and when an answer is not what it hoped for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from client.config import StreamsConfig, UpstreamConfig
from client.errors import Failure, Refusal
from client.sandbox import COMMENT, DONE, HangUp, Hold, Reply, Sandbox, chunk
from mcp_app.server import build_mcp
from mcp_app.state import McpState
from tests.support.mcp.clients import answer, call, data_of, in_memory, open_state, text_of


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, ["prompt", "messages"]),
        ({"prompt": "  "}, ["prompt", "messages"]),
        ({"prompt": "hi", "model": "sandbox/ekho"}, ["sandbox/echo"]),
        ({"prompt": "hi", "model": "nobody/nothing-like-it"}, ["search_models"]),
        ({"prompt": "hi", "model": "sandbox/no-credits"}, ["openrouter.ai/settings/credits", "max_tokens"]),
        ({"prompt": "hi", "model": "sandbox/rate-limited"}, ["Retry after 1 s", "another model"]),
        ({"prompt": "hi", "model": "sandbox/breaks"}, ["Call again", "The answer up to there"]),
        ({"prompt": "hi", "model": "sandbox/hangs-up"}, ["Call again", "The answer up to there"]),
        ({"prompt": "hi", "max_tokens": "many"}, ["max_tokens: must be a valid integer"]),
        ({"prompt": "hi", "temperature": "nan"}, ["temperature: must be a finite number"]),
        ({"prompt": "hi", "wait_s": "inf"}, ["wait_s: must be a finite number"]),
        ({"prompt": ["hi"]}, ["prompt: must be a valid string"]),
        ({"messages": ["hi"]}, ["messages.0: must be an object"]),
    ],
)
async def test_a_failure_tells_the_model_what_to_do_next(
    upstream: Sandbox, arguments: dict[str, Any], said: list[str]
) -> None:
    result = await call(upstream, "llm_chat", arguments)
    assert result.is_error
    for words in said:
        assert words in text_of(result)
    for noise in ("Traceback", "pydantic", "http://", "GET /"):
        assert noise not in text_of(result)
    assert result.structured_content is None, "clients of the npm SDK would hold it against the schema"


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (400, "This endpoint's maximum context length is 8192 tokens", "min_context_length"),
        (402, "Insufficient credits", "openrouter.ai/settings/credits"),
        (403, "Your input was flagged by moderation", "Rephrase"),
        (404, "No endpoints found for acme/m", "search_models"),
        (429, "Rate limit exceeded", "Call again after a while"),
        (401, "No auth credentials found", "OPENROUTER_API_KEY"),
        (503, "No instances available", "another model"),
    ],
)
async def test_a_refusal_of_openrouter_tells_the_model_what_to_do_next(
    upstream: Sandbox, status: int, message: str, said: str
) -> None:
    upstream.script(Reply.error(status, message))
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m"})
    assert result.is_error
    assert said in text_of(result)


async def test_without_a_key_the_tools_say_how_to_set_one(upstream: Sandbox) -> None:
    config = UpstreamConfig()
    result = await call(upstream, "llm_chat", {"prompt": "hi"}, config=config)
    assert result.is_error
    assert "OPENROUTER_API_KEY" in text_of(result)
    account = await call(upstream, "account", {}, config=config)
    assert "OPENROUTER_API_KEY" in text_of(account)


async def test_an_answer_that_was_all_thinking_says_so(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "sandbox/reasoner", "max_tokens": 5})
    assert data_of(result)["text"] == ""
    assert "larger max_tokens" in text_of(result)
    assert "larger max_tokens" in data_of(result)["note"]


async def test_a_refusal_of_the_model_is_given_with_advice(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "sandbox/refuser"})
    assert data_of(result)["text"].startswith("I'm sorry")
    assert "Rephrase" in text_of(result)


async def test_a_refused_answer_that_holds_nothing_else_is_no_success_without_words(upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"content": "Half"}), chunk({}, "content_filter"), DONE))
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m"})
    assert "filter" in text_of(result)
    assert "filter" in data_of(result)["note"]


@pytest.mark.parametrize(
    ("delta", "advice"), [({"reasoning": "Hm."}, "include_reasoning"), ({"content": ""}, "use another model")]
)
async def test_an_empty_answer_is_explained(upstream: Sandbox, delta: dict[str, Any], advice: str) -> None:
    upstream.script(Reply.stream(chunk(delta), chunk({}, "stop"), DONE))
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m"})
    assert data_of(result)["text"] == ""
    assert advice in text_of(result)
    assert advice in data_of(result)["note"]


async def test_an_answer_that_was_cut_says_how_to_get_more(upstream: Sandbox) -> None:
    upstream.script(answer("Half of it", finish_reason="length"))
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m"})
    assert data_of(result)["text"] == "Half of it"
    assert "max_tokens" in text_of(result)


async def test_a_caller_whom_the_server_limits_is_told(upstream: Sandbox) -> None:
    async def admit(body: Mapping[str, Any], owner: str, key: str) -> None:
        assert owner == "local"
        raise Refusal(
            Failure(error="Too many.", type="too_many_requests", status=429, retryable=True, retry_after_s=7)
        )

    result = await call(upstream, "llm_chat", {"prompt": "hi"}, admit=admit)
    assert result.is_error
    assert "Retry after 7 s" in text_of(result)


async def test_an_answer_cut_before_its_first_token_is_an_error(upstream: Sandbox) -> None:
    upstream.script(Reply.stream(COMMENT, HangUp()))
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m"})
    assert result.is_error


async def test_a_server_at_its_limit_says_so(upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    async with in_memory(upstream, limits=StreamsConfig(max_active=1)) as client:
        running = await client.call_tool("llm_chat", {"prompt": "hi", "model": "acme/m", "wait_s": 0})
        second = await client.call_tool("llm_chat", {"prompt": "hi"})
        assert second.is_error
        assert "streams.max_active" in text_of(second)
        assert "call again" in text_of(second)
        await client.call_tool("llm_chat_stop", {"stream_id": data_of(running)["stream_id"]})


async def test_a_server_that_ends_says_so(upstream: Sandbox) -> None:
    async with open_state(upstream) as state:
        state.streams.is_draining = True

        @asynccontextmanager
        async def shared() -> AsyncIterator[McpState]:
            yield state

        async with Client(build_mcp(shared, version="0")) as client:
            result = await client.call_tool("llm_chat", {"prompt": "hi"})
    assert result.is_error
    assert "Call again in a few seconds" in text_of(result)


async def test_an_argument_that_is_missing_is_named(upstream: Sandbox) -> None:
    result = await call(upstream, "get_model", {})
    assert result.is_error
    assert text_of(result) == "model_id: is required. Correct that and call again."


async def test_a_resource_that_cannot_be_read_now_is_not_called_missing(upstream: Sandbox) -> None:
    async with in_memory(upstream) as client:
        with pytest.raises(MCPError, match="sandbox/echo") as missing:
            await client.read_resource("openrouter://models/sandbox/ekho")
        assert missing.value.error.code == INVALID_PARAMS
    for path in ("/models", "/model/sandbox/echo"):
        upstream.script_always(Reply.error(503, "No instances available"), path=path)
    async with in_memory(upstream) as client:
        with pytest.raises(MCPError) as down:
            await client.read_resource("openrouter://models/sandbox/echo")
        assert down.value.error.code == INTERNAL_ERROR


async def test_an_answer_that_outgrows_what_is_gathered_is_ended_with_words_for_a_model(upstream: Sandbox) -> None:
    """Break-it 10."""
    pieces = [chunk({"content": "x" * 1000}) for _ in range(200)]
    upstream.script(Reply.stream(*pieces, chunk({}, "stop"), DONE))
    limits = StreamsConfig(max_log_bytes=65_536, max_result_bytes=65_536)
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m"}, limits=limits)
    assert result.is_error
    assert "Ask for a shorter answer." in text_of(result)
    assert "stream=true" not in text_of(result)
    assert len(text_of(result).encode()) < 30_000

"""The official clients understand what the sandbox sends: its wire format is OpenRouter's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import openrouter
import pytest
from openrouter import components

from client.sandbox import Sandbox, open_sandbox

TALKING = ["echo", "reasoner", "tools", "search", "painter", "refuser", "long"]
TOOL = {
    "type": "function",
    "function": {"name": "get_tide", "parameters": {"properties": {"port": {"type": "string"}}}},
}
MESSAGES: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]
KNOBS = {"tokens_per_s": 0, "tokens": 50}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with open_sandbox(settle_s=0) as running, asyncio.timeout(20):
        yield running


@pytest.fixture
async def by_openai(sandbox: Sandbox) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=sandbox.base_url, api_key="any", max_retries=0) as ready:
        yield ready


@pytest.fixture
async def by_openrouter(sandbox: Sandbox) -> AsyncIterator[openrouter.OpenRouter]:
    async with openrouter.OpenRouter(api_key="any", server_url=sandbox.base_url) as ready:
        yield ready


async def create(api: openai.AsyncOpenAI, slug: str, *, stream: bool) -> Any:
    tools: list[Any] = [TOOL]
    body = {"sandbox": KNOBS}
    return await api.chat.completions.create(
        model=f"sandbox/{slug}", messages=MESSAGES, tools=tools, stream=stream, extra_body=body
    )


@pytest.mark.parametrize("slug", TALKING)
async def test_openai_reads_every_chunk(by_openai: openai.AsyncOpenAI, slug: str) -> None:
    chunks = [chunk async for chunk in await create(by_openai, slug, stream=True)]
    for chunk in chunks:
        type(chunk).model_validate(chunk.model_dump())
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[-1].usage.total_tokens > chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices[0].finish_reason == ("tool_calls" if slug == "tools" else "stop")


@pytest.mark.parametrize("slug", TALKING)
async def test_openai_reads_a_reply_that_is_not_streamed(by_openai: openai.AsyncOpenAI, slug: str) -> None:
    reply = await create(by_openai, slug, stream=False)
    type(reply).model_validate(reply.model_dump())
    assert reply.object == "chat.completion"
    assert reply.usage.completion_tokens > 0


async def test_openai_raises_what_the_sandbox_reports(by_openai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        await create(by_openai, "rate-limited", stream=True)
    with pytest.raises(openai.APIStatusError, match="requires more credits"):
        await create(by_openai, "no-credits", stream=True)
    with pytest.raises(openai.APIError, match="Network connection lost"):
        async for _ in await create(by_openai, "breaks", stream=True):
            pass


@pytest.mark.parametrize("slug", TALKING)
async def test_the_openrouter_sdk_reads_every_chunk(sandbox: Sandbox, slug: str) -> None:
    """Its client sends no field that it does not know, so the pace is set by hand."""
    async for text in _raw_chunks(sandbox, slug):
        components.ChatStreamChunk.model_validate_json(text)


async def _raw_chunks(sandbox: Sandbox, slug: str) -> AsyncIterator[bytes]:
    body = {"model": f"sandbox/{slug}", "messages": MESSAGES, "tools": [TOOL], "stream": True, "sandbox": KNOBS}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{sandbox.base_url}/chat/completions", json=body) as response,
    ):
        events = (await response.read()).split(b"\n\n")
    for event in events:
        if event.startswith(b"data: {"):
            yield event.removeprefix(b"data: ")


async def test_the_openrouter_sdk_streams(by_openrouter: openrouter.OpenRouter) -> None:
    stream = await by_openrouter.chat.send_async(model="sandbox/refuser", messages=MESSAGES, stream=True)
    async with stream:
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks).startswith("I'm sorry")
    assert chunks[-1].usage is not None


async def test_the_openrouter_sdk_reads_a_whole_reply(by_openrouter: openrouter.OpenRouter) -> None:
    reply = await by_openrouter.chat.send_async(model="sandbox/search", messages=MESSAGES, stream=False)
    assert isinstance(reply, components.ChatResult)
    assert reply.usage is not None
    assert reply.usage.server_tool_use_details is not None
    cost = await by_openrouter.generations.get_generation_async(id=reply.id)
    assert cost.data.total_cost == reply.usage.cost


@pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")  # the SDK's own, about `rate_limit`
async def test_the_openrouter_sdk_reads_the_catalogue_and_the_account(
    by_openrouter: openrouter.OpenRouter,
) -> None:
    assert (await by_openrouter.api_keys.get_current_key_metadata_async()).data.label == "sandbox"
    assert (await by_openrouter.credits.get_credits_async()).data.total_credits > 0
    assert (await by_openrouter.providers.list_async()).data[0].name == "Sandbox"
    listed = await by_openrouter.models.list_async(limit=5)
    assert listed is not None
    assert len(listed.result.data) == 5
    endpoints = await by_openrouter.endpoints.list_async(author="sandbox", slug="echo")
    assert endpoints.data.endpoints[0].model_id == "sandbox/echo"

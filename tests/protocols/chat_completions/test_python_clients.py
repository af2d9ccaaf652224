"""OpenAI's and OpenRouter's own Python clients, against the server as a process and before a scripted upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import openrouter
import pytest
from openrouter import components

from client.sandbox import COMMENT, DONE, HangUp, Hold, Reply, Sandbox
from server.config import Config
from tests.protocols.chat_completions.test_node_clients import PICTURE, STOP, USED, said, text
from tests.support.process import running_server
from tests.support.serving import Api, changed, serving

MESSAGES: list[Any] = [{"role": "user", "content": "Why?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}]


@pytest.fixture
async def url(upstream: Sandbox) -> AsyncIterator[str]:
    """Where a server of its own process serves; it tries nothing again."""
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server(env=env) as server, asyncio.timeout(30):
        yield server.url


@pytest.fixture
async def by_openai(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ready:
        yield ready


@pytest.fixture
async def by_openrouter(url: str) -> AsyncIterator[openrouter.OpenRouter]:
    async with openrouter.OpenRouter(api_key="none", server_url=f"{url}/api/v1") as ready:
        yield ready


async def ask(client: openai.AsyncOpenAI, *, stream: bool = True, **more: Any) -> Any:
    body = {"model": "acme/m", "messages": MESSAGES, **more}
    return await client.chat.completions.create(stream=stream, **body)


async def read(client: openai.AsyncOpenAI, **more: Any) -> tuple[str, list[Any]]:
    """The text and the chunks of a streamed answer."""
    chunks = [each async for each in await ask(client, **more)]
    return "".join(each.choices[0].delta.content or "" for each in chunks if each.choices), chunks


async def test_openai_reads_text_thinking_usage_pictures(by_openai: openai.AsyncOpenAI, upstream: Sandbox) -> None:
    """trap 5"""
    upstream.script(*said()["text"], *said()["picture"], *said()["whole"])
    content, chunks = await read(by_openai, stream_options={"include_usage": True})
    assert content == "Hello 🚀\u2028"
    assert chunks[0].choices[0].delta.reasoning == chunks[0].choices[0].delta.reasoning_content == "hm"
    assert (chunks[-1].usage.total_tokens, chunks[-1].usage.cost) == (5, 0.001)
    content, chunks = await read(by_openai, messages=[{"role": "user", "content": [PICTURE]}])
    assert chunks[0].choices[0].delta.images == [PICTURE]
    assert upstream.calls[1].json["messages"][0]["content"] == [PICTURE]
    found = await ask(by_openai, stream=False)
    assert (found.choices[0].message.content, found.choices[0].message.reasoning_content) == ("Hello", "hm")


async def test_openai_calls_a_tool_and_goes_on(by_openai: openai.AsyncOpenAI, upstream: Sandbox) -> None:
    """traps 4, 6"""
    upstream.script(*said()["call"], *said()["turn"])
    async with by_openai.chat.completions.stream(model="acme/m", messages=MESSAGES, tools=TOOLS) as stream:
        found = (await stream.get_final_completion()).choices[0].message
    assert found.tool_calls is not None
    assert [(each.function.name, each.function.arguments) for each in found.tool_calls] == [("tide", "{}")]
    turn = found.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": found.tool_calls[0].id, "content": "high"}
    assert (await read(by_openai, messages=[*MESSAGES, turn, result], tools=TOOLS))[0] == "High."
    assert upstream.calls[1].json["messages"][1]["tool_calls"][0]["id"] == "c1"


async def test_openai_raises_what_fails_before_and_in_the_middle(
    by_openai: openai.AsyncOpenAI, upstream: Sandbox
) -> None:
    """traps 2, 3, 8"""
    upstream.script(*said()["refused"], *said()["failed"], *said()["cut"])
    with pytest.raises(openai.APIStatusError, match="requires more credits") as refused:
        await ask(by_openai)
    assert refused.value.status_code == 402
    assert refused.value.request_id
    for words in ("Provider lost", "ended in the middle"):
        content = ""
        with pytest.raises(openai.APIError, match=words):  # noqa: PT012
            async for each in await ask(by_openai):
                content += each.choices[0].delta.content or ""
        assert content == "Hel"
    upstream.script(Reply.json({"error": {"code": 402, "message": "No credit"}}))
    with pytest.raises(openai.APIStatusError, match="No credit"):
        await ask(by_openai, stream=False)
    upstream.script(Reply.stream(text("Hel"), HangUp()))
    with pytest.raises(openai.InternalServerError):
        await ask(by_openai, stream=False)
    assert len(upstream.calls) == 5


async def test_openai_waits_as_it_is_told_and_asks_no_more_than_that_helps(url: str, upstream: Sandbox) -> None:
    """trap 8"""
    upstream.script(*said()["waited"], *said()["refused"])
    hopeless = Reply.error(429, "Slow down", headers={"Retry-After": "60"})
    upstream.script(hopeless, hopeless, hopeless)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=2) as client:
        assert (await read(client))[0] == "Hello"
        with pytest.raises(openai.APIStatusError):
            await ask(client)
        with pytest.raises(openai.RateLimitError):
            await ask(client)
    assert len(upstream.calls) == 4
    upstream.clear_scripts()


async def test_openai_leaves_and_upstream_is_closed(by_openai: openai.AsyncOpenAI, upstream: Sandbox) -> None:
    """trap 9"""
    upstream.script(Reply.stream(text("a"), text("b"), text("c"), Hold()))
    stream = await ask(by_openai)
    async for each in stream:
        if each.choices[0].delta.content == "c":
            break
    await stream.close()
    async with asyncio.timeout(1):
        await upstream.calls[0].closed.wait()
    assert upstream.calls[0].cancelled


async def test_trap_1_openai_reads_on_after_forty_pings(config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(COMMENT, Hold(go_on), text("Hello"), STOP, USED, DONE))
    async with (
        serving(changed(config, "server", ping_interval_s=0.01)) as api,
        openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as client,
    ):
        reading = asyncio.create_task(read(client))
        await upstream.wait_call(0)
        await _pings(api, 40)
        go_on.set()
        assert (await reading)[0] == "Hello"


async def _pings(api: Api, count: int) -> None:
    """Returns when another reader of the same server has seen so many."""
    (stream,) = api.streams.kept_of("local")
    async with api.http.get(f"{api.url}/chat/{stream.id}") as response:
        body = b""
        while body.count(b": ping") < count:
            body += await response.content.readany()


@pytest.mark.filterwarnings("ignore:ast\\.:DeprecationWarning")  # of a library of the SDK's, under 3.12 and newer
async def test_trap_14_openai_and_openrouter_read_the_same_list(
    by_openai: openai.AsyncOpenAI, by_openrouter: openrouter.OpenRouter, url: str
) -> None:
    listed = [model async for model in by_openai.models.list()]
    found = await by_openai.models.retrieve("sandbox/echo")
    assert (found.id, found.owned_by, found.object) == ("sandbox/echo", "sandbox", "model")
    with pytest.raises(openai.NotFoundError) as missing:
        await by_openai.models.retrieve("acme/nothing:free")
    assert missing.value.code == "model_not_found"
    for mount in ("/v1", "/api/v1"):
        async with openrouter.OpenRouter(api_key="none", server_url=url + mount) as client:
            page = await client.models.list_async()
        assert page is not None
        assert [model.id for model in page.result.data] == [model.id for model in listed]
    endpoints = await by_openrouter.endpoints.list_async(author="sandbox", slug="echo")
    assert endpoints.data.endpoints[0].model_id == "sandbox/echo"


@pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")  # the SDK's own, about `rate_limit`
async def test_openrouters_sdk_reads_answers_and_the_callers_account(
    by_openrouter: openrouter.OpenRouter, upstream: Sandbox
) -> None:
    """traps 2, 4"""
    upstream.script(*said()["text"], *said()["call"], *said()["failed"], *said()["cut"], *said()["refused"])
    seen = [await _read(by_openrouter, tools=TOOLS) for _ in range(4)]
    assert [(content, error) for content, error, _ in seen[:2]] == [("Hello 🚀\u2028", None), ("", None)]
    assert (seen[2][:2], seen[3][0]) == (("Hel", "Provider lost"), "Hel")
    assert "ended in the middle" in seen[3][1]
    assert seen[0][2][-1].usage.cost == 0.001
    details = [each for one in seen[1][2] for choice in one.choices for each in choice.delta.reasoning_details or ()]
    assert [each.signature for each in details if each.signature] == ["sig"]
    with pytest.raises(openrouter.errors.OpenRouterError) as refused:
        await _read(by_openrouter)
    assert refused.value.status_code == 402
    assert "more credits" in str(refused.value)
    assert (await by_openrouter.api_keys.get_current_key_metadata_async()).data.label == "local"
    reply = await by_openrouter.chat.send_async(model="sandbox/search", messages=MESSAGES, stream=False)
    assert isinstance(reply, components.ChatResult)
    assert reply.usage is not None
    cost = await by_openrouter.generations.get_generation_async(id=reply.id)
    assert cost.data.total_cost == reply.usage.cost


async def _read(client: openrouter.OpenRouter, **more: Any) -> tuple[str, Any, list[Any]]:
    stream = await client.chat.send_async(model="acme/m", messages=MESSAGES, stream=True, **more)
    async with stream:
        chunks = [each async for each in stream]
    content = "".join(choice.delta.content or "" for each in chunks for choice in each.choices)
    errors = [each.error.message for each in chunks if getattr(each, "error", None)]
    return content, errors[0] if errors else None, chunks

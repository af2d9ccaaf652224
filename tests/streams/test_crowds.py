"""Many readers of one stream: all get the same, and when many leave at once nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client.sandbox import Hold, Mark, Reply, Sandbox
from tests.support.callers import Caller, call_and_read_head
from tests.support.chunks import END, STOP, text
from tests.support.process import ServerProcess, running_server
from tests.support.serving import question
from tests.support.sse_reader import parse_events, text_of


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
async def server(upstream: Sandbox, request: pytest.FixtureRequest) -> AsyncIterator[ServerProcess]:
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "STREAM_GRACE": "5"}
    async with running_server(env=env, uvloop=request.param) as process, asyncio.timeout(60):
        yield process
        await process.wait_at_rest()
        assert b"Traceback" not in process.output


async def post(server: ServerProcess) -> Caller:
    return await call_and_read_head(server.port, "POST", "/chat", question())


async def crowd(server: ServerProcess, path: str, size: int) -> list[Caller]:
    """So many readers, all attached."""
    readers: list[Caller] = []
    while len(readers) < size:  # not all at once: the listening socket's queue is finite
        ways_in = (call_and_read_head(server.port, "GET", path) for _ in range(min(100, size - len(readers))))
        readers += await asyncio.gather(*ways_in)
    return readers


async def leave(callers: list[Caller]) -> None:
    await asyncio.gather(*(each.aclose() for each in callers))


async def test_five_hundred_readers_of_one_stream_get_the_same_bytes(
    upstream: Sandbox, server: ServerProcess
) -> None:
    go_on = asyncio.Event()
    words = [f"word {number} " for number in range(60)]
    upstream.script(Reply.stream(*map(text, words[:20]), Hold(go_on), *map(text, words[20:]), STOP, END))
    first = await post(server)
    readers = [first, *await crowd(server, first.headers["location"], 500)]
    go_on.set()
    bodies = set(await asyncio.gather(*(each.read_body() for each in readers)))
    await leave(readers)
    assert len(bodies) == 1
    assert text_of(parse_events(bodies.pop())) == "".join(words)


async def test_when_half_of_a_thousand_readers_go_at_once_the_others_miss_nothing(
    upstream: Sandbox, server: ServerProcess
) -> None:
    half_way, go_on = asyncio.Event(), asyncio.Event()
    words = [f"word {number} " for number in range(20)]
    upstream.script(
        Reply.stream(*map(text, words[:10]), Mark(half_way), Hold(go_on), *map(text, words[10:]), STOP, END)
    )
    first = await post(server)
    readers = await crowd(server, first.headers["location"], 1000)
    await half_way.wait()
    for each in readers[::2]:
        each.reset()
    async with aiohttp.ClientSession() as http:
        while (await server.counts(http))["readers"] != 501:
            pass
    go_on.set()
    staying = [first, *readers[1::2]]
    bodies = set(await asyncio.gather(*(each.read_body() for each in staying)))
    await leave(staying)
    assert len(bodies) == 1
    assert text_of(parse_events(bodies.pop())) == "".join(words)

"""What a finished answer takes is counted, so that `streams.max_total_bytes` bounds the process."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client.config import StreamsConfig, UpstreamConfig
from client.sandbox import Hold, Reply, Sandbox, open_sandbox
from client.streams.readable import KEPT_BYTES
from client.streams.stream import Stream
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.serving import changed, question, serving

BODY: dict[str, Any] = {"model": "acme/m", "messages": [{"role": "user", "content": "Why?"}], "stream": True}
WHOLE = Reply.stream(text("x"), STOP, END)
REFUSED = Reply.error(404, "No such model", {"reasons": ["it is not there"] * 30})


@asynccontextmanager
async def open_streams(reply: Reply, **changes: Any) -> AsyncIterator[Streams]:
    async with open_sandbox(record=0) as upstream:
        upstream.script_always(reply)
        upstream.script_always(Reply.error(403, "Not yours"), path="/generation")
        config = UpstreamConfig(base_url=upstream.base_url, max_retries=0)
        async with create_session(config) as session:
            streams = Streams(OpenRouterClient(session, config), StreamsConfig(grace_s=60, **changes))
            yield streams
            await streams.aclose()


async def run_to_its_end(streams: Streams, **more: Any) -> Stream:
    stream = await streams.start({**BODY, **more}, owner="ann")
    await stream.ended.wait()
    await stream.wait_closed()
    return stream


@pytest.mark.parametrize("reply", [WHOLE, REFUSED], ids=["whole", "refused"])
async def test_a_finished_answer_takes_no_more_than_it_is_counted_with(reply: Reply) -> None:
    """break-it 29, faults S1"""
    number = 400
    async with open_streams(reply, retain_s=600) as streams:
        for _ in range(100):  # fills pools
            await run_to_its_end(streams)
        counted_bytes = streams.total_bytes
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(number):
                await run_to_its_end(streams, messages=["x" * 5000])
            gc.collect()
            taken_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        counted_bytes = streams.total_bytes - counted_bytes
        assert streams.kept == number + 100
    assert taken_bytes <= counted_bytes + 20_000  # tables that grew, connections
    assert counted_bytes <= number * (KEPT_BYTES + 1500)


@pytest.fixture
def silent() -> Iterator[None]:
    """No log lines, which the test runner would keep."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("silent")
async def test_nothing_more_is_kept_of_an_answer_that_was_asked_for_over_http(config: Config) -> None:
    """faults S1"""
    async with open_sandbox(record=0) as upstream:
        upstream.script_always(REFUSED)
        async with serving(changed(config, "upstream", base_url=upstream.base_url)) as api:
            for _ in range(1100):  # fills pools, and what is remembered of the last thousand
                await api.request("POST", "/chat", b'{"message": "x"}', Content_Type="application/json")
            counted_bytes = api.streams.total_bytes
            gc.collect()
            tracemalloc.start()
            try:
                for _ in range(600):
                    await api.request("POST", "/chat", b'{"message": "x"}', Content_Type="application/json")
                gc.collect()
                taken_bytes, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            counted_bytes = api.streams.total_bytes - counted_bytes
    assert taken_bytes <= counted_bytes + 200_000  # and connections


async def test_what_only_a_running_answer_needs_is_let_go_at_its_end() -> None:
    """faults S1"""
    async with open_streams(WHOLE) as streams:
        stream = await streams.start(BODY, owner="ann")
        pump = stream.pump
        await stream.ended.wait()
        await stream.wait_closed()
        assert pump not in gc.get_referents(stream)
        with pytest.raises(LookupError):
            _ = stream.pump
        facts = (stream.model, stream.generation_id, stream.finish_reason, stream.settlement.total_cost)
        assert facts == ("acme/m", "gen-1", "stop", 0.001)


async def test_a_look_up_after_the_end_still_finds_the_cost(upstream: Sandbox, config: Config) -> None:
    """faults S1"""
    async with serving(config) as api:
        body = {"model": "sandbox/hangs-up", "sandbox": {"tokens_per_s": 0, "after_tokens": 3}}
        response, _ = await api.chat(**body)
        path = f"{response.headers['Location']}/result"
        usage: dict[str, Any] = {}
        async with asyncio.timeout(10):
            while not usage.get("settled"):
                async with api.http.get(api.url + path) as found:
                    usage = (await found.json())["usage"]
        assert usage["total_cost"] > 0


async def test_refusals_count_and_the_oldest_go_first() -> None:
    """break-it 29"""
    limit = 100_000
    async with open_streams(REFUSED, retain_s=600, max_total_bytes=limit) as streams:
        started = [await run_to_its_end(streams) for _ in range(300)]
        assert streams.total_bytes <= limit
        known = [streams.get(stream.id, "ann") is not None for stream in started]
        assert 30 < sum(known) < 300
        assert known == sorted(known)
        assert streams.total_bytes == sum(s.log.size_bytes + KEPT_BYTES for s in started if streams.get(s.id, "ann"))


async def test_one_timer_is_enough_for_all_that_is_kept() -> None:
    """faults S1"""
    async with open_streams(WHOLE, retain_s=90_000) as streams:
        for _ in range(20):
            await run_to_its_end(streams)
        loop: Any = asyncio.get_running_loop()
        waiting = [
            timer for timer in loop._scheduled if timer.when() > loop.time() + 80_000 and not timer.cancelled()
        ]
        assert len(waiting) == 1
        streams.configure(StreamsConfig(retain_s=0))
        assert (streams.kept, streams.total_bytes) == (0, 0)


async def test_what_is_kept_goes_after_its_time_whoever_reads_it(upstream: Sandbox, config: Config) -> None:
    """faults S1"""
    upstream.script_always(WHOLE)
    async with serving(changed(config, "streams", retain_s=0.0)) as api:
        for asked in (api.chat, api.chat_whole):
            response, _ = await asked()
            assert response.status == 200
        async with asyncio.timeout(5):
            while api.streams.kept:
                await api.request("GET", "/health")
        assert api.streams.total_bytes == 0


async def test_health_counts_all_that_is_kept(upstream: Sandbox, config: Config) -> None:
    """break-it 29"""
    upstream.script(*[REFUSED] * 5, Reply.stream(text("x"), Hold()))
    async with serving(config) as api:
        for _ in range(5):
            await api.chat()
        running = await api.http.post(f"{api.url}/chat", json=question())
        async with api.http.get(f"{api.url}/health") as response:
            counts = (await response.json())["streams"]
        assert (counts["kept"], counts["readers"], counts["active"]) == (6, 1, 1)
        assert counts["log_bytes"] >= 6 * KEPT_BYTES
        running.close()

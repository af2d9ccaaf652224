"""Readers of answers that another process runs: it is killed, stopped for a while, cut off; and there are many."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client.sandbox import Sandbox
from client.streams.seal import JUMP
from tests.shared.real import Got, begin, read_post, read_some, sharing_process
from tests.shared.waiting import until
from tests.support.engines import Engine

LEASE_S = 1.0
PACED = {"sandbox": {"tokens_per_s": 100, "tokens": 20_000}}
SHORT = {"sandbox": {"tokens_per_s": 200, "tokens": 200}}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def test_after_the_death_of_an_owner_all_have_the_end_within_a_lease_and_two_seconds(
    engine: Engine, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with sharing_process(upstream, engine) as owner, sharing_process(upstream, engine) as other:
        begun = [await begin(http, owner.url, **PACED) for _ in range(5)]
        elsewhere = [Got(got.stream_id) for got, _ in begun for _ in range(3)]
        reading = [asyncio.create_task(read_some(http, other.url, got)) for got in elsewhere]
        reading += [asyncio.create_task(read_post(got, response)) for got, response in begun]
        await until(lambda: all(got.position > 20 for got in elsewhere))
        await owner.stop(signal.SIGKILL)
        killed_s = time.monotonic()
        await asyncio.gather(*reading)
        took_s = time.monotonic() - killed_s
        assert took_s < LEASE_S + 2
        for got, _ in begun:  # who read at the owner comes back with what it has, maybe more than anybody else knows
            await read_some(http, other.url, got)
        for got in [*elsewhere, *(got for got, _ in begun)]:
            got.judge()
            assert got.events[-1].number is not None
            assert got.events[-1].number > JUMP
            assert got.events[-2].data["type"] == "stream_interrupted"
        for got, _ in begun:
            assert {each.events[-1].number for each in elsewhere if each.stream_id == got.stream_id} == {got.position}
            late = Got(got.stream_id)
            await read_some(http, other.url, late)
            late.judge()
            assert late.events[-1].number == got.position


async def test_an_owner_that_was_only_stopped_for_a_while_tells_the_same_end_and_closes_upstream(
    engine: Engine, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with sharing_process(upstream, engine) as owner, sharing_process(upstream, engine) as other:
        here, response = await begin(http, owner.url, **PACED)
        there = Got(here.stream_id)
        reading = asyncio.create_task(read_some(http, other.url, there))
        reading_here = asyncio.create_task(read_post(here, response))
        await until(lambda: there.position > 20)
        owner.process.send_signal(signal.SIGSTOP)
        await reading
        owner.process.send_signal(signal.SIGCONT)
        await reading_here
        for got in (here, there):
            got.judge()
        assert here.events[-2:] == there.events[-2:]
        assert there.position > JUMP
        await asyncio.wait_for(upstream.calls[0].closed.wait(), 20)
        assert upstream.calls[0].cancelled


async def test_a_reader_that_has_more_than_the_engine_gets_nothing_twice(
    engine: Engine, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    """The engine hears of events a while after the owner's own readers; then the owner is killed."""
    async with (
        sharing_process(upstream, engine, REDIS_FLUSH_MS="1000") as owner,
        sharing_process(upstream, engine) as other,
    ):
        for_long = {"sandbox": {"tokens_per_s": 500, "tokens": 20_000}}
        got, response = await begin(http, owner.url, **for_long)
        reading = asyncio.create_task(read_post(got, response))
        await until(lambda: got.position > 700)
        known = Got(got.stream_id)
        await read_some(http, other.url, known, most=1)
        await owner.stop(signal.SIGKILL)
        await reading
        had = got.position
        await read_some(http, other.url, got)
        got.judge()
        await read_some(http, other.url, known)
        known.judge()
        assert [event.number for event in got.events[-2:]] == [event.number for event in known.events[-2:]]
        assert len(known.events) - 2 < had
        assert got.events[: len(known.events) - 2] == known.events[:-2]


async def test_a_thousand_readers_come_to_another_process_at_once(
    engine: Engine, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with sharing_process(upstream, engine) as owner, sharing_process(upstream, engine) as other:
        mine, response = await begin(http, owner.url, sandbox={"tokens_per_s": 20, "tokens": 200})
        readers = [Got(mine.stream_id) for _ in range(1000)]
        reading = [asyncio.create_task(read_some(http, other.url, got)) for got in readers]
        await read_post(mine, response)
        await asyncio.gather(*reading)
        async with http.get(f"{other.url}/health") as health:
            assert (await health.json())["shared"]["mirrors"] == 1
        mine.judge()
        for got in readers:
            while not got.has_ended:  # connections were refused while so many came
                await read_some(http, other.url, got)
            assert got.events == mine.events
        assert len(upstream.calls) == 1


async def test_a_stop_from_another_process_closes_upstream_at_once(
    engine: Engine, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with sharing_process(upstream, engine) as owner, sharing_process(upstream, engine) as other:
        took_s = []
        for number in range(11):
            got, response = await begin(http, owner.url, **PACED)
            asked_s = time.monotonic()
            async with http.delete(f"{other.url}/chat/{got.stream_id}") as reply:
                assert reply.status == 200
                assert (await reply.json())["finish_reason"] == "cancelled"
            await asyncio.wait_for(upstream.calls[number].closed.wait(), 20)
            closed_s = upstream.calls[number].closed_at_s
            assert closed_s is not None
            took_s.append(closed_s - asked_s)
            await read_post(got, response)
            got.judge()
            assert got.events[-1].data["finish_reason"] == "cancelled"
        assert statistics.median(took_s) < 0.1, took_s


async def test_answers_that_are_read_elsewhere_outlive_readers_without_grace(
    engine: Engine, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with sharing_process(upstream, engine) as owner, sharing_process(upstream, engine) as other:
        got, response = await begin(http, owner.url, grace_s=0, **SHORT)
        there = Got(got.stream_id)
        reading = asyncio.create_task(read_some(http, other.url, there))
        await until(lambda: there.position > 5)
        response.close()
        await reading
        there.judge()
        assert there.events[-1].data["completed"]
        got, response = await begin(http, owner.url, grace_s=0, **PACED)
        there = Got(got.stream_id)
        await read_some(http, other.url, there, most=5)
        response.close()
        await asyncio.wait_for(upstream.calls[1].closed.wait(), 20)
        late = Got(got.stream_id)
        await read_some(http, other.url, late)
        late.judge()
        assert late.events[-1].data["finish_reason"] == "abandoned"

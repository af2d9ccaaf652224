"""Of many answers those that nobody waits for are written half as often: which those are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox
from client.streams.stream import Stream
from server.config import Config
from server.shared.outbox import Outbox
from tests.shared.processes import asked, read_on, shared_of, sharing
from tests.shared.waiting import until
from tests.support.chunks import END, STOP, text
from tests.support.engines import Engine
from tests.support.serving import Api, changed
from tests.support.sse_reader import read_until, text_of

pytestmark = pytest.mark.usefixtures("upstream")
MANY = 20
NEVER_MS = 1e9
"""What is written is written by the test's own flushes."""


@pytest.fixture
def config(config: Config) -> Config:
    """With a grace time, since readers come and go."""
    return changed(config, "streams", grace_s=20.0)


@asynccontextmanager
async def held(one: Api, upstream: Sandbox, count: int) -> AsyncIterator[tuple[list[str], asyncio.Event]]:
    """So many answers whose first words are written, and whose next ones are said once the event is set."""
    go_on, at_last = asyncio.Event(), asyncio.Event()
    upstream.script(
        *[Reply.stream(text("one "), Hold(go_on), text("two "), Hold(at_last), text("three"), STOP, END)] * count
    )
    async with AsyncExitStack() as stack:
        begun = [await stack.enter_async_context(asked(one)) for _ in range(count)]
        responses: list[aiohttp.ClientResponse] = [response for _, response in begun]
        for response in responses:
            await read_until(response, b"one ")
        await written(one)
        yield [stream_id for stream_id, _ in begun], go_on
        go_on.set()
        at_last.set()
        for response in responses:
            await response.read()
        await written(one)
        await until(lambda: not shared_of(one).copies.outbox.copies)


async def written(one: Api) -> None:
    """Returns when all is written: by a flush of its own where there are no others."""
    copies = shared_of(one).copies
    while copies._flush_s > 1 and unwritten(one):
        await copies.outbox.flush()
    await until(lambda: not unwritten(one))


def unwritten(one: Api) -> set[str]:
    """The answers with something that the engine has not."""
    copies = shared_of(one).copies
    return {stream.id for stream in copies.outbox.copies if waits(copies.outbox, stream)}


def waits(outbox: Outbox, stream: Stream) -> bool:
    return outbox.copies[stream].acked < stream.log.last


async def test_of_many_only_those_that_somebody_reads_elsewhere_go_with_every_flush(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    async with sharing(config, engine, flush_ms=NEVER_MS) as (one, other), held(one, upstream, MANY) as (ids, go_on):
        outbox = shared_of(one).copies.outbox
        read = one.streams._streams[ids[3]]
        elsewhere = await other.http.get(f"{other.url}/chat/{read.id}")
        begun = await read_until(elsewhere, b"one ")
        await until(lambda: outbox.copies[read].read_by == {shared_of(other).store.rid})
        go_on.set()
        await until(lambda: unwritten(one) == set(ids))
        await outbox.flush(takes_all=False)
        assert unwritten(one) == set(ids) - {read.id}
        await read_until(elsewhere, b"two ")
        await outbox.flush()
        assert not unwritten(one)
        elsewhere.close()
        await until(lambda: not outbox.copies[read].read_by)
    assert begun


async def test_few_all_go_with_every_flush(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with sharing(config, engine, 1, flush_ms=NEVER_MS) as (one,), held(one, upstream, 3) as (ids, go_on):
        go_on.set()
        await until(lambda: unwritten(one) == set(ids))
        await shared_of(one).copies.outbox.flush(takes_all=False)
        assert not unwritten(one)


async def test_ends_and_full_logs_go_with_every_flush(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with sharing(config, engine, 1, flush_ms=NEVER_MS) as (one,), held(one, upstream, MANY) as (ids, go_on):
        outbox = shared_of(one).copies.outbox
        ended, full = (one.streams._streams[each] for each in ids[:2])
        full.max_log_bytes = 1
        go_on.set()
        await until(lambda: unwritten(one) == set(ids))
        await ended.end("cancelled")
        await outbox.flush(takes_all=False)
        assert ended not in outbox.copies
        assert not waits(outbox, full)
        assert len(outbox.changed) == MANY - 2
        full.max_log_bytes = 1 << 20
        full.note_progress()


@pytest.mark.parametrize(("flush_ms", "of_all"), [(5.0, 20), (25.0, 4), (60.0, 1)])
async def test_nothing_waits_for_more_than_100_ms(
    engine: Engine, config: Config, upstream: Sandbox, flush_ms: float, of_all: int
) -> None:
    told: list[bool] = []
    async with sharing(config, engine, 1, flush_ms=flush_ms) as (one,), held(one, upstream, 1) as ((stream_id,), _):
        outbox = shared_of(one).copies.outbox
        flush, stream = outbox.flush, one.streams._streams[stream_id]

        async def note(*, takes_all: bool = True) -> None:
            told.append(takes_all)
            await flush(takes_all=takes_all)
            outbox.changed.add(stream)

        outbox.flush = note  # type: ignore[method-assign]
        outbox.changed.add(stream)
        await until(lambda: len(told) >= 3 * of_all)
        first = told.index(True)
        assert first < of_all
        assert [number for number, all_go in enumerate(told) if all_go] == [*range(first, len(told), of_all)]
        outbox.flush = flush  # type: ignore[method-assign]


async def test_what_nobody_reads_elsewhere_is_there_all_the_same(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    async with sharing(config, engine) as (one, other), held(one, upstream, MANY) as (ids, go_on):
        go_on.set()
        await until(lambda: not unwritten(one))
        begun = [await other.http.get(f"{other.url}/chat/{each}") for each in ids]
        for response in begun:
            await read_until(response, b"two ")
            response.close()
    assert ids


async def test_an_answer_that_ended_is_read_to_its_end(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with sharing(config, engine) as (one, other):
        async with held(one, upstream, MANY) as (ids, _):
            pass
        for each in ids:
            assert text_of(await read_on(other, each)) == "one two three"

"""The engine is lost, frozen, emptied, full, or another one: answers go on, and what was lost is made good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.shared.processes import asked, read_on, shared_of, sharing, wait_copied, wait_over
from tests.shared.waiting import until
from tests.support.chunks import END, STOP, text
from tests.support.engines import PASSWORD, USER, Engine, running_engine
from tests.support.proxies.switch import switch_to
from tests.support.serving import Api, changed
from tests.support.sse_reader import parse_events, read_until, text_of


@pytest.fixture
def config(config: Config) -> Config:
    """With a grace time, since readers come and go."""
    return changed(config, "streams", grace_s=10.0)


@dataclass
class Answer:
    """One answer of `one` in three parts, read there and in `other`."""

    one: Api
    other: Api
    stream_id: str
    second: asyncio.Event
    third: asyncio.Event
    response: aiohttp.ClientResponse
    elsewhere: aiohttp.ClientResponse
    here: bytes = b""
    there: bytes = b""

    async def read(self) -> tuple[str, str]:
        """What each reader got, which must be the same, when the answer is let go."""
        self.second.set()
        self.third.set()
        here = parse_events(self.here + await self.response.read())
        there = parse_events(self.there + await self.elsewhere.read())
        assert here == there
        assert here[-1].data["finish_reason"] == "stop"
        return text_of(here), text_of(there)

    async def both_read(self, marker: bytes) -> None:
        """Returns when both readers have got so far."""
        self.here += await read_until(self.response, marker)
        self.there += await read_until(self.elsewhere, marker)


@asynccontextmanager
async def answering(config: Config, engine: Engine | str, upstream: Sandbox) -> AsyncIterator[Answer]:
    """An answer that stands at its first part, read by both."""
    second, third = asyncio.Event(), asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(second), text("two "), Hold(third), text("three"), STOP, END))
    async with (
        sharing(config, engine) as (one, other),
        asked(one) as (stream_id, response),
        other.http.get(f"{other.url}/chat/{stream_id}") as elsewhere,
    ):
        assert elsewhere.status == 200
        answer = Answer(one, other, stream_id, second, third, response, elsewhere)
        await answer.both_read(b"one ")
        yield answer


async def lost(*apis: Api) -> None:
    """Returns when each knows that there is no contact."""
    await until(lambda: not any(shared_of(api).has_contact for api in apis))


async def found(*apis: Api) -> None:
    """Returns when each is in contact again."""
    await until(lambda: all(shared_of(api).has_contact for api in apis))


async def test_an_engine_that_is_gone_and_comes_back_empty(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with answering(config, engine, upstream) as answer:
        engine.kill()
        await lost(answer.one, answer.other)
        answer.second.set()
        answer.here += await read_until(answer.response, b"two ")  # its own readers notice nothing
        refused, body = await answer.other.request("GET", "/chat/AAAAAAAAAAAAAAAAAAAAAA")
        assert (refused.status, b"store_unavailable" in body) == (503, True)
        assert "Retry-After" in refused.headers
        ready, _ = await answer.other.request("GET", "/ready")
        assert ready.status == 200
        engine.start()
        await found(answer.one, answer.other)
        answer.there += await read_until(answer.elsewhere, b"two ")
        assert await answer.read() == ("one two three", "one two three")
        assert shared_of(answer.one).figures.restored == 1
        assert shared_of(answer.one).figures.fenced == 0


async def test_an_emptied_engine_gets_running_answers_again(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    async with answering(config, engine, upstream) as answer:
        for _ in range(3):
            engine.empty()
        answer.second.set()
        await answer.both_read(b"two ")
        assert await answer.read() == ("one two three", "one two three")
        assert await read_on(answer.other, answer.stream_id) == await read_on(answer.one, answer.stream_id)


async def test_an_answer_is_written_again_only_by_one_that_would_be_missed(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(go_on), text("two"), STOP, END))
    async with sharing(config, engine, 1, lease_s=60.0) as (one,), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        await wait_copied(one, stream_id)
        keys = shared_of(one).store.keys
        with engine.admin() as admin:
            admin.flushall()
            go_on.set()
            await until(lambda: admin.hget(keys.meta(stream_id), "rid"))
            owner = admin.hget(keys.meta(stream_id), "rid")
            assert owner is not None
            assert admin.zscore(keys.live, owner) is not None
        await response.read()


async def test_a_finished_answer_that_was_lost_is_unknown_only_once_everybody_was_back(
    engine: Engine, config: Config
) -> None:
    async with sharing(config, engine) as (one, other), asked(one, model="sandbox/echo") as (stream_id, response):
        await response.read()
        await wait_over(one, stream_id)
        epoch = shared_of(other).store.epoch
        engine.empty()
        await until(lambda: shared_of(other).store.epoch != epoch and shared_of(other).has_contact)
        refused, _ = await other.request("GET", f"/chat/{stream_id}")
        assert refused.status == 503
        await until(lambda: not shared_of(other).store.may_lack)
        refused, _ = await other.request("GET", f"/chat/{stream_id}")
        assert refused.status == 404
        assert text_of(await read_on(one, stream_id))  # whose own it is


async def test_nobody_is_buried_after_a_silence_of_the_engine(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    """All leases are old then, and claims that waited in its socket would be carried out first."""
    async with answering(config, engine, upstream) as answer:
        for _ in range(2):
            engine.freeze()
            await lost(answer.one, answer.other)
            await asyncio.sleep(1.5)  # longer than a lease
            engine.thaw()
            await found(answer.one, answer.other)
        await until(lambda: shared_of(answer.other).store.contact_s > 1.5)  # now it may be buried who is gone
        answer.second.set()
        await answer.both_read(b"two ")
        assert await answer.read() == ("one two three", "one two three")
        for api in (answer.one, answer.other):
            assert shared_of(api).figures.buried == shared_of(api).figures.fenced == 0


async def test_a_failover_that_loses_what_it_had_acknowledged(config: Config, upstream: Sandbox) -> None:
    with running_engine("redis") as master:
        async with switch_to(master.port) as copying, switch_to(master.port) as switch:
            with running_engine("redis", "--replicaof", f"127.0.0.1 {copying.port}") as replica:
                url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{switch.port}"
                async with answering(config, url, upstream) as answer:
                    await wait_copied(answer.one, answer.stream_id)
                    await until(lambda: has_all_of(master, replica))
                    copying.lead_to(None)
                    answer.second.set()
                    await answer.both_read(b"two ")
                    await wait_copied(answer.one, answer.stream_id)  # acknowledged, and nowhere but in the master
                    master.kill()
                    with replica.admin() as admin:
                        admin.replicaof("NO", "ONE")
                    switch.lead_to(replica.port)
                    assert await answer.read() == ("one two three", "one two three")
                    await wait_over(answer.one, answer.stream_id)
                    assert shared_of(answer.one).figures.refits == 1
                    await found(answer.one, answer.other)
                    here = await read_on(answer.one, answer.stream_id)
                    assert await read_on(answer.other, answer.stream_id) == here


def has_all_of(master: Engine, replica: Engine) -> bool:
    with master.admin() as one, replica.admin() as other:
        told = other.info("replication")
        return bool(one.dbsize() == other.dbsize() and told.get("master_link_status") == "up")


async def test_an_engine_without_memory_left_takes_no_more_and_can_be_read(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    async with answering(config, engine, upstream) as answer:
        await wait_copied(answer.one, answer.stream_id)
        with engine.admin() as admin:
            admin.config_set("maxmemory", "1mb")
            await lost(answer.one, answer.other)
            answer.second.set()
            answer.here += await read_until(answer.response, b"two ")
            async with answer.other.http.get(f"{answer.other.url}/chat/{answer.stream_id}") as again:
                assert again.status == 200
                await read_until(again, b"one ")
            unknown, _ = await answer.other.request("GET", "/chat/begun-meanwhile-and-not-told")
            assert unknown.status == 503  # it may have been begun elsewhere since
            admin.config_set("maxmemory", "0")
        await found(answer.one, answer.other)
        answer.there += await read_until(answer.elsewhere, b"two ")
        assert await answer.read() == ("one two three", "one two three")


async def test_a_server_starts_without_its_engine_and_finds_it_later(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    engine.kill()
    upstream.script(Reply.stream(text("alone"), STOP, END), Reply.stream(text("shared"), STOP, END))
    async with sharing(config, engine) as (one, other):
        assert text_of((await one.chat())[1]) == "alone"
        engine.start()
        await found(one, other)
        async with asked(one) as (stream_id, response):
            await response.read()
        await wait_over(one, stream_id)
        assert text_of(await read_on(other, stream_id)) == "shared"


async def test_what_was_sealed_while_its_owner_was_cut_off_ends_there_too(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    """As of two engines that both take writes, and of an owner whose connection was lost for longer than a lease."""
    second = asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(second), text("two "), Hold()))
    async with switch_to(engine.port) as switch:
        url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{switch.port}"
        async with (
            sharing(config, url, 1) as (one,),
            sharing(config, engine, 1) as (other,),
            asked(one) as (stream_id, response),
        ):
            begun = await read_until(response, b"one ")
            await wait_copied(one, stream_id)
            await until(lambda: shared_of(other).store.contact_s > 1.0)
            switch.lead_to(None)
            there = await read_on(other, stream_id)  # ends: it is buried
            await until(lambda: shared_of(other).figures.buried == 1)
            second.set()
            begun += await read_until(response, b"two ")  # more than anybody else will ever know of
            switch.lead_to(engine.port)
            here = parse_events(begun + await response.read())
            assert here[-2:] == there[-2:]
            assert (here[-2].name, here[-2].data["type"]) == ("error", "stream_interrupted")
            assert here[-1].number == there[-3].number + 1_000_000_002
            assert here[: len(there) - 2] == there[:-2]
            assert shared_of(one).figures.fenced == 1
            async with asyncio.timeout(5):
                await upstream.calls[0].closed.wait()

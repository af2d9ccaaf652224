"""A process among others in the engine: its lease, contact lost and found, clocks and epochs, and who is given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client.streams.elsewhere import StoreUnavailable
from server.config.redis.url import parse_url
from server.shared.engine.keys import Keys, place_of, places_of
from server.shared.engine.lines import Dialler, EngineLost, EngineRefused, Line
from server.shared.engine.scripts import Script
from server.shared.store import Store
from tests.shared.waiting import until
from tests.support.engines import PASSWORD, USER, Engine, running_engine, running_sentinel

PREFIX = "openrouter-sse"


@asynccontextmanager
async def opened(url: str, lease_s: float = 1.0) -> AsyncIterator[Store]:
    store = Store(Dialler(parse_url(url)), Keys(PREFIX), lease_s=lease_s)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def test_a_process_lives_in_the_engine_until_it_ends(engine: Engine) -> None:
    with engine.admin() as admin:
        async with opened(engine.url) as one, opened(engine.tcp_url) as other:
            assert one.has_contact
            assert other.replicas == 2
            assert one.epoch == other.epoch
            now_s, micro = admin.time()
            assert abs(one.now_ms() - now_s * 1000 - micro / 1000) < 500
            assert {name.decode() for name in admin.zrange(one.keys.live, 0, -1)} == {one.rid, other.rid}
        assert admin.keys("*") == [one.keys.epoch.encode()]


async def test_a_script_is_sent_as_a_whole_to_an_engine_that_does_not_know_it(engine: Engine) -> None:
    script = Script("return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}")
    async with opened(engine.url) as store:
        key = f"{PREFIX}:x"
        await store.command("SET", key, "v")
        for _ in range(2):
            assert await store.run(script, [key], [7]) == [key.encode(), b"7", b"v"]
        with engine.admin() as admin:
            admin.script_flush()
        calls = [(script, [key], [number]) for number in range(3)]
        assert [reply[1] for reply in await store.run_many(calls)] == [b"0", b"1", b"2"]


async def test_a_lost_engine_is_told_once_and_asked_no_more(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with opened(engine.url) as store:
        engine.kill()
        await until(lambda: not store.has_contact)
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        for _ in range(100):
            with pytest.raises(StoreUnavailable):
                await store.command("GET", f"{PREFIX}:x")
        assert loop.time() - before_s < 0.5
        await asyncio.sleep(0.6)  # it is tried several times meanwhile
        assert len(caplog.records) == 1
        epoch, rid = store.epoch, store.rid
        engine.start()
        await until(lambda: store.has_contact)
    assert store.epoch != epoch
    assert store.rid != rid
    assert [("cannot be used" in line, "lost its data" in line, "is back" in line) for line in caplog.messages] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert PASSWORD not in caplog.text


async def test_a_frozen_engine_is_noticed_by_its_silence(engine: Engine) -> None:
    async with opened(engine.url) as store:
        rid = store.rid
        engine.freeze()
        await until(lambda: not store.has_contact)
        engine.thaw()
        await until(lambda: store.has_contact)
        assert store.rid == rid  # nobody was there to give it up
        assert store.contact_s < 1.0


async def test_an_emptied_engine_has_another_epoch_and_everybody_comes_back(engine: Engine) -> None:
    told: list[str] = []

    async def note(epoch: str) -> None:
        told.append(epoch)

    async with opened(engine.url) as one, opened(engine.url) as other:
        one.on_epoch.append(note)
        before = one.epoch
        engine.empty()
        await until(lambda: one.epoch != before and one.epoch == other.epoch and one.has_contact)
        assert told == [one.epoch]
        assert one.may_lack
        await until(lambda: one.replicas == 2)


async def test_who_was_given_up_comes_back_under_another_name(engine: Engine) -> None:
    woken: list[str] = []

    async def note() -> None:
        woken.append(store.rid)

    async with opened(engine.url) as store:
        store.on_contact.append(note)
        rid = store.rid
        with engine.admin() as admin:
            admin.zrem(store.keys.live, rid)
            admin.zadd(store.keys.dead, {rid: 0})
        await until(lambda: store.rid != rid and store.has_contact)
        assert woken == [store.rid]


async def test_an_engine_with_another_clock_counts_as_another_engine(engine: Engine) -> None:
    async with opened(engine.url) as store:
        await until(lambda: store.contact_s > 1.0)
        store._offset_s = tuple(each - 0.7 for each in store._offset_s or (0.0, 0.0))  # type: ignore[assignment]
        await until(lambda: store.contact_s < 0.5)
        assert store.has_contact


async def test_what_cannot_be_made_good_is_no_contact(engine: Engine) -> None:
    fails = [True]

    async def restore(epoch: str) -> None:
        if fails[0]:
            raise StoreUnavailable

    store = Store(Dialler(parse_url(engine.url)), Keys(PREFIX), lease_s=1.0)
    store.on_epoch.append(restore)
    await store.open()
    try:
        assert not store.has_contact
        fails[0] = False
        await until(lambda: store.has_contact)
    finally:
        await store.aclose()


async def test_a_wrong_password_and_a_forbidden_key_are_refusals_that_name_neither(engine: Engine) -> None:
    for url, command in (
        (engine.url.replace(PASSWORD, "hush"), ("PING",)),
        (engine.url, ("GET", "other:hush")),
        (engine.url, ("KEYS", "*")),
    ):
        line = Line(Dialler(parse_url(url)).maker("test"))
        with pytest.raises(EngineRefused) as caught:
            await line.ask(*command)
        assert "hush" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
        await line.aclose()


async def test_a_command_that_was_cancelled_costs_the_connection_and_no_reply(engine: Engine) -> None:
    """redis-py#2624: the next caller got the reply of the one before."""
    line = Line(Dialler(parse_url(engine.url)).maker("test"))
    await line.ask("SET", f"{PREFIX}:a", "a")
    await line.ask("SET", f"{PREFIX}:b", "b")
    for _ in range(50):
        asking = asyncio.create_task(line.ask("GET", f"{PREFIX}:a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        assert await line.ask("GET", f"{PREFIX}:b") == b"b"
        await asyncio.gather(asking, return_exceptions=True)
    await line.aclose()


async def test_a_command_whose_reply_is_lost_is_sent_once(engine: Engine) -> None:
    """By default redis-py 8.1 sends it eleven times."""
    line = Line(Dialler(parse_url(engine.url)).maker("test"), answer_s=0.2)
    await line.ask("PING")
    engine.freeze()
    with pytest.raises(EngineLost):
        await line.ask("HINCRBY", f"{PREFIX}:n", "n", 1)
    engine.thaw()
    with engine.admin() as admin:
        assert admin.hget(f"{PREFIX}:n", "n") == b"1"
    await line.aclose()


def test_no_two_answers_have_one_place() -> None:
    made = "Abcdefghij_-0123456789"
    assert place_of(made) == made
    assert places_of(made, "me")[0] == made
    chosen = [place_of(f"{name} {owner}") for name in ("a", "b", "} {") for owner in ("me", "you")]
    assert len(set(chosen)) == 6
    assert all(len(place) == 32 and place.isalnum() for place in chosen)
    assert places_of("a", "me") == (chosen[0],)


async def test_the_master_that_sentinels_name_is_asked() -> None:
    with (
        running_engine("redis") as master,
        running_engine("redis", "--replicaof", f"127.0.0.1 {master.port}") as replica,
        running_sentinel(master) as port,
    ):
        await until(lambda: is_in_step(replica))
        async with opened(f"redis+sentinel://{USER}:{PASSWORD}@127.0.0.1:{port}/main", lease_s=3.0) as store:
            await until(lambda: store.has_contact)
            epoch = store.epoch
            await until(lambda: lease_at(replica, store))  # it gets what was written a moment after the master
            master.kill()
            await until(lambda: is_master(replica), 60)
            before_ms = lease_at(replica, store)
            await until(lambda: lease_at(replica, store) > before_ms and store.has_contact)
            assert store.epoch == epoch


def is_in_step(replica: Engine) -> bool:
    with replica.admin() as admin:
        return bool(admin.info("replication")["master_link_status"] == "up")


def is_master(engine: Engine) -> bool:
    with engine.admin() as admin:
        return bool(admin.info("replication")["role"] == "master")


def lease_at(engine: Engine, store: Store) -> float:
    """Until when the process lives by that engine: epoch milliseconds; 0: it is not known there."""
    with engine.admin() as admin:
        return float(admin.zscore(store.keys.live, store.rid) or 0)

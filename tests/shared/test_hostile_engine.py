"""An engine in which somebody writes what none of us would: one answer ends there, and all others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.shared.processes import asked, read_on, shared_of, sharing, wait_copied
from tests.shared.waiting import until
from tests.support.chunks import END, STOP, text
from tests.support.engines import Engine
from tests.support.serving import changed
from tests.support.sse_reader import names_of, parse_events, read_until, text_of

pytestmark = pytest.mark.usefixtures("upstream")
Harm = Callable[[redis.Redis, str, str], object]


@pytest.fixture
def config(config: Config) -> Config:
    """With a grace time, since readers come and go."""
    return changed(config, "streams", grace_s=20.0)


def entry(**fields: bytes) -> Harm:
    """Adds an entry to a log, as if an event followed."""

    def harm(admin: redis.Redis, log: str, meta: str) -> None:
        last = int(admin.hget(meta, "last") or 0)
        admin.xadd(log, fields, id=f"{last + 1}-1")  # type: ignore[arg-type]

    return harm


def another_type(admin: redis.Redis, log: str, meta: str) -> None:
    """Puts a word where the log was."""
    admin.delete(log)
    admin.set(log, "word")


@pytest.mark.parametrize(
    "harm",
    [
        entry(d=b"\xff\x00 garbage"),
        entry(s=b"garbage"),
        entry(s=b"-5"),
        entry(s=b"9" * 30),
        another_type,
        lambda admin, log, meta: (admin.delete(meta), admin.set(meta, "word")),
        lambda admin, log, meta: admin.hset(meta, "last", "garbage"),
        lambda admin, log, meta: admin.hset(meta, "sealed", "garbage"),
    ],
    ids=["bytes", "seal", "negative", "huge", "type", "meta", "last", "sealed"],
)
async def test_what_makes_no_sense_ends_one_answer_for_others_and_holds_up_no_other(
    engine: Engine, config: Config, upstream: Sandbox, harm: Harm
) -> None:
    go_on = asyncio.Event()
    for word in ("bad ", "good "):
        upstream.script(Reply.stream(text(word), Hold(go_on), text("more"), STOP, END))
    async with sharing(config, engine) as (one, other), asked(one) as (bad, own), asked(one) as (good, _):
        readers = {}
        for stream_id, said in ((bad, b"bad "), (good, b"good ")):
            readers[stream_id] = await other.http.get(f"{other.url}/chat/{stream_id}")
            begun = await read_until(readers[stream_id], said)
            await wait_copied(one, stream_id)
            if stream_id == bad:
                seen = begun
        keys = shared_of(one).store.keys
        with engine.admin() as admin:
            harm(admin, keys.log(bad), keys.meta(bad))
        go_on.set()
        async with asyncio.timeout(20):
            assert text_of(await read_on(other, good)) == "good more"
            events = parse_events(seen + await readers[bad].read())
        assert text_of(events) == "bad "
        assert names_of(events)[-2:] == ["error", "done"]
        assert events[-2].data["type"] == "stream_interrupted"
        assert text_of(parse_events(await own.read())).startswith("bad ")
        await until(lambda: not shared_of(one).copies.outbox.copies)
        for reader in readers.values():
            reader.close()


async def test_an_inbox_that_is_none_is_made_anew(engine: Engine, config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine) as (one, other), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        await wait_copied(one, stream_id)
        inbox = shared_of(one).store.keys.inbox(shared_of(one).store.rid)
        with engine.admin() as admin:
            admin.delete(inbox)
            admin.set(inbox, "word")
            await until(lambda: not admin.exists(inbox))
        stopped, _ = await other.request("DELETE", f"/chat/{stream_id}")
        assert stopped.status in (200, 204)
        assert parse_events(await response.read())[-1].data["finish_reason"] == "cancelled"


async def test_what_stands_in_the_place_of_a_list_holds_up_nobody(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    for _ in range(2):
        upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine) as (one, other), asked(one) as (first, begun):
        await read_until(begun, b"one ")
        await wait_copied(one, first)
        with engine.admin() as admin:
            (listed,) = admin.keys("*:list")
            admin.delete(listed)
            admin.set(listed, "word")
            async with asked(one) as (second, also_begun):
                await read_until(also_begun, b"one ")
                await wait_copied(one, second)
                told = await other.http.get(f"{other.url}/chat")
                assert [each["stream_id"] for each in (await told.json())["data"]] == [second]
            admin.delete(listed)
            admin.set(listed, "word")
        told = await other.http.get(f"{other.url}/chat")
        assert (told.status, (await told.json())["data"]) == (200, [])
        told = await one.http.get(f"{one.url}/chat")
        assert {each["stream_id"] for each in (await told.json())["data"]} == {first, second}


async def test_what_stands_in_the_place_of_an_answer_keeps_no_process_out(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    """Its data were lost, and before all was written again somebody put another kind of key there."""
    go_on = asyncio.Event()
    for word in ("bad ", "good "):
        upstream.script(Reply.stream(text(word), Hold(go_on), text("more"), STOP, END))
    async with sharing(config, engine) as (one, other), asked(one) as (bad, own), asked(one) as (good, _):
        for stream_id in (bad, good):
            await wait_copied(one, stream_id)
        keys, epoch = shared_of(one).store.keys, shared_of(one).store.epoch
        with engine.admin() as admin, admin.pipeline() as both:
            both.flushall()
            both.set(keys.meta(bad), "word")
            both.set(keys.listed(one.streams._streams[good].owner), "word")
            both.execute()
        await until(lambda: shared_of(one).store.epoch != epoch and shared_of(one).has_contact)
        go_on.set()
        assert text_of(await read_on(other, good)) == "good more"
        assert text_of(parse_events(await own.read())) == "bad more"


async def test_a_process_that_the_engine_forgot_leaves_nothing_behind_under_its_old_name(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine, 1) as (one,), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        await wait_copied(one, stream_id)
        store = shared_of(one).store
        before = store.rid
        with engine.admin() as admin:
            assert admin.smembers(store.keys.own(before)) == {stream_id.encode()}
            admin.zrem(store.keys.live, before)
            await until(lambda: store.rid != before and admin.smembers(store.keys.own(store.rid)))
            await until(lambda: not admin.exists(store.keys.own(before)))
            assert admin.smembers(store.keys.own(store.rid)) == {stream_id.encode()}


async def test_an_answer_of_which_only_its_end_is_left_is_not_found(engine: Engine, config: Config) -> None:
    """Others ended it where the engine had lost all else of it: nobody will ever write what it was."""
    async with sharing(config, engine) as (one, _):
        with engine.admin() as admin:
            admin.hset(
                shared_of(one).store.keys.meta("lost"), mapping={"rid": "", "last": 0, "sealed": 0, "ended": 0}
            )
        response = await one.http.get(f"{one.url}/chat/lost")
        assert response.status == 404


async def test_a_list_leaves_out_what_cannot_be_read(
    engine: Engine, config: Config, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine) as (one, other), asked(one) as (bad, begun), asked(one) as (good, also_begun):
        for stream_id, response in ((bad, begun), (good, also_begun)):
            await read_until(response, b"one ")
            await wait_copied(one, stream_id)
        with engine.admin() as admin:
            admin.hset(shared_of(one).store.keys.meta(bad), "head", "garbage")
        listed = await other.http.get(f"{other.url}/chat")
        assert [each["stream_id"] for each in (await listed.json())["data"]] == [good]
    assert "is left out of a list" in caplog.text


async def test_what_names_no_answer_is_in_no_list(engine: Engine, config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine) as (one, other), asked(one) as (stream_id, begun):
        await read_until(begun, b"one ")
        await wait_copied(one, stream_id)
        with engine.admin() as admin:
            (listed,) = admin.keys("*:list")
            admin.zadd(listed, {b"\xff\xfe": 1, "": 2, "x" * 5000: 9e12})
            told = await other.http.get(f"{other.url}/chat")
            assert [each["stream_id"] for each in (await told.json())["data"]] == [stream_id]
            assert admin.zrange(listed, 0, -1) == [stream_id.encode()]

"""Processes that are gone: their answers end everywhere, once, whoever of the others sees to it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from server.shared.burial import Undertaker
from server.shared.engine.scripts import Script
from server.shared.store import LUA, Store
from tests.shared.processes import KEY, read_on, shared_of, sharing
from tests.shared.waiting import until
from tests.support.chunks import text
from tests.support.engines import PASSWORD, USER, Engine
from tests.support.process import ServerProcess, running_server, start_server, starts
from tests.support.serving import KEY as API_KEY
from tests.support.serving import Api, changed, question
from tests.support.sse_reader import Event, names_of, parse_events, read_until, text_of

LEASE_S = 1.0


@pytest.fixture
def config(config: Config) -> Config:
    """With a grace time, since readers come and go."""
    return changed(config, "streams", grace_s=30.0)


def environment(engine: Engine, upstream: Sandbox, **more: str) -> dict[str, str]:
    """That of a process which shares the engine with `sharing`."""
    return {
        "OPENROUTER_API_KEY": API_KEY,
        "OPENROUTER_BASE_URL": upstream.base_url,
        "REDIS_URL": engine.url,
        "REDIS_TEXT_KEY": KEY,
        "REDIS_LEASE": str(LEASE_S),
        "REDIS_FLUSH_MS": "5",
        "STREAM_GRACE": "30",
        **more,
    }


@asynccontextmanager
async def begun(server: ServerProcess, upstream: Sandbox, count: int) -> AsyncIterator[list[str]]:
    """Answers that a process runs, each of which has said something."""
    upstream.script(*[Reply.stream(text("one "), Hold())] * count)
    async with aiohttp.ClientSession() as http:
        ids = []
        for _ in range(count):
            async with http.post(f"{server.url}/chat", json=question()) as response:
                await read_until(response, b"one ")
                ids.append(response.headers["X-Stream-Id"])
        yield ids


async def wait_there(api: Api, ids: list[str]) -> None:
    """Returns when what they have said can be read in another process."""
    for stream_id in ids:
        async with asyncio.timeout(10), api.http.get(f"{api.url}/chat/{stream_id}") as response:
            await read_until(response, b"one ")


def is_sealed(events: list[Event]) -> bool:
    """Whether it is what was said, and then the ending of a process that is gone."""
    return (
        text_of(events) == "one "
        and names_of(events)[-2:] == ["error", "done"]
        and events[-2].data["type"] == "stream_interrupted"
        and [each.number - events[-3].number for each in events[-2:]] == [1_000_000_001, 1_000_000_002]
    )


async def test_every_answer_of_a_killed_process_ends_within_a_lease_and_two_seconds(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    async with (
        sharing(config, engine) as others,
        running_server(env=environment(engine, upstream)) as server,
        begun(server, upstream, 5) as ids,
    ):
        for api in others:
            await wait_there(api, ids)
        readings = [asyncio.create_task(read_on(api, stream_id)) for api in others for stream_id in ids]
        await until(lambda: all(shared_of(api).store.contact_s > LEASE_S for api in others))
        keys = shared_of(others[0]).store.keys
        with engine.admin() as admin:  # what names no answer holds up no other
            for owned in admin.keys(keys.own("*")):
                admin.sadd(owned, b"\xff\xfe")
        loop = asyncio.get_running_loop()
        server.process.kill()
        killed_s = loop.time()
        answers = await asyncio.gather(*readings)
        assert loop.time() - killed_s < LEASE_S + 2
        assert all(map(is_sealed, answers))
        assert answers[: len(ids)] == answers[len(ids) :]
        await until(lambda: sum(shared_of(api).figures.buried for api in others) == 1)


async def test_what_an_undertaker_leaves_half_done_the_next_one_does(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    async def die(rid: str) -> None:
        """As by SIGKILL, when the answers are sealed, and before anything is tidied up."""
        raise asyncio.CancelledError

    async with (
        running_server(env=environment(engine, upstream)) as server,
        begun(server, upstream, 3) as ids,
        sharing(config, engine) as (first, second),
    ):
        for api in (first, second):
            await wait_there(api, ids)
        shared_of(first).store.on_buried.append(die)
        server.process.kill()
        answers = [await read_on(second, stream_id) for stream_id in ids]
        assert all(map(is_sealed, answers))
        await until(lambda: shared_of(second).figures.buried == 1)
        assert answers == [await read_on(first, stream_id) for stream_id in ids]
        with engine.admin() as admin:
            assert admin.zcard(shared_of(second).store.keys.dead) == 0


async def test_a_burial_can_be_done_twice(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with (
        running_server(env=environment(engine, upstream)) as server,
        begun(server, upstream, 2) as ids,
        sharing(config, engine, 1) as (other,),
    ):
        await wait_there(other, ids)
        store: Store = shared_of(other).store
        with engine.admin() as admin:
            (rid,) = {each.decode() for each in admin.zrange(store.keys.live, 0, -1)} - {store.rid}
            server.process.kill()
            undertaker = Undertaker(store, lambda: 60_000)
            await asyncio.gather(*(undertaker.bury(rid) for _ in range(3)))
            assert all([is_sealed(await read_on(other, stream_id)) for stream_id in ids])
            seals = [admin.xrange(store.keys.log(place), "18446744073709551615-0") for place in ids]
            assert list(map(len, seals)) == [1, 1]


async def test_after_the_end_of_all_processes_the_first_new_one_buries_them(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    env = environment(engine, upstream)
    async with (
        running_server(env=env) as one,
        running_server(env=env) as two,
        begun(one, upstream, 1) as first,
        begun(two, upstream, 1) as second,
        aiohttp.ClientSession() as http,
    ):
        ids = first + second
        for server in (one, two):  # each is known to the other one: its copy stands
            for stream_id in ids:
                async with http.get(f"{server.url}/chat/{stream_id}") as response:
                    await read_until(response, b"one ")
        one.process.kill()
        two.process.kill()
    async with sharing(config, engine, 1) as (new,):
        async with asyncio.timeout(2 * LEASE_S + 5):
            assert all([is_sealed(await read_on(new, stream_id)) for stream_id in ids])


async def test_what_a_killed_process_owed_is_told_with_its_answer(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    """As soon as somebody has looked it up."""
    async with (
        sharing(config, engine, 1) as (other,),
        running_server(env=environment(engine, upstream)) as server,
        aiohttp.ClientSession() as http,
    ):
        body = question(model="sandbox/long")
        async with http.post(f"{server.url}/chat", json=body) as response:
            await read_until(response, b"event: content")
            stream_id = response.headers["X-Stream-Id"]
            async with other.http.get(f"{other.url}/chat/{stream_id}") as elsewhere:
                await read_until(elsewhere, b"event: content")
            await until(lambda: is_opened(engine))
            server.process.kill()
        await read_on(other, stream_id)
        async with asyncio.timeout(30):
            while (await result_of(other, stream_id))["usage"] is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


def is_opened(engine: Engine) -> bool:
    """Whether it is known there which generation has to be paid."""
    with engine.admin() as admin:
        return any(b"gen-" in record for key in admin.keys("*:open") for record in admin.hvals(key))


async def result_of(api: Api, stream_id: str) -> dict[str, object]:
    _, body = await api.request("GET", f"/chat/{stream_id}/result")
    found: dict[str, object] = json.loads(body)
    return found


async def test_a_paused_process_that_comes_back_is_fenced(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with (
        sharing(config, engine, 1) as (other,),
        running_server(env=environment(engine, upstream)) as server,
        begun(server, upstream, 3) as ids,
    ):
        await wait_there(other, ids)
        server.process.send_signal(signal.SIGSTOP)
        answers = [await read_on(other, stream_id) for stream_id in ids]
        assert all(map(is_sealed, answers))
        server.process.send_signal(signal.SIGCONT)
        async with aiohttp.ClientSession() as http:
            for stream_id, there in zip(ids, answers, strict=True):
                async with http.get(f"{server.url}/chat/{stream_id}") as response:
                    assert parse_events(await response.read()) == there
        async with asyncio.timeout(10):
            for call in upstream.calls:
                await call.closed.wait()
        await server.wait_at_rest()


async def test_an_ending_process_is_not_missed(engine: Engine, config: Config, upstream: Sandbox) -> None:
    async with (
        sharing(config, engine, 1) as (other,),
        running_server(env=environment(engine, upstream, SHUTDOWN_TIMEOUT="0")) as server,
        begun(server, upstream, 2) as ids,
    ):
        await until(lambda: shared_of(other).replicas == 2)
        assert await server.stop() == 0
        for stream_id in ids:
            events = await read_on(other, stream_id)
            assert (events[-2].data["type"], events[-1].number) == ("shutting_down", events[-3].number + 2)
        await until(lambda: shared_of(other).replicas == 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"REDIS_URL": "wrong password"}, "the user or the password is wrong"),
        ({"REDIS_PREFIX": "elsewhere"}, "or keys that begin with elsewhere:"),
    ],
)
async def test_an_engine_that_refuses_us_is_a_reason_not_to_start(
    engine: Engine, upstream: Sandbox, tmp_path: str, change: dict[str, str], said: str
) -> None:
    if "REDIS_URL" in change:
        change = {"REDIS_URL": f"unix://{USER}:hush@{engine.socket}"}
    process = await start_server("--port", "0", cwd=str(tmp_path), env=environment(engine, upstream, **change))
    _, told = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 78
    assert said in told.decode()
    assert "+hello +auth" in told.decode()
    assert "hush" not in told.decode()
    assert PASSWORD not in told.decode()


async def test_without_an_address_nothing_of_it_is_loaded(upstream: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "from_template", False)  # that has loaded it
    async with running_server("--sandbox") as server, aiohttp.ClientSession() as http:
        async with http.post(f"{server.url}/chat", json=question(model="sandbox/echo")) as response:
            await response.read()
        maps = await asyncio.to_thread(Path(f"/proc/{server.process.pid}/maps").read_text)
        async with http.get(f"{server.url}/health") as response:
            assert "shared" not in await response.json()
    assert "hiredis" not in maps


async def test_an_answer_ends_whose_owner_stands_in_no_list(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    """As when the engine loses its data amid the writing of it, and the owner is killed before its next beat."""
    async with (
        sharing(config, engine, 1) as (api,),
        running_server(env=environment(engine, upstream)) as server,
        begun(server, upstream, 1) as (stream_id,),
    ):
        keys = shared_of(api).store.keys
        async with api.http.get(f"{api.url}/chat/{stream_id}") as response:
            await read_until(response, b"one ")
            with engine.admin() as admin:
                (owner,) = {*admin.zrange(keys.live, 0, -1)} - {shared_of(api).store.rid.encode()}
                server.process.send_signal(signal.SIGSTOP)
                admin.zrem(keys.live, owner)
                admin.delete(keys.own(owner.decode()))
            await server.stop(signal.SIGKILL)
            async with asyncio.timeout(30):
                await read_until(response, b"event: done")
        assert is_sealed(await read_on(api, stream_id))


async def test_of_an_answer_that_was_lost_its_end_alone_is_no_answer(engine: Engine, config: Config) -> None:
    """That is for those who read it when it was lost: whoever comes later was told 503 for as long as it stood."""
    stream_id = "lost-answer-lost-answer"
    async with sharing(config, engine, 1) as (api,):
        store = shared_of(api).store
        keys = [store.keys.meta(stream_id), store.keys.log(stream_id)]
        assert await store.run(Script.read(LUA, "seal"), keys, ["", 60_000, 5, "1"]) == [b"sealed", b"5"]
        refused, _ = await api.request("GET", f"/chat/{stream_id}")
        assert refused.status == 404

"""What one server runs, another one finds, reads, stops, lists and forgets, as if it were its own."""

from __future__ import annotations

import asyncio
import re

import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.shared.processes import asked, read_on, shared_of, sharing, wait_copied, wait_over
from tests.shared.waiting import until
from tests.support.chunks import END, STOP, chunk, text
from tests.support.engines import Engine
from tests.support.serving import changed, question, with_tokens
from tests.support.sse_reader import names_of, parse_events, read_until, text_of

WORDS = "recognisable words"
pytestmark = pytest.mark.usefixtures("upstream")


@pytest.fixture
def config(config: Config) -> Config:
    """With a grace time, since readers come and go."""
    return changed(config, "streams", grace_s=5.0)


async def test_a_running_answer_is_read_in_another_process_to_its_end(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(chunk({"reasoning": "hm"}), text("one "), Hold(go_on), text("two"), STOP, END))
    async with sharing(config, engine) as (one, other), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        async with other.http.get(f"{other.url}/chat/{stream_id}") as elsewhere:
            assert elsewhere.status == 200
            begun = await read_until(elsewhere, b"one ")
            go_on.set()
            there = parse_events(begun + await elsewhere.read())
        here = await read_on(one, stream_id)
        assert there == here
        assert text_of(there) == "one two"
        assert names_of(there)[-2:] == ["usage", "done"]
        assert await read_on(other, stream_id, 2) == here[2:]
        assert shared_of(other).mirrored == 1


async def test_an_answer_can_be_read_when_its_process_is_gone(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text(WORDS), STOP, END))
    async with sharing(config, engine, 1) as (other,):
        async with sharing(config, engine, 1) as (one,):
            _, events = await one.chat()
            stream_id = events[0].data["stream_id"]
        assert await read_on(other, stream_id) == events
        response, body = await other.request("GET", f"/chat/{stream_id}/result")
        assert (response.status, WORDS.encode() in body) == (200, True)
        assert shared_of(other).replicas in (1, 2)


async def test_a_stop_from_another_process_closes_upstream(engine: Engine, config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine) as (one, other), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        stopped, _ = await other.request("DELETE", f"/chat/{stream_id}")
        assert stopped.status in (200, 204)
        assert loop.time() - before_s < 2.0
        async with asyncio.timeout(5):
            await upstream.calls[0].closed.wait()
        rest = parse_events(await response.read())
        assert rest[-1].data["finish_reason"] == "cancelled"
        assert (await read_on(other, stream_id))[-1] == rest[-1]


async def test_an_answer_goes_on_while_it_is_read_elsewhere_alone(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(go_on), text("two"), STOP, END))
    config = changed(config, "streams", grace_s=0.0)
    async with sharing(config, engine) as (one, other):
        async with asked(one) as (stream_id, response):
            await read_until(response, b"one ")
            elsewhere = await other.http.get(f"{other.url}/chat/{stream_id}")
            begun = await read_until(elsewhere, b"one ")
            await until(lambda: engine_readers(engine))
        await until(lambda: not one.streams._streams[stream_id].readers)
        go_on.set()
        assert text_of(parse_events(begun + await elsewhere.read())) == "one two"
        elsewhere.close()


def engine_readers(engine: Engine) -> bool:
    with engine.admin() as admin:
        return bool(admin.keys("*:readers"))


async def test_an_answer_is_stopped_when_nobody_reads_it_anywhere(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text("one "), Hold()))
    config = changed(config, "streams", grace_s=0.0)
    async with sharing(config, engine) as (one, other):
        async with asked(one) as (stream_id, response):
            await read_until(response, b"one ")
            elsewhere = await other.http.get(f"{other.url}/chat/{stream_id}")
            await read_until(elsewhere, b"one ")
            await until(lambda: engine_readers(engine))
        elsewhere.close()
        async with asyncio.timeout(10):
            await upstream.calls[0].closed.wait()
        assert (await read_on(other, stream_id))[-1].data["finish_reason"] == "abandoned"


async def test_nobody_reads_the_answers_of_another_caller(engine: Engine, config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(go_on), STOP, END))
    mine, theirs = ({"Authorization": f"Bearer {token}"} for token in ("tok-a" * 5, "tok-b" * 5))
    config = with_tokens(config, "tok-a" * 5, "tok-b" * 5)
    async with (
        sharing(config, engine) as (one, other),
        one.http.post(f"{one.url}/chat", json=question(), headers=mine) as response,
    ):
        stream_id = response.headers["X-Stream-Id"]
        await read_until(response, b"one ")
        for _ in range(2):  # before it is mirrored, and then
            for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/result")):
                url = f"{other.url}/chat/{stream_id}{path}"
                async with other.http.request(method, url, headers=theirs) as refused:
                    assert refused.status == 404
            async with other.http.get(f"{other.url}/chat/{stream_id}", headers=mine) as found:
                assert found.status == 200
        async with other.http.get(f"{other.url}/chat", headers=theirs) as listed:
            assert (await listed.json())["data"] == []
        go_on.set()
        await response.read()


async def test_lists_are_of_all_processes_and_what_is_forgotten_is_gone_everywhere(
    engine: Engine, config: Config
) -> None:
    async with sharing(config, engine) as (one, other):
        ids = [(await api.chat(model="sandbox/echo"))[1][0].data["stream_id"] for api in (one, other, one)]
        for stream_id, api in zip(ids, (one, other, one), strict=True):
            await wait_over(api, stream_id)
        for api in (one, other):
            _, body = await api.request("GET", "/chat")
            assert re.findall(rb'"stream_id":\s*"([^"]+)"', body) == [each.encode() for each in reversed(ids)]


async def test_an_answer_that_is_deleted_elsewhere_is_not_found_where_it_ran(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text("one "), Hold()))
    async with sharing(config, engine, 3) as (one, other, third), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        assert (await third.request("GET", f"/v1/responses/resp_{stream_id}"))[0].status == 200
        deleted, _ = await other.request("DELETE", f"/v1/responses/resp_{stream_id}")
        assert deleted.status == 200
        await response.read()
        await until(lambda: stream_id not in one.streams._streams)
        for api in (one, other, third):
            for path in (f"/v1/responses/resp_{stream_id}", f"/chat/{stream_id}"):
                assert (await api.request("GET", path))[0].status == 404


@pytest.mark.parametrize("plain", [True, False])
async def test_the_engine_holds_no_prompt_and_text_only_if_it_may(
    engine: Engine, config: Config, upstream: Sandbox, plain: bool
) -> None:
    upstream.script(Reply.stream(text(WORDS), STOP, END))
    how = {"text": "plain", "text_key": None} if plain else {}
    async with sharing(config, engine, 1, **how) as (one,):
        _, events = await one.chat(message="MYSECRETPROMPT")
        stream_id = events[0].data["stream_id"]
        await wait_over(one, stream_id)
        held = everything(engine)
    assert b"MYSECRETPROMPT" not in held
    assert stream_id.encode() in held
    assert (WORDS.encode() in held) == plain


def everything(engine: Engine) -> bytes:
    """All that the engine holds, keys and values."""
    pieces = []
    with engine.admin() as admin:
        for key in admin.keys("*"):
            kind = admin.type(key)
            command = {b"stream": "XRANGE - +", b"hash": "HGETALL", b"set": "SMEMBERS", b"zset": "ZRANGE 0 -1"}
            name, *more = command.get(kind, "GET").split()
            pieces.append(key + b" " + repr(admin.execute_command(name, key, *more)).encode())
    return b"\n".join(pieces)


async def test_one_key_can_be_replaced_by_another(engine: Engine, config: Config, upstream: Sandbox) -> None:
    from pydantic import SecretStr

    upstream.script(*[Reply.stream(text(WORDS), STOP, END)] * 2)
    old, new = bytes(32).hex(), bytes(range(32)).hex()
    async with (
        sharing(config, engine, 1, text_key=SecretStr(old)) as (before,),
        sharing(config, engine, 1, text_key=SecretStr(f"{new},{old}")) as (between,),
        sharing(config, engine, 1, text_key=SecretStr(new)) as (after,),
    ):
        ids = [(await api.chat())[1][0].data["stream_id"] for api in (before, between)]
        for api, stream_id in zip((before, between), ids, strict=True):
            await wait_over(api, stream_id)
        assert [text_of(await read_on(between, stream_id)) for stream_id in ids] == [WORDS, WORDS]
        assert text_of(await read_on(after, ids[1])) == WORDS
        response, body = await after.request("GET", f"/chat/{ids[0]}")
        assert (response.status, b"store_unavailable" in body) == (503, True)


async def test_everything_there_is_forgotten_in_time(engine: Engine, config: Config) -> None:
    async with sharing(config, engine) as (one, other), asked(one, model="sandbox/echo") as (stream_id, response):
        await response.read()
        await wait_over(one, stream_id)
        await read_on(other, stream_id)
        with engine.admin() as admin:
            lives = {key.decode().partition(":")[2]: admin.ttl(key) for key in admin.keys("*")}
    kept_for_ever = {name for name, life in lives.items() if life < 0}
    assert {name.split("}:")[1] for name in kept_for_ever} <= {"live", "epoch", "own", "accts", "callers"}
    assert lives[f"{{{stream_id}}}:log"] <= 301
    with engine.admin() as admin:
        left = {key.decode().rpartition(":")[2] for key in admin.keys("*") if b":{r" in key}
    assert left <= {"epoch", "callers"}  # of the processes themselves nothing


async def test_a_result_elsewhere_waits_for_the_end(engine: Engine, config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(go_on), text("two"), STOP, END))
    async with sharing(config, engine) as (one, other), asked(one) as (stream_id, response):
        await read_until(response, b"one ")
        await wait_copied(one, stream_id)
        running, _ = await other.request("GET", f"/chat/{stream_id}/result")
        assert running.status == 202
        go_on.set()
        await response.read()
        await wait_over(one, stream_id)
        done, body = await other.request("GET", f"/chat/{stream_id}/result")
        assert (done.status, b"one two" in body) == (200, True)

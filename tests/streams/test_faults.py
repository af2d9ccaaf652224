"""Faults between the server and its readers or OpenRouter, made for real: nothing is lost, nobody else is held up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from client.sandbox import HangUp, Hold, Pause, Reply, Sandbox, Step
from client.sandbox import chunk as sandbox_chunk
from client.sandbox.script import step_bytes
from tests.support.callers import Caller, call, call_and_read_head
from tests.support.chunks import END, STOP, chunk, text
from tests.support.process import ServerProcess, running_server
from tests.support.serving import question
from tests.support.sse_reader import parse_events, text_of

SETTINGS = {
    "PING_INTERVAL": "30",
    "OPENROUTER_IDLE_TIMEOUT": "0.5",
    "OPENROUTER_MAX_RETRIES": "0",
    "STREAM_GRACE": "5",
}


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
async def server(request: pytest.FixtureRequest, upstream: Sandbox) -> AsyncIterator[ServerProcess]:
    env = {**SETTINGS, "OPENROUTER_BASE_URL": upstream.base_url}
    async with running_server(env=env, uvloop=request.param) as process, asyncio.timeout(40):
        yield process
        await process.wait_at_rest()
        assert b"Traceback" not in process.output


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def post(server: ServerProcess, *, small: bool = False, **more: Any) -> Caller:
    return await call_and_read_head(server.port, "POST", "/chat", question(**more), small=small)


async def get(server: ServerProcess, path: str, *, small: bool = False) -> Caller:
    return await call_and_read_head(server.port, "GET", path, small=small)


async def read_all(http: aiohttp.ClientSession, url: str, **headers: str) -> bytes:
    async with http.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as response:
        assert response.status == 200
        return await response.read()


async def test_a_reader_that_is_reset_within_an_event_gets_it_whole_when_it_comes_back(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    go_on = asyncio.Event()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}
    upstream.script(Reply.stream(text("one"), chunk({"images": [image]}), Hold(go_on), text("two"), STOP, END))
    broken = await post(server, small=True)
    path = broken.headers["location"]
    other = await get(server, path)
    began = await broken.reader.readuntil(b"event: image") + await broken.reader.readexactly(5000)
    broken.reset()
    go_on.set()
    whole = await other.read_body()
    await other.aclose()
    last = parse_events(began.partition(b"event: image")[0].split(b"\r\n", 1)[1].replace(b"\r\n", b""))[-1]
    assert last.name == "content"
    rest = await read_all(http, server.url + path, Last_Event_ID=last.id)
    assert whole.endswith(rest)
    assert parse_events(whole)[: last.number] + parse_events(rest) == parse_events(whole)
    assert parse_events(rest)[0].data == image
    assert len(upstream.calls) == 1


async def test_a_reader_of_a_byte_a_second_holds_up_nobody_and_misses_nothing(
    upstream: Sandbox, server: ServerProcess
) -> None:
    go_on = asyncio.Event()
    steps = [text("x" * 2000) for _ in range(1500)]
    upstream.script(Reply.stream(steps[0], Hold(go_on), *steps[1:], STOP, END))
    slow = await post(server, small=True)
    fast = [await get(server, slow.headers["location"]) for _ in range(5)]
    got: list[bytes] = []
    reading = asyncio.create_task(read_slowly(slow, got))
    go_on.set()
    bodies = {await each.read_body() for each in fast}
    assert len(bodies) == 1
    assert not reading.done()
    assert len(got) < 40
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    assert {await read_on(slow, b"".join(got))} == bodies
    for each in (slow, *fast):
        await each.aclose()


async def read_slowly(caller: Caller, got: list[bytes]) -> None:
    """One byte a second, of the bare connection."""
    while True:
        got.append(await caller.reader.readexactly(1))
        await asyncio.sleep(1)


async def read_on(caller: Caller, begun: bytes) -> bytes:
    """The body of which some bytes were read already."""
    raw = begun
    while not raw.endswith(b"\r\n0\r\n\r\n"):
        raw += await caller.reader.read(1 << 20)
    pieces: list[bytes] = []
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if size == b"0":
            return b"".join(pieces)
        pieces.append(raw[: int(size, 16)])
        raw = raw[int(size, 16) + 2 :]


def breaks() -> dict[str, tuple[list[Step], str]]:
    """What upstream does after its first words, and the error that readers are told."""
    rocket = step_bytes(sandbox_chunk({"content": "🚀"}))
    within = rocket.index("🚀".encode()) + 2
    return {
        "reset": ([HangUp(reset=True)], "stream_interrupted"),
        "closed": ([HangUp()], "stream_interrupted"),
        "stalled": ([Hold()], "upstream_timeout"),
        "cut inside a character": ([rocket[:within], HangUp()], "stream_interrupted"),
        "cut inside an event": ([rocket[:-40], HangUp(reset=True)], "stream_interrupted"),
        "ended inside an event": ([rocket[:-40]], "stream_interrupted"),
    }


async def test_whatever_upstream_breaks_with_every_reader_is_told_the_same(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    for name, (ending, type_) in breaks().items():
        go_on = asyncio.Event()
        upstream.script(Reply.stream(text("valid é"), Hold(go_on), *ending))
        first = await post(server)
        url = server.url + first.headers["location"]
        second = await get(server, first.headers["location"])
        go_on.set()
        body = await first.read_body()
        assert await second.read_body() == body == await read_all(http, url), name
        events = parse_events(body)
        assert [each.name for each in events] == ["start", "content", "error", "done"], name
        assert text_of(events) == "valid é"
        assert events[2].data["type"] == type_, name
        assert events[3].data["finish_reason"] == "interrupted"
        async with http.get(f"{url}/result") as result:
            found = await result.json()
        assert (result.status, found["content"], found["error"]["type"]) == (200, "valid é", type_), name
        assert found["usage"] == {"settled": False}
        for each in (first, second):
            await each.aclose()


async def test_reading_stopping_and_ending_at_once_always_gives_one_log(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    dice = random.Random(11)
    reasons = set()
    for _ in range(60):
        length, pause_s = dice.choice([(1, 0.0), (30, 0.0), (30, 0.003)])
        words: list[Step] = [step for number in range(length) for step in (text(f"{number} "), Pause(pause_s))]
        upstream.script(Reply.stream(*words, STOP, END))
        reasons.add(await race(server, http, dice))
    assert reasons == {"stop", "cancelled"}


async def race(server: ServerProcess, http: aiohttp.ClientSession, dice: random.Random) -> str:
    """One round; returns how the answer ended."""
    async with http.post(f"{server.url}/chat", json=question()) as started:
        url = server.url + started.headers["Location"]

        async def turns() -> None:
            for _ in range(dice.choice([0, 1, 5, 20])):
                await asyncio.sleep(0)

        async def read() -> bytes:
            await turns()
            return await read_all(http, url)

        async def stop() -> str:
            await turns()
            async with http.delete(url) as deleted:
                assert deleted.status == 200
                reason: str = (await deleted.json())["finish_reason"]
                return reason

        stops = [asyncio.create_task(stop()) for _ in range(2)]
        bodies = await asyncio.gather(started.read(), *(read() for _ in range(3)))
        reason, again = await asyncio.gather(*stops)
    whole = await read_all(http, url)
    assert set(bodies) == {whole}
    events = parse_events(whole)
    assert [each.number for each in events] == list(range(1, len(events) + 1))
    assert [each.name for each in events].count("done") == 1
    assert events[-1].data["finish_reason"] == reason == again
    async with http.get(url, headers={"Last-Event-ID": events[-1].id}) as over:
        assert over.status == 204
    return reason


async def test_callers_who_go_just_when_the_silence_is_broken_by_a_comment_leave_nothing_behind(
    upstream: Sandbox,
) -> None:
    """The first comment begins the response, and may find that its reader has gone a moment ago."""
    upstream.script_always(Reply.stream().after(Hold()))
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "STREAM_GRACE": "0", "PING_INTERVAL": "0.3"}
    async with running_server(env=env) as server, asyncio.timeout(30):
        for _ in range(3):
            callers = [await call(server.port, "POST", "/chat", question()) for _ in range(150)]
            await callers[0].read_head()
            for number, each in enumerate(callers):
                each.reset()
                if number % 5 == 0:
                    await asyncio.sleep(0)
        await server.wait_at_rest()
        assert b"Traceback" not in server.output

"""Answers of every protocol, read again at another process than the one that runs them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from client.streams.seal import JUMP
from server.config import Config
from tests.support.chunks import END, STOP, call, calls, chunk, text
from tests.support.desks import Desk, Table
from tests.support.serving import Api, changed, leaving_no_task, question, serving_beside_others
from tests.support.sse_reader import parse_events, read_until
from tests.support.ui_parts import posting

USER = {"role": "user", "content": "Why?"}
THOUGHT = {"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s"}
HEAD = [
    chunk({"reasoning": "hm", "reasoning_details": [THOUGHT]}),
    text("Hel"),
    calls(call(0, '{"a"', "find", "call_1")),
]
REST = [calls(call(0, ": 1}")), chunk({}, "tool_calls"), END]
_NOISE = re.compile(rb"^(: ping|retry: [0-9]+)\n\n", re.MULTILINE)


@dataclass(frozen=True)
class Way:
    """How a protocol asks, and reads again.

    Attributes:
        again: the path at which an answer is read again, of the id of its stream.
        is_numbered: whether its events have numbers that a reader can go on behind.
    """

    path: str
    body: dict[str, Any]
    again: Callable[[str], str]
    is_numbered: bool = False


CHAT_ID = "chat-1"
WAYS = {
    "chat": Way("/chat", question(grace_s=60), lambda id: f"/chat/{id}", is_numbered=True),
    "completions": Way(
        "/v1/chat/completions",
        {"model": "acme/m", "stream": True, "messages": [USER]},
        lambda id: f"/v1/chat/completions/{id}?stream=true",
    ),
    "responses": Way(
        "/v1/responses",
        {"model": "acme/m", "stream": True, "background": True, "input": "Why?"},
        lambda id: f"/v1/responses/resp_{id}?stream=true",
        is_numbered=True,
    ),
    "messages": Way(
        "/v1/messages",
        {"model": "acme/m", "stream": True, "max_tokens": 99, "messages": [USER]},
        lambda id: f"/v1/messages/{id}?stream=true",
    ),
    "ag-ui": Way(
        "/ag-ui",
        {"threadId": "t", "runId": "r", "messages": [{**USER, "id": "u"}], "forwardedProps": {"model": "acme/m"}},
        lambda id: "/ag-ui?runId=r",
        is_numbered=True,
    ),
    "ui": Way("/api/chat", posting(id=CHAT_ID), lambda id: f"/api/chat/{CHAT_ID}/stream"),
    "ollama": Way("/api/chat", {"model": "acme/m", "messages": [USER]}, lambda id: f"/v1/messages/{id}?stream=true"),
}
HEADERS = {"X-Run-Id": "r", "X-Stream-Grace": "60", "Sec-Fetch-Mode": "cors"}


@dataclass
class Two:
    """Two servers at one table.

    Attributes:
        table: moves by itself.
    """

    table: Table
    apis: list[Api]
    desks: list[Desk]


@asynccontextmanager
async def two_servers(config: Config) -> AsyncIterator[Two]:
    limits = {"grace_s": 600, "max_grace_s": 600, "retain_s": 60}
    config = changed(changed(config, "upstream", max_retries=0), "streams", **limits)
    table = Table()
    async with (
        leaving_no_task(),
        serving_beside_others(config) as first,
        serving_beside_others(config) as second,
    ):
        apis = [first, second]
        two = Two(table, apis, [Desk(table, api.streams) for api in apis])
        carrying = asyncio.create_task(_carry(table))
        try:
            async with asyncio.timeout(60):
                yield two
        finally:
            carrying.cancel()
            await asyncio.wait([carrying])
            for desk in two.desks:
                await desk.streams.stop_all("cancelled")


async def _carry(table: Table) -> None:
    while True:
        table.step()
        await asyncio.sleep(0.002)


@pytest.fixture
async def two(config: Config) -> AsyncIterator[Two]:
    async with two_servers(config) as servers:
        yield servers


async def begin(two: Two, way: Way, until: bytes) -> str:
    """Asks the first server, reads up to there, and leaves; the id of the stream, once others know as much."""
    headers = HEADERS if way is not WAYS["ollama"] else {"X-Stream-Grace": "60"}
    response = await two.apis[0].http.post(two.apis[0].url + way.path, json=way.body, headers=headers)
    assert response.status == 200, await response.read()
    await read_until(response, until)
    response.close()
    stream_id = response.headers["X-Stream-Id"]
    stream = two.apis[0].streams.get(stream_id, "local")
    assert stream is not None
    while two.table.sheets[stream_id].last < stream.log.last:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    return stream_id


async def read(api: Api, path: str, **headers: str) -> bytes:
    named = {"Sec-Fetch-Mode": "cors"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.http.get(api.url + path, headers=named) as response:
        assert response.status == 200, await response.read()
        return _NOISE.sub(b"", await response.read())


@pytest.mark.parametrize("name", WAYS)
async def test_whoever_is_asked_tells_the_same(two: Two, upstream: Sandbox, name: str) -> None:
    """While it runs, and when it has ended; in the words that it was asked for in, and in our own."""
    way, go_on = WAYS[name], asyncio.Event()
    upstream.script(Reply.stream(*HEAD, Hold(go_on), *REST))
    stream_id = await begin(two, way, b"Hel")
    paths = [way.again(stream_id), f"/chat/{stream_id}"]
    reading = [asyncio.create_task(read(api, path)) for path in paths for api in two.apis]
    while not all(api.streams.readers == 2 for api in two.apis):  # noqa: ASYNC110 - nobody tells of readers
        await asyncio.sleep(0)
    go_on.set()
    here, there, ours_here, ours_there = await asyncio.gather(*reading)
    assert here == there
    assert ours_here == ours_there
    assert parse_events(ours_here)[-1].name == "done"
    if name != "ui":  # which has nothing to say of what has ended
        assert await read(two.apis[1], way.again(stream_id)) == here
    assert await read(two.apis[1], f"/chat/{stream_id}") == ours_here
    results = [json.loads((await api.request("GET", f"/chat/{stream_id}/result"))[1]) for api in two.apis]
    assert results[0] == results[1]
    assert results[0]["usage"]["settled"]
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("name", WAYS)
async def test_the_end_that_others_have_told_is_told_in_all_words(two: Two, upstream: Sandbox, name: str) -> None:
    way = WAYS[name]
    upstream.script(Reply.stream(*HEAD, Hold()))
    stream_id = await begin(two, way, b"Hel")
    reading = asyncio.create_task(read(two.apis[1], way.again(stream_id)))
    while not two.apis[1].streams.readers:  # noqa: ASYNC110 - nobody tells of readers
        await asyncio.sleep(0)
    two.desks[0].is_frozen = True
    two.table.bury(two.desks[0])
    told = await reading
    assert b"The process that ran this answer ended" in told or name == "completions"
    two.desks[0].is_frozen = False
    stream = two.apis[0].streams.get(stream_id, "local")
    assert stream is not None
    two.desks[0].changed.add(stream)
    await stream.ended.wait()
    await upstream.calls[0].closed.wait()
    for path in (f"/chat/{stream_id}", way.again(stream_id)):
        if not path.startswith("/api/chat"):
            assert await read(two.apis[0], path) == await read(two.apis[1], path)
    ours = parse_events(await read(two.apis[1], f"/chat/{stream_id}"))
    assert [event.name for event in ours[-2:]] == ["error", "done"]
    assert ours[-1].number == two.table.sheets[stream_id].last + JUMP + 2
    assert [event.number for event in ours[:-2]] == list(range(1, len(ours) - 1))


@pytest.mark.parametrize("name", ["chat", "responses", "ag-ui"])
async def test_a_reader_that_had_more_than_is_known_elsewhere_gets_the_end_and_nothing_twice(
    two: Two, upstream: Sandbox, name: str
) -> None:
    """It read on at the owner, whom nobody else heard any more."""
    way, go_on = WAYS[name], asyncio.Event()
    upstream.script(Reply.stream(*HEAD, Hold(go_on), text("lo"), text(" there"), Hold()))
    stream_id = await begin(two, way, b"Hel")
    two.desks[0].is_frozen = True
    go_on.set()
    async with two.apis[0].http.get(two.apis[0].url + way.again(stream_id)) as response:
        had = _NOISE.sub(b"", await read_until(response, b'" there"'))
    number = len(re.findall(rb"^data: ", had, re.MULTILINE))
    two.table.bury(two.desks[0])
    if name == "responses":
        rest = await read(two.apis[1], f"{way.again(stream_id)}&starting_after={number - 1}")
    else:
        rest = await read(two.apis[1], way.again(stream_id), Last_Event_ID=f"{stream_id}:{number}")
    assert b"Hel" not in re.sub(rb'"response":.*', b"", rest)
    if name == "chat":
        assert [event.name for event in parse_events(rest)] == ["error", "done"]
    else:
        assert rest.count(b"data: ") == 1
        assert (b"RUN_ERROR" in rest) or (b"response.failed" in rest)
    numbers = list(map(int, re.findall(rb'(?:^id: [^:]*:|"sequence_number":)([0-9]+)', rest, re.MULTILINE)))
    assert numbers[0] == two.table.sheets[stream_id].last + JUMP + 1


async def test_an_answer_is_stopped_wherever_one_asks(two: Two, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hel"), Hold()))
    for method, path in [
        ("DELETE", "/chat/{id}"),
        ("POST", "/v1/responses/resp_{id}/cancel"),
        ("DELETE", "/v1/responses/resp_{id}"),
        ("POST", f"/api/chat/{CHAT_ID}/stop"),
    ]:
        way = WAYS["ui"] if "api" in path else WAYS["chat"]
        stream_id = await begin(two, way, b"Hel")
        response, _ = await two.apis[1].request(method, path.format(id=stream_id))
        assert response.status in (200, 204)
        stream = two.apis[0].streams.get(stream_id, "local")
        assert stream is not None
        assert stream.finish_reason == "cancelled"
        await upstream.calls[-1].closed.wait()


async def test_the_same_request_again_elsewhere_reads_the_same_answer(two: Two, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel"), text("lo"), STOP, END))
    bodies = []
    for api in (*two.apis, *two.apis):
        headers = {"Idempotency-Key": "a-key-of-22-characters"}
        async with api.http.post(f"{api.url}/chat", json=question(), headers=headers) as response:
            assert response.status == 200
            bodies.append(_NOISE.sub(b"", await response.read()))
    assert len(set(bodies)) == 1
    assert len(upstream.calls) == 1
    async with two.apis[1].http.post(
        f"{two.apis[1].url}/chat?stream=false", json=question(), headers=headers
    ) as response:
        assert (await response.json())["content"] == "Hello"


async def test_lists_tell_of_all_processes(two: Two, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    ids = []
    for api in (*two.apis, *two.apis):
        response, _ = await api.chat()
        ids.append(response.headers["X-Stream-Id"])
    await two.table.settle()
    for api in two.apis:
        listed = json.loads((await api.request("GET", "/chat?limit=3"))[1])
        assert [each["stream_id"] for each in listed["data"]] == ids[:0:-1]
        assert listed["has_more"]
        assert {each["state"] for each in listed["data"]} == {"finished"}


async def test_when_nobody_can_know_every_protocol_says_so(two: Two, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hel"), Hold()))
    stream_id = await begin(two, WAYS["chat"], b"Hel")
    two.table.is_there = False
    paths = [*(way.again(stream_id) for way in WAYS.values()), "/chat", f"/chat/{stream_id}/result"]
    for path in paths:
        response, body = await two.apis[1].request("GET", path)
        assert (response.status, response.headers["Retry-After"]) == (503, "5"), (path, body)
        assert b"cannot be reached" in body
    response, _ = await two.apis[1].request("DELETE", f"/chat/{stream_id}")
    assert response.status == 503
    two.table.is_there = True
    assert (await two.apis[1].request("DELETE", f"/chat/{stream_id}"))[0].status == 200
    assert (await two.apis[1].request("GET", "/chat/" + "x" * 22))[0].status == 404


async def test_those_who_read_where_others_may_be_asked_are_told_when_to_come_back(
    two: Two, upstream: Sandbox
) -> None:
    """Not in step, and in our own words alone."""
    upstream.script_always(Reply.stream(text("Hel"), Hold()))
    waits = set()
    for _ in range(8):
        async with two.apis[0].http.post(f"{two.apis[0].url}/chat", json=question()) as response:
            found = re.search(rb"^retry: ([0-9]+)\n\n", await read_until(response, b"Hel"))
            assert found is not None
            waits.add(int(found[1]))
    assert len(waits) > 1
    assert 1000 <= min(waits) <= max(waits) <= 5000
    url = f"{two.apis[0].url}/v1/chat/completions"
    async with two.apis[0].http.post(url, json=WAYS["completions"].body) as response:
        assert b"retry" not in await read_until(response, b"Hel")


async def test_whoever_reads_where_no_others_are_is_told_nothing_more(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    async with api.http.post(f"{api.url}/chat", json=question()) as response:
        assert b"retry" not in await read_until(response, b"Hel")

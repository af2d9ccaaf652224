"""However much one upstream sends, and however small it was packed, everybody else has their turns of the loop.

Judged by counted work: so many bytes may be worked on between two turns, and turns are counted. Seconds would tell of
the machine.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client.border.large_json import STEP_ITEMS
from client.config import UpstreamConfig
from client.sandbox import Reply, open_sandbox
from client.streams.gathering import PIECE_BYTES
from client.upstream.tap import TURN_BYTES
from server.config import Config, ServerConfig
from tests.support.chunks import END, STOP, call, calls, chunk, text
from tests.support.flood import HEAD, open_flood
from tests.support.serving import Api, question, serving
from tests.support.sse_reader import parse_events, text_of

LAST = text("x") + STOP + END
GZIP = HEAD + b"Content-Encoding: gzip\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
MB = 1_000_000


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._take)

    def _take(self) -> None:
        self.number += 1
        self._handle = self._loop.call_soon(self._take)

    def stop(self) -> None:
        self._handle.cancel()


@asynccontextmanager
async def counted_turns() -> AsyncIterator[Turns]:
    turns = Turns()
    try:
        yield turns
    finally:
        turns.stop()


@asynccontextmanager
async def asked_meanwhile(api: Api) -> AsyncIterator[list[int]]:
    """Asks for `/health` again and again inside the block; fills a list with the statuses."""
    statuses: list[int] = []

    async def ask() -> None:
        while True:
            response, _ = await api.request("GET", "/health")
            statuses.append(response.status)

    task = asyncio.create_task(ask())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait([task])


def config_for(base_url: str) -> Config:
    return Config(
        upstream=UpstreamConfig(base_url=base_url, max_retries=0), server=ServerConfig(max_body_bytes=50 * MB)
    )


def one_byte_chunks(data: bytes) -> bytes:
    """Every byte as a chunk of its own."""
    return b"".join(b"1\r\n%c\r\n" % byte for byte in data)


THINKING = b'data: {"choices":[{"delta":{"reasoning":"x"}}]}\n\n'
LETTER = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
FLOODS = {
    "comments": b": x\n\n" * 400_000,
    "comment lines": b":\n" * MB,
    "blank lines": b"\n" * (4 * MB),
    "carriage returns": b"\r" * (2 * MB),
    "both line ends": b"\r\n" * (2 * MB),
    "empty objects": b"data: {}\n\n" * 60_000,
    "empty data": b"data\n\n" * 50_000,
    "no JSON": b"data: x\n\n" * 50_000,
    "unknown fields": b"retry: 1\n\n" * 100_000,
    "thinking": THINKING * 40_000,
    "letters": LETTER * 40_000,
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_taken_in_shares(name: str, packed: bool) -> None:
    """break-it 9"""
    flood = FLOODS[name] + b"\n\n"
    body = text("a") + flood + LAST
    sent = gzip.compress(body) if packed else body
    with open_flood(sent, head=GZIP if packed else HEAD) as upstream:
        async with (
            serving(config_for(upstream.base_url)) as api,
            counted_turns() as turns,
            asked_meanwhile(api) as statuses,
        ):
            before = turns.number
            _, events = await api.chat()
            taken = turns.number - before
    assert taken >= len(body) / TURN_BYTES
    assert events[-1].data["completed"] is True
    found = text_of(events)
    assert found == "a" + "x" * (40_000 if name == "letters" else 0) + "x"
    assert len(statuses) >= 2
    assert set(statuses) == {200}


async def test_a_bomb_is_neither_held_nor_unpacked_in_one_turn() -> None:
    """break-it 9: 64 kB that unpack to 64 MB"""
    packer = zlib.compressobj(9, wbits=31)
    blank = b"".join(packer.compress(b"\n" * MB) for _ in range(64))
    bomb = blank + packer.compress(LAST) + packer.flush()
    assert len(bomb) < 70_000
    with open_flood(bomb, head=GZIP) as upstream:
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            _, events = await api.chat()
            assert turns.number - before >= 64 * MB / TURN_BYTES
    assert text_of(events) == "x"


async def test_chunks_of_one_byte_are_parsed_in_shares() -> None:
    """break-it 9"""
    body = one_byte_chunks(text("a") + LETTER * 5000 + LAST) + b"0\r\n\r\n"
    with open_flood(body, head=CHUNKED) as upstream:
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            _, events = await api.chat()
            assert turns.number - before >= len(body) / TURN_BYTES
    assert text_of(events) == "a" + "x" * 5001


@pytest.mark.parametrize("what", ["after the end", "a refusal", "a whole completion", "a web page"])
async def test_a_bomb_that_is_no_stream_is_read_in_shares(what: str) -> None:
    """break-it 9: what is read without being handed on"""
    size = 32 * MB
    content_type = b"text/event-stream" if what == "after the end" else b"text/html"
    status = b"429 X" if what == "a refusal" else b"200 OK"
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: " + content_type + b"\r\nContent-Encoding: gzip\r\n"
    first = {
        "after the end": LAST,
        "a whole completion": json.dumps({"choices": [{"message": {"content": "x"}}]}).encode(),
    }.get(what, b"<html>")
    bomb = gzip.compress(first + b"\n" * size)
    with open_flood(bomb, head=head + b"Connection: close\r\n") as upstream:
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            response, events = await api.chat()
            taken = turns.number - before
    assert events[-1].name == "done"
    if what in ("a whole completion", "a web page"):
        assert taken >= size / 1_048_576  # aiohttp unpacks no more at once
    assert response.status == {"a refusal": 429, "a web page": 502}.get(what, 200)


@pytest.mark.parametrize("kind", ["letters", "long text", "many tool calls"])
async def test_a_large_answer_is_gathered_in_shares(kind: str) -> None:
    """break-it 10"""
    pieces = {
        "letters": LETTER * 100_000,
        "long text": text("y" * 100_000) * 100,
        "many tool calls": b"".join(calls(call(n, "{}", name="f", id=f"c{n}")) for n in range(2000)),
    }[kind]
    with open_flood(text("a"), pieces, LAST) as upstream:
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            response, found = await api.chat_whole()
            gathered = turns.number - before
            log_bytes = api.streams.total_bytes
            before = turns.number
            path = f"{response.headers['Location']}/result"
            again, _ = await api.request("GET", path)
            made = turns.number - before
    assert (response.status, again.status) == (200, 200)
    assert gathered >= (len(pieces) + log_bytes) // PIECE_BYTES
    assert made >= log_bytes // PIECE_BYTES
    assert len(found["content"]) == {"letters": 100_002, "long text": 10_000_002}.get(kind, 2)
    assert len(found["tool_calls"]) == (2000 if kind == "many tool calls" else 0)


async def test_a_large_model_list_is_read_in_shares() -> None:
    """near miss: 100,000 models"""
    number = 10_000
    models = [{"id": f"a{n % 50}/m-{n}", "description": "x" * 200, "created": n} for n in range(number)]
    async with open_sandbox() as upstream:
        upstream.script_always(Reply.json({"data": models}), path="/models")
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            async with asked_meanwhile(api) as statuses:
                response, body = await api.request("GET", "/models")
            taken = turns.number - before
            assert (response.status, json.loads(body)["data"]) == (200, models)
            for query in ("q=m-77", "sort=pricing_low_to_high", "sort=name&offset=9000"):
                before = turns.number
                response, _ = await api.request("GET", f"/models/search?{query}")
                assert response.status == 200
            response, _ = await api.request("GET", "/models/a1/mm-771")
            assert response.status == 404
    assert taken >= 2 * number / STEP_ITEMS  # decoded, and understood
    assert len(statuses) > 3


WRONG_LISTS = {
    "messages of numbers": b'{"model":"a/b","messages":[' + b",".join([b"1"] * 500_000) + b"]}",
    "messages of lists": b'{"model":"a/b","messages":[' + b",".join([b"[]"] * 300_000) + b"]}",
    "empty history": b'{"message":"x","history":[' + b",".join([b"{}"] * 300_000) + b"]}",
    "fallbacks of numbers": b'{"message":"x","fallbacks":[' + b",".join([b"1"] * 300_000) + b"]}",
}


@pytest.mark.parametrize("name", WRONG_LISTS)
async def test_a_list_of_wrong_items_is_refused_in_few_words(name: str) -> None:
    """break-it 1: work in proportion to what is said of it, not to the items"""
    async with serving(config_for("http://127.0.0.1:9/v1")) as api, asked_meanwhile(api) as statuses:
        response, body = await api.request("POST", "/chat", WRONG_LISTS[name], Content_Type="application/json")
        assert response.status == 422
        assert len(body) < 20_000
        assert set(statuses) <= {200}


async def test_a_large_request_is_read_in_shares_and_goes_upstream_whole() -> None:
    """near miss: huge requests"""
    message = "x" * (30 * MB)
    with open_flood(text("a"), LAST) as upstream:
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            body = io.BytesIO(json.dumps(question(message=message)).encode())
            headers = {"Content-Type": "application/json"}
            async with api.http.post(f"{api.url}/chat", data=body, headers=headers) as response:
                events = parse_events(await response.read())
            assert turns.number - before >= len(message) / 1_048_576
    assert text_of(events) == "ax"


async def test_an_answer_that_comes_at_once_keeps_its_order() -> None:
    """break-it 9"""
    words = [f"{number} " for number in range(20_000)]
    body = b"".join(map(text, words)) + STOP + END
    with open_flood(body) as upstream:
        async with serving(config_for(upstream.base_url)) as api:
            _, events = await api.chat()
    assert text_of(events) == "".join(words)
    assert [each.number for each in events] == list(range(1, len(events) + 1))


async def test_a_cut_in_the_middle_of_much_comes_after_all_that_came_before() -> None:
    """break-it 9: an end of the connection waits behind the bytes"""
    words = [f"{number} " for number in range(20_000)]
    body = b"".join(map(text, words))
    head = HEAD + b"Content-Length: %d\r\n" % (len(body) + 1000)
    with open_flood(body, head=head) as upstream:
        async with serving(config_for(upstream.base_url)) as api:
            _, events = await api.chat()
    assert text_of(events) == "".join(words)
    assert [each.name for each in events[-2:]] == ["error", "done"]
    assert events[-2].data["type"] == "stream_interrupted"


async def test_who_leaves_in_the_middle_of_a_flood_leaves_nothing_behind() -> None:
    """break-it 9"""
    with open_flood(text("a"), *[b": x\n\n" * 20_000] * 500) as upstream:
        async with serving(config_for(upstream.base_url)) as api:
            response = await api.http.post(f"{api.url}/chat", json=question(grace_s=0))
            assert await response.content.readany()
            response.close()
            async with asyncio.timeout(5):
                await api.streams.wait_idle()


async def test_a_picture_is_one_event() -> None:
    """break-it 9: 20 MB in base64 pass with the settings as they are"""
    url = "data:image/png;base64," + "A" * (27 * MB)
    image = chunk({"images": [{"type": "image_url", "image_url": {"url": url}}]})
    with open_flood(text("a"), image, LAST) as upstream:
        async with serving(config_for(upstream.base_url)) as api, counted_turns() as turns:
            before = turns.number
            _, events = await api.chat()
            assert turns.number - before >= 27 * MB / TURN_BYTES
    assert [each.name for each in events] == ["start", "content", "image", "content", "usage", "done"]
    assert events[2].data["image_url"]["url"] == url

"""Requests that are held until upstream answers count with the answers."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.mcp.clients import modern
from tests.support.raw_http import ask, read_reply
from tests.support.serving import Api, changed, serving

LARGE = json.dumps({"message": "x" * 100_000}).encode()
"""Takes 200 kB, of which 900 kB hold four."""


def head(size: int, path: str = "/chat", more: str = "") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
    return f"{lines}Content-Length: {size}\r\n\r\n".encode()


@pytest.fixture
async def narrow(config: Config) -> AsyncIterator[Api]:
    config = changed(config, "streams", max_total_bytes=900_000)
    async with serving(changed(config, "server", max_body_bytes=1_000_000)) as running:
        yield running
        assert running.streams.total_bytes < 10_000  # a finished answer takes some bytes, a request none


async def post(api: Api) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head(len(LARGE)) + LARGE)
    return writer


async def test_break_it_21_what_is_held_counts_and_more_is_refused(upstream: Sandbox, narrow: Api) -> None:
    silence = Hold()
    upstream.script_always(Reply.stream(text("x"), STOP, END).after(silence))
    writers = [await post(narrow) for _ in range(4)]
    await upstream.wait_call(3)
    assert 800_000 < narrow.streams.total_bytes < 900_000
    reply = await ask(narrow.port, head(len(LARGE)) + LARGE)
    assert (reply.status, reply.json["type"]) == (503, "overloaded")
    assert reply.headers["retry-after"] == "5"
    assert len(upstream.requests) == 4
    silence.until.set()
    async with asyncio.timeout(10):
        await narrow.streams.wait_idle()
    assert narrow.streams.total_bytes < 10_000
    for writer in writers:
        writer.transport.abort()
    assert (await ask(narrow.port, head(len(LARGE)) + LARGE)).status == 200


@pytest.mark.parametrize("end", ["refused", "left", "first event"])
async def test_break_it_21_a_request_is_let_go_as_soon_as_it_is_not_needed(
    upstream: Sandbox, narrow: Api, end: str
) -> None:
    silence, forever = Hold(), Hold()
    replies = {
        "refused": Reply.error(402, "No").after(silence),
        "left": Reply.stream().after(forever),
        "first event": Reply.stream(text("x"), forever).after(silence),
    }
    upstream.script(replies[end])
    writer = await post(narrow)
    await upstream.wait_call(0)
    assert narrow.streams.total_bytes > 200_000
    silence.until.set()
    if end == "left":
        writer.transport.abort()
    async with asyncio.timeout(10):
        while narrow.streams.total_bytes > 10_000:
            await narrow.request("GET", "/health")
    writer.transport.abort()


async def test_break_it_21_a_request_that_is_still_coming_in_counts(upstream: Sandbox, narrow: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", narrow.port)
    writer.write(head(1_000_000) + b" " * 850_000)
    async with asyncio.timeout(10):
        while narrow.streams.total_bytes < 850_000:
            await narrow.request("GET", "/health")
        writer.write(b" " * 100_000)
        reply = await read_reply(reader)
    assert (reply.status, reply.json["type"]) == (503, "overloaded")
    assert narrow.streams.total_bytes < 10_000
    writer.transport.abort()


async def test_break_it_21_so_does_one_that_is_packed(narrow: Api) -> None:
    packed = gzip.compress(b" " * 950_000)
    reply = await ask(narrow.port, head(len(packed), more="Content-Encoding: gzip\r\n") + packed)
    assert (reply.status, reply.json["type"]) == (503, "overloaded")


async def test_break_it_21_a_request_of_mcp_counts_while_it_is_answered(upstream: Sandbox, config: Config) -> None:
    """Once as it came, and once as a turn that can be gone on from, for as long as its answer is kept."""
    config = changed(config, "streams", max_total_bytes=1_800_000)
    async with serving(changed(config, "server", max_body_bytes=1_000_000)) as api:
        await _ask_three_at_once(upstream, api)
        assert 800_000 < api.streams.total_bytes < 820_000


async def _ask_three_at_once(upstream: Sandbox, narrow: Api) -> None:
    silence = Hold()
    upstream.script_always(Reply.stream(text("x"), STOP, END).after(silence))
    arguments = {"prompt": "x" * 400_000}
    message, headers = modern(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "llm_chat", "arguments": arguments}}
    )
    body = json.dumps(message).encode()

    async def send() -> tuple[int, str]:
        async with narrow.http.post(f"{narrow.url}/mcp", data=body, headers=headers) as response:
            return response.status, await response.text()

    first, second = asyncio.create_task(send()), asyncio.create_task(send())
    await upstream.wait_call(1)
    assert narrow.streams.total_bytes > 1_600_000
    status, found = await send()
    assert status == 503
    assert "at its limit" in found
    silence.until.set()
    assert [status for status, _ in await asyncio.gather(first, second)] == [200, 200]

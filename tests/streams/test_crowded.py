"""Where there is no room for all: readers that do not read give way, and lists stay short."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client.sandbox import Reply, Sandbox
from client.streams import readable as readable_module
from client.streams import room as room_module
from client.streams import streams as streams_module
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, question, serving
from tests.support.sse_reader import Event, parse_events, text_of

SIZE = 6_000_000
"""More than the kernel takes for a connection that nobody reads."""
LONG = Reply.stream(*[text("x" * 10_000) for _ in range(SIZE // 10_000)], STOP, END)
SHORT = Reply.stream(text("y"), STOP, END)


@pytest.fixture
def crowded(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Settings under which two long answers take all the room, and nobody waits for long."""
    monkeypatch.setattr(readable_module, "STALLED_S", 0.05)
    monkeypatch.setattr(room_module, "LOOK_S", 0.01)
    monkeypatch.setattr(streams_module, "LOOK_S", 0.01)
    return changed(config, "streams", max_total_bytes=SIZE, max_log_bytes=SIZE * 2, grace_s=0.0)


@asynccontextmanager
async def never_reads(api: Api, method: str, path: str, body: bytes = b"") -> AsyncIterator[socket.socket]:
    """A caller that sends its request and reads nothing."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", api.port))
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await loop.sock_sendall(sock, head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        yield sock


@pytest.mark.parametrize("what", ["finished", "running"])
async def test_readers_that_never_read_make_room_for_others(upstream: Sandbox, crowded: Config, what: str) -> None:
    """near miss: 6 readers that never read, and 503 for all others for 120 s"""
    if what == "running":
        crowded = changed(crowded, "streams", max_log_bytes=SIZE // 2)
    upstream.script_always(LONG)
    async with serving(crowded) as api, asyncio.timeout(20):
        body = b'{"message": "x", "model": "acme/m", "grace_s": 0}'
        async with (
            never_reads(api, "POST", "/chat", body),
            never_reads(api, "POST", "/chat", body),
            never_reads(api, "POST", "/chat", body),
        ):
            while api.streams.total_bytes < SIZE:
                await api.request("GET", "/health")
            upstream.script(SHORT)
            status = 503
            while status == 503:
                response, events = await chat(api)
                status = response
            assert status == 200
            assert text_of(events) == "y"


async def chat(api: Api) -> tuple[int, list[Event]]:
    async with api.http.post(f"{api.url}/chat", json=question()) as response:
        body = await response.read()
    return response.status, parse_events(body) if response.status == 200 else []


async def test_one_that_waits_for_room_goes_on_when_those_that_never_read_have_gone(
    upstream: Sandbox, crowded: Config
) -> None:
    """near miss: 6 readers that never read"""
    crowded = changed(crowded, "streams", max_log_bytes=SIZE // 2)
    upstream.script_always(LONG)
    async with serving(crowded) as api, asyncio.timeout(20):
        body = b'{"message": "x", "model": "acme/m", "grace_s": 0}'
        async with never_reads(api, "POST", "/chat", body), never_reads(api, "POST", "/chat", body):
            while api.streams.total_bytes < SIZE // 2:
                await api.request("GET", "/health")
            _, events = await api.chat()
            assert (len(text_of(events)), events[-1].data["completed"]) == (SIZE, True)


async def test_a_reader_that_reads_on_is_let_be(
    upstream: Sandbox, crowded: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """near miss: 6 readers that never read"""
    # a busy machine keeps a test from reading for longer than 50 ms
    monkeypatch.setattr(readable_module, "STALLED_S", 0.5)
    upstream.script(LONG)
    crowded = changed(crowded, "streams", max_total_bytes=80_000)
    async with serving(crowded) as api, asyncio.timeout(20):
        body = b'{"message": "x", "model": "acme/m", "grace_s": 0}'
        got, pause_at = b"", 0
        async with never_reads(api, "POST", "/chat", body) as sock:
            loop = asyncio.get_running_loop()
            while b"event: done" not in got:
                piece = await loop.sock_recv(sock, 50_000)
                assert piece, "it was cut off"
                got += piece
                if len(got) >= pause_at:  # all of it takes longer than the patience with one that stalls
                    pause_at += SIZE // 8
                    await asyncio.sleep(0.1)
                    if api.streams.is_over:  # others want its room, and are refused or have theirs
                        await chat(api)
        assert got.count(b"x" * 1000) >= SIZE // 1000 - 200  # some are cut by chunks


async def test_a_list_is_as_long_as_was_asked_for(upstream: Sandbox, config: Config) -> None:
    """break-it 24, of streams"""
    upstream.script_always(SHORT)
    async with serving(config) as api:
        ids = [(await api.chat())[0].headers["X-Stream-Id"] for _ in range(105)]
        for query, number, has_more in (("", 100, True), ("?limit=3", 3, True), ("?limit=1000", 105, False)):
            async with api.http.get(f"{api.url}/chat{query}") as response:
                found = await response.json()
            assert [each["stream_id"] for each in found["data"]] == ids[::-1][:number]
            assert found["has_more"] is has_more
        for limit in ("0", "1001", "-1", "x", "", "1.0", "9" * 5000, "\u0661"):
            async with api.http.get(f"{api.url}/chat", params={"limit": limit}) as refused:
                found = await refused.json()
            assert (refused.status, found["type"]) == (422, "invalid_request")
            assert "1 to 1000" in found["error"]

"""A caller who leaves stops the bill: upstream is closed at once, in both event loops."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time

import pytest

from client.sandbox import COMMENT, Hold, Pause, Reply, Sandbox, chunk
from client.sandbox.script import Step
from tests.support.process import running_server

FLOW: list[Step] = [step for _ in range(500) for step in (chunk({"content": "word "}), Pause(0.01))]


def moments() -> dict[str, tuple[Reply, bool, bytes]]:
    """When callers leave: what upstream does, whether a stream was asked for, what is awaited before."""
    silence = Hold()
    silent, flowing = Reply.stream(chunk({"content": "x"}), silence), Reply.stream(*FLOW)
    return {
        "before the head": (Reply.stream().after(silence), True, b""),
        "before the first token": (Reply.stream(COMMENT, silence), True, b"\r\n\r\n"),
        "mid-stream, silent": (silent, True, b"event: content"),
        "mid-stream, flowing": (flowing, True, b"event: content"),
        "stream=false, silent": (silent, False, b""),
        "stream=false, flowing": (flowing, False, b""),
    }


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_q98_leaving_closes_upstream_whatever_the_moment(upstream: Sandbox, uvloop: bool) -> None:
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "STREAM_GRACE": "0"}
    took: dict[str, float] = {}
    async with running_server(env=env, uvloop=uvloop) as server, asyncio.timeout(20):
        for moment, (reply, stream, awaited) in moments().items():
            for way in ("fin", "reset"):
                upstream.script(reply)
                body = json.dumps({"message": "x", "stream": stream}).encode()
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                head = "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                call = await upstream.wait_call(len(took))
                if awaited:
                    await reader.readuntil(awaited)
                left_s = leave(writer, way)
                await call.closed.wait()
                assert call.cancelled
                assert call.closed_at_s is not None
                took[f"{moment}, {way}"] = call.closed_at_s - left_s
    for moment, seconds in took.items():
        print(f"upstream closed after {seconds * 1000:5.1f} ms: {moment}")
    assert max(took.values()) < 1


def leave(writer: asyncio.StreamWriter, way: str) -> float:
    """Closes the caller's socket politely or not; returns when."""
    if way == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return time.monotonic()

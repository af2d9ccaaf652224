"""A restart under load: the process ends in time, and every reader who reads is told."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from client.sandbox import Hold, Reply, Sandbox
from tests.support.callers import Caller, call_and_read_head
from tests.support.chunks import text
from tests.support.process import running_server
from tests.support.serving import question
from tests.support.sse_reader import parse_events

SHUTDOWN_S = 0.5
FLUSH_S = 2.0
UNREAD_BYTES = 6_000_000
"""More than the sockets between the server and a reader who does not read, and the server's own buffer, will hold."""


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_sigterm_ends_two_hundred_streams_in_time_under_readers_who_do_not_read(
    upstream: Sandbox, uvloop: bool
) -> None:
    read, unread = Reply.stream(text("x"), Hold()), Reply.stream(text("x" * UNREAD_BYTES), Hold())
    upstream.script(*[unread, *[read] * 39] * 5)
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "SHUTDOWN_TIMEOUT": str(SHUTDOWN_S)}
    async with running_server(env=env, uvloop=uvloop) as server, asyncio.timeout(60):
        callers = [await start(server.port, small=number % 40 == 0) for number in range(200)]
        reading = [asyncio.create_task(each.read_body()) for number, each in enumerate(callers) if number % 40]
        sent_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        bodies = await asyncio.gather(*reading)
        assert await server.wait_exit() == 0
        took_s = time.monotonic() - sent_s
        print(f"{took_s:.2f} s from SIGTERM to the exit")
        assert SHUTDOWN_S <= took_s < SHUTDOWN_S + FLUSH_S + 3
        for body in bodies:
            events = parse_events(body)
            assert [each.name for each in events] == ["start", "content", "error", "done"]
            assert (events[2].data["type"], events[2].data["retryable"]) == ("shutting_down", True)
            assert events[3].data["finish_reason"] == "shutting_down"
        assert b"Waiting up to 0.5 s for 200 answers" in server.output
        assert b"Traceback" not in server.output
        assert len(await callers[0].reader.read()) < UNREAD_BYTES  # it was not written to the end
        await asyncio.gather(*(each.aclose() for each in callers))


async def start(port: int, *, small: bool) -> Caller:
    return await call_and_read_head(port, "POST", "/chat", question(), small=small)


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_ctrl_c_twice_never_hangs_on_a_reader_who_does_not_read(upstream: Sandbox, uvloop: bool) -> None:
    upstream.script_always(Reply.stream(text("x" * UNREAD_BYTES), Hold()))
    env = {"OPENROUTER_BASE_URL": upstream.base_url}
    async with running_server(env=env, uvloop=uvloop) as server, asyncio.timeout(30):
        caller = await start(server.port, small=True)
        sent_s = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        await server.wait_said(b"Waiting up to 30 s")
        assert await server.stop(signal.SIGINT) == 0
        took_s = time.monotonic() - sent_s
        print(f"{took_s:.2f} s from the first Ctrl+C to the exit")
        assert took_s < FLUSH_S + 3
        assert b"Traceback" not in server.output
        await caller.aclose()


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_no_connection_outlives_the_event_loop(upstream: Sandbox, uvloop: bool) -> None:
    """bare 11: Python 3.13 prints a trace of its own for each one that does."""
    upstream.script_always(Reply.stream(text("x" * UNREAD_BYTES), Hold()))
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "SHUTDOWN_TIMEOUT": "0.1", "PYTHONWARNINGS": "always"}
    async with running_server(env=env, uvloop=uvloop) as server, asyncio.timeout(30):
        callers = [await start(server.port, small=True) for _ in range(3)]
        assert await server.stop() == 0
        assert b"unclosed" not in server.output
        await asyncio.gather(*(caller.aclose() for caller in callers))

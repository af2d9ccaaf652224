"""One process after the other is restarted, as systemd does it, under callers who never pause: nobody notices."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Hold, Mark, Reply, Sandbox
from tests.instances.callers import SHORT, Callers
from tests.instances.conftest import Fleet, Instance, shared
from tests.support.chunks import END, STOP, text
from tests.support.engines import Engine

INSTANCES = 2
HELD = 6
CALLERS = 4
"""Of each kind."""


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """The socket that all of them are passed."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        yield sock


async def held_answer(url: str) -> bytes:
    """An answer that upstream holds back in the middle."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/chat", json={"message": "x"}) as response:
        assert response.status == 200
        return await response.read()


async def restart(
    old: Instance, number: int, fleet: Fleet, door: socket.socket, upstream: Sandbox, callers: Callers, stack: Any
) -> None:
    """As `systemctl restart` does it for one of them, while answers are held back until it has begun to end."""
    hold, marks = Hold(), [Mark(asyncio.Event()) for _ in range(HELD)]
    upstream.script(*(Reply.stream(text("a"), mark, hold, text("b"), STOP, END) for mark in marks))
    held = [asyncio.create_task(held_answer(callers.url)) for _ in range(HELD)]
    await asyncio.gather(*(mark.reached.wait() for mark in marks))
    old.process.process.terminate()
    await callers.wait_more(10 * CALLERS)
    hold.until.set()
    for answer in await asyncio.gather(*held):
        assert b'"completed":true' in answer, answer
    assert await old.process.wait_exit() == 0
    await stack.enter_async_context(fleet.instance(f"again-{number}", passed=(door,)))
    await callers.wait_more(10 * CALLERS)


async def test_nothing_is_cut_and_nothing_refused(
    engine: Engine, upstream: Sandbox, door: socket.socket, tmp_path: Path
) -> None:
    upstream.script_always(SHORT, path="/messages")
    env: Mapping[str, str] = {
        **shared(engine),
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_PROTOCOLS": "messages",
    }
    fleet, callers = Fleet(env, tmp_path), Callers(f"http://127.0.0.1:{door.getsockname()[1]}")
    async with asyncio.timeout(240), AsyncExitStack() as stack:
        olds = [
            await stack.enter_async_context(fleet.instance(f"{number}", passed=(door,)))
            for number in range(INSTANCES)
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(2 * CALLERS):
                group.create_task(callers.keep_asking(keeps_connection=number < CALLERS))
            await callers.wait_more(10 * CALLERS)
            for number, old in enumerate(olds):
                await restart(old, number, fleet, door, upstream, callers, stack)
            callers.stop.set()
    print(json.dumps({"answers": callers.answers}))

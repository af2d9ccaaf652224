"""One process after the other is restarted, as systemd does it, under callers who never pause: nobody notices."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Hold, Mark, Reply, Sandbox
from tests.instances.conftest import Fleet, Instance, shared
from tests.support.chunks import END, STOP, text
from tests.support.engines import Engine
from tests.support.messages import ASKED, sent

INSTANCES = 2
HELD = 6
CALLERS = 4
"""Of each kind."""

SHORT = sent(
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Rayleigh."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
"""All that most callers get."""


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """The socket that all of them are passed."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        yield sock


@dataclass
class Callers:
    """People who ask for one answer after the other, and look at each.

    Attributes:
        url: of the shared socket.
        answers: that came whole.
        stop: ends it.
    """

    url: str
    answers: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_asking(self, *, keeps_connection: bool) -> None:
        """By one connection for all, or by one for each answer; POSTs, which no client sends again by itself."""
        connector = aiohttp.TCPConnector(limit=1, force_close=not keeps_connection)
        async with aiohttp.ClientSession(connector=connector) as http:
            while not self.stop.is_set():
                async with http.post(f"{self.url}/v1/messages", json={**ASKED, "stream": True}) as response:
                    said = await response.read()
                assert response.status == 200, said
                assert b"event: message_stop" in said, said
                self.answers += 1

    async def wait_more(self, count: int) -> None:
        """Returns after so many more answers."""
        goal = self.answers + count
        while self.answers < goal:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


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


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_nothing_is_cut_and_nothing_refused(
    engine: Engine, upstream: Sandbox, door: socket.socket, tmp_path: Path, uvloop: bool
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
            await stack.enter_async_context(fleet.instance(f"{number}", passed=(door,), uvloop=uvloop))
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

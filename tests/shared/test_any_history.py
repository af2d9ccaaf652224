"""Whatever is cut, stopped, killed, frozen or emptied: what any reader anywhere got of an answer begins with what its
owner said, holds nothing twice, and has one end.

Histories are drawn by number; the same number draws the same faults, though not at the same moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest

from client.sandbox import Sandbox, open_sandbox
from client.streams.seal import JUMP
from tests.shared.real import Got, begin, read_post, read_some, sharing_process
from tests.support.engines import Engine
from tests.support.process import ServerProcess
from tests.support.sse_reader import Event

HISTORIES = range(int(os.environ.get("HISTORIES", "2")))
LEASE_S = 1.0
ANSWERS = 6
FAULTS = ("kill", "stop", "freeze", "empty", "restart", "nothing")


@dataclass
class Deployment:
    """Two servers and their engine, and what has become of them.

    Attributes:
        has_lost: whether the engine lost what it held, or was not told: answers may be nowhere then.
    """

    stack: AsyncExitStack
    engine: Engine
    upstream: Sandbox
    http: aiohttp.ClientSession
    servers: list[ServerProcess] = field(default_factory=list)
    has_lost: bool = False

    async def add(self) -> None:
        self.servers.append(
            await self.stack.enter_async_context(sharing_process(self.upstream, self.engine, lease_s=LEASE_S))
        )

    async def do(self, fault: str, draw: random.Random) -> None:
        """One fault, and its end."""
        server = draw.choice(self.servers)
        match fault:
            case "kill":
                self.servers.remove(server)
                await server.stop(signal.SIGKILL)
                await self.add()
            case "stop":
                server.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(draw.uniform(0.2, 3.5) * LEASE_S)
                server.process.send_signal(signal.SIGCONT)
            case "freeze":
                self.has_lost = True
                self.engine.freeze()
                await asyncio.sleep(draw.uniform(0.2, 4) * LEASE_S)
                self.engine.thaw()
            case "empty":
                self.has_lost = True
                with self.engine.admin() as admin:
                    await asyncio.to_thread(admin.flushall)
            case "restart":
                self.has_lost = True
                self.engine.kill()
                await asyncio.sleep(draw.uniform(0, 2) * LEASE_S)
                await asyncio.to_thread(self.engine.start)


@asynccontextmanager
async def deployed(engine: Engine, upstream: Sandbox) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        deployment = Deployment(stack, engine, upstream, http)
        for _ in range(2):
            await deployment.add()
        yield deployment


async def wander(deployment: Deployment, got: Got, draw: random.Random) -> None:
    """Reads here and there, each time behind what it has, until the end, or until there is no such answer."""
    while not got.has_ended and got.gone < 5:
        server = draw.choice(deployment.servers)
        await read_some(deployment.http, server.url, got, most=draw.choice([None, 1, 10, 100]))
        await asyncio.sleep(draw.choice([0, 0.01, 0.3 * got.gone]))


async def one_answer(deployment: Deployment, draw: random.Random) -> list[Got]:
    """Begins one, and has it read by whoever asked for it and by others."""
    while True:
        server = draw.choice(deployment.servers)
        pace = {"tokens_per_s": draw.choice([50, 200, 1000]), "tokens": draw.choice([20, 300, 1500])}
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError, AssertionError):
            mine, response = await begin(deployment.http, server.url, sandbox=pace)
            break
        await asyncio.sleep(0.2)
    others = [Got(mine.stream_id) for _ in range(2)]

    async def read_mine() -> None:
        if draw.random() < 0.3:
            response.close()
        await read_post(mine, response)
        await wander(deployment, mine, draw)

    await asyncio.gather(read_mine(), *(wander(deployment, got, draw) for got in others))
    return [mine, *others]


@pytest.mark.parametrize("number", HISTORIES)
async def test_what_anybody_got_is_a_prefix_and_one_end(engine: Engine, number: int) -> None:
    draw = random.Random(number)
    faults = [draw.choice(FAULTS) for _ in range(4)]
    async with open_sandbox() as upstream, deployed(engine, upstream) as deployment, asyncio.timeout(240):
        answers = [asyncio.create_task(one_answer(deployment, random.Random(draw.random()))) for _ in range(ANSWERS)]
        for fault in faults:
            await asyncio.sleep(draw.uniform(0, 1.5))
            await deployment.do(fault, draw)
        told = await asyncio.gather(*answers)
    for readers in told:
        judge(readers, may_be_gone=deployment.has_lost)


def judge(readers: list[Got], *, may_be_gone: bool) -> None:
    known: dict[int, Event] = {}
    for got in readers:
        assert may_be_gone or not got.gone
        if got.has_ended:
            got.judge()
        else:
            assert [event.number for event in got.events] == list(range(1, len(got.events) + 1))
        for event in got.events:
            assert event.number is not None
            assert known.setdefault(event.number, event) == event
    sealed = {number for number in known if number > JUMP}
    assert len(sealed) in (0, 2)

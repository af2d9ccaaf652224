"""Runs a soak and judges it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import aiohttp

from client.sandbox import Reply, Sandbox, open_sandbox
from tests.soak.behaviours import BEHAVIOURS, Behaviour, Broken, Visit
from tests.soak.upstreams import random_reply
from tests.support.process import ServerProcess, running_server

AT_ONCE = 50
ROUNDS = 6
RETAIN_S = 6.0
REST_S = 30.0
VISIT_S = 20.0
_LOOK_S = 0.1
MAX_GROWTH_MB = 4.0
"""Between half of the rounds and the last one: the first ones fill pools and caches."""

MAX_MORE_FILES = 1
SETTINGS = {
    "STREAM_GRACE": "2",
    "OPENROUTER_MAX_RETRIES": "0",
    "OPENROUTER_IDLE_TIMEOUT": "0.5",
    "PING_INTERVAL": "0.02",
}
PRICE = Reply.json({"data": {"total_cost": 0.001}})


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at rest after a round."""

    streams: int
    seconds: float
    open_files: int
    resident_mb: float


@dataclass
class Soak:
    """What came of it.

    Attributes:
        endings: how often each behaviour ended how.
        samples: one before the first round and one after each.
        problems: everything that was not as promised.
    """

    endings: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def growth_mb(self) -> float:
        """Memory at the end over that after half of the rounds."""
        return self.samples[-1].resident_mb - self.samples[len(self.samples) // 2].resident_mb

    def judge(self) -> None:
        """Adds what is left over to the problems."""
        more_files = self.samples[-1].open_files - self.samples[0].open_files
        if more_files > MAX_MORE_FILES:
            self.problems.append(f"{more_files} files or sockets are still open")
        if self.growth_mb > MAX_GROWTH_MB:
            self.problems.append(f"memory grew by {self.growth_mb:.1f} MB in the second half")


async def soak(streams: int, seed: int, say: Callable[[str], None], rounds: int, retain_s: float) -> Soak:
    """Starts a server and sends it that many streams in rounds.

    A finished answer can be read for `retain_s`, which callers on a busy machine need; each round waits for it.
    """
    result = Soak()
    dice = random.Random(seed)
    began_s = time.monotonic()
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        upstream = await stack.enter_async_context(open_sandbox(record=0, settle_s=0))
        upstream.script_always(PRICE, path="/generation")
        env = {**SETTINGS, "STREAM_RETAIN": str(retain_s), "OPENROUTER_BASE_URL": upstream.base_url}
        async with running_server(env=env) as server:
            done = 0
            for number in range(rounds + 1):
                size = streams * number // rounds - done
                await _round(server, upstream, dice, size, result)
                done += size
                await _wait_rest(server, http, result)
                seconds = time.monotonic() - began_s
                result.samples.append(Sample(done, seconds, server.open_files(), server.rss_bytes() / 1e6))
                say(f"{done} of {streams} streams, {seconds:.0f} s")
            await stack.aclose()  # upstream goes, and with it the connections that were kept for reuse
            await _wait_files(server, result)
            await _end(server, result)
    result.judge()
    return result


async def _end(server: ServerProcess, result: Soak) -> None:
    code = await server.stop()
    if code != 0:
        result.problems.append(f"the server exited with {code}")
    if b"Traceback" in server.output:
        trace = bytes(server.output[server.output.index(b"Traceback") :][:2000])
        result.problems.append(f"the server logged {trace.decode('utf-8', 'replace')}")


async def _round(server: ServerProcess, upstream: Sandbox, dice: random.Random, size: int, result: Soak) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    kinds, weights = list(BEHAVIOURS), list(BEHAVIOURS.values())

    async def visit(behaviour: Behaviour, seed: int) -> None:
        name = behaviour.__name__.replace("_", " ")
        async with places:
            own_dice = random.Random(seed)
            upstream.script_always(random_reply(own_dice))
            try:
                async with asyncio.timeout(VISIT_S):
                    result.endings[name, await behaviour(Visit(server.port, own_dice))] += 1
            except (Broken, TimeoutError, OSError, EOFError, ValueError, AssertionError) as exc:
                result.problems.append(f"{name}: {type(exc).__name__} {exc}")

    async with asyncio.TaskGroup() as tasks:
        for behaviour in dice.choices(kinds, weights, k=size):
            tasks.create_task(visit(behaviour, dice.getrandbits(64)))


async def _wait_rest(server: ServerProcess, http: aiohttp.ClientSession, result: Soak) -> None:
    """Until no stream is kept any more; says so when that does not come."""
    counts: dict[str, int] = {}
    for _ in range(int(REST_S / _LOOK_S)):
        counts = await server.counts(http)
        if not any(counts.values()):
            return
        await asyncio.sleep(_LOOK_S)
    result.problems.append(f"/health does not come to rest: {counts}")


async def _wait_files(server: ServerProcess, result: Soak) -> None:
    """Until no more sockets are open than at the beginning."""
    for _ in range(int(REST_S / _LOOK_S)):
        if server.open_files() <= result.samples[0].open_files:
            break
        await asyncio.sleep(_LOOK_S)
    last = result.samples[-1]
    result.samples.append(replace(last, open_files=server.open_files()))

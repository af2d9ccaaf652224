"""Servers that share an engine, each a process of its own, so that it can be killed and stopped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

from client.sandbox import Sandbox
from client.streams.seal import JUMP
from tests.shared.processes import KEY
from tests.support.engines import Engine
from tests.support.process import ServerProcess, running_server
from tests.support.sse_reader import Event, parse_events

_NOISE = re.compile(rb"^(: ping|retry: [0-9]+)\n\n", re.MULTILINE)


@asynccontextmanager
async def sharing_process(
    upstream: Sandbox, engine: Engine, *, lease_s: float = 1.0, **env: str
) -> AsyncIterator[ServerProcess]:
    """One of them."""
    told = {
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_MAX_RETRIES": "0",
        "REDIS_URL": engine.url,
        "REDIS_TEXT_KEY": KEY,
        "REDIS_LEASE": str(lease_s),
    }
    async with running_server(env={**told, **env}) as server:
        yield server


@dataclass
class Got:
    """What one reader got of an answer, over all its connections.

    Attributes:
        gone: how often it was told that there is no such answer.
    """

    stream_id: str
    events: list[Event] = field(default_factory=list)
    rest: bytes = b""
    gone: int = 0

    @property
    def position(self) -> int:
        """Number of the last event."""
        return self.events[-1].number or 0 if self.events else 0

    @property
    def has_ended(self) -> bool:
        """Whether the end came."""
        return bool(self.events) and self.events[-1].name == "done"

    def feed(self, data: bytes) -> None:
        """Bytes of a connection; what is no whole event yet waits."""
        self.rest += data
        end = self.rest.rfind(b"\n\n") + 2
        if end > 1:
            whole, self.rest = self.rest[:end], self.rest[end:]
            self.events += parse_events(_NOISE.sub(b"", whole))

    def judge(self) -> None:
        """Events in order, without a gap, and one end; only an end that others have told stands further up."""
        numbers = [event.number or 0 for event in self.events]
        names = [event.name for event in self.events]
        assert names.count("done") == 1, names
        assert names[-1] == "done"
        last = len(numbers)
        if numbers[-1] > JUMP:
            assert names[-2:] == ["error", "done"]
            assert numbers[-1] == numbers[-2] + 1
            last -= 2
        assert numbers[:last] == list(range(1, last + 1))
        assert not {"error", "done"} & set(names[: last - 2])


async def read_some(http: aiohttp.ClientSession, url: str, got: Got, *, most: int | None = None) -> None:
    """Goes on behind what the reader has, to the end or for about so many events; whatever fails, it may come
    again."""
    got.rest = b""
    headers = {"Last-Event-ID": f"{got.stream_id}:{got.position}"} if got.events else {}
    with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
        async with http.get(f"{url}/chat/{got.stream_id}", headers=headers) as response:
            if response.status == 404:
                got.gone += 1
            if response.status != 200:
                await asyncio.sleep(0.05)
                return
            until = None if most is None else len(got.events) + most
            async for data in response.content.iter_any():
                got.feed(data)
                if got.has_ended or (until is not None and len(got.events) >= until):
                    return


async def begin(http: aiohttp.ClientSession, url: str, **more: object) -> tuple[Got, aiohttp.ClientResponse]:
    """An answer that has begun, of which its reader has the first bytes."""
    body = {"message": "Why?", "model": "sandbox/long", "grace_s": 60, **more}
    response = await http.post(f"{url}/chat", json=body)
    assert response.status == 200, await response.read()
    got = Got(response.headers["X-Stream-Id"])
    while not got.events:
        got.feed(await response.content.readany())
    return got, response


async def read_post(got: Got, response: aiohttp.ClientResponse) -> None:
    """The rest of what the process that was asked says itself."""
    with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
        async for data in response.content.iter_any():
            got.feed(data)
    response.close()

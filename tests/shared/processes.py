"""Servers that share an engine: several in a test's own loop, which is as if each were a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import aiohttp
from pydantic import SecretStr

from client.streams.stream import Stream
from server.config import Config
from server.shared.opening import Shared
from server.telemetry.shared_figures import SHARED
from tests.shared.waiting import until
from tests.support.engines import Engine
from tests.support.serving import Api, changed, question, serving_beside_others
from tests.support.sse_reader import Event, parse_events

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def shared_config(config: Config, engine: Engine | str, **redis: Any) -> Config:
    """The settings with that engine, or that address."""
    url = engine if isinstance(engine, str) else engine.url
    told = {"url": SecretStr(url), "text_key": SecretStr(KEY), "lease_s": 1.0, "flush_ms": 5.0, **redis}
    return changed(config, "redis", **told)


def shared_of(api: Api) -> Shared:
    """The store of a server."""
    return cast("Shared", api.app[SHARED])


@asynccontextmanager
async def sharing(config: Config, engine: Engine | str, count: int = 2, **redis: Any) -> AsyncIterator[list[Api]]:
    """So many servers, each in contact with the engine."""
    served = shared_config(config, engine, **redis)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving_beside_others(served)) for _ in range(count)]


@asynccontextmanager
async def asked(api: Api, **more: Any) -> AsyncIterator[tuple[str, aiohttp.ClientResponse]]:
    """A streamed answer whose head has come: its id, and what is to be read."""
    async with api.http.post(f"{api.url}/chat", json=question(**more)) as response:
        assert response.status == 200, await response.text()
        yield response.headers["X-Stream-Id"], response


async def read_on(api: Api, stream_id: str, after: int = 0) -> list[Event]:
    """An answer behind an event, to its end."""
    headers = {"Last-Event-ID": f"{stream_id}:{after}"} if after else {}
    async with api.http.get(f"{api.url}/chat/{stream_id}", headers=headers) as response:
        assert response.status == 200, await response.text()
        return parse_events(await response.read())


async def wait_copied(api: Api, stream_id: str) -> None:
    """Returns when all that the server has of its answer stands in the engine."""
    stream = api.streams._streams[stream_id]
    assert isinstance(stream, Stream)
    copies = shared_of(api).copies
    await until(lambda: copies.acknowledged(stream) >= stream.log.last and stream.log.last > 0)


async def wait_over(api: Api, stream_id: str) -> None:
    """Returns when the end of the server's answer stands in the engine."""
    stream = api.streams._streams[stream_id]
    await until(lambda: stream not in shared_of(api).copies.outbox.copies)

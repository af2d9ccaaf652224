"""The product's application over a real port, inside the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from client.sandbox import Sandbox, open_sandbox
from client.streams.streams import Streams
from server.access.callers import Caller
from server.access.tokens import hash_token, names_of_tokens
from server.app import create_app
from server.config import Config, LiveConfig
from server.http.server import HttpRunner
from server.keys import STREAMS
from tests.support.sse_reader import Event, parse_events

KEY = "sk-or-v1-a-key-that-nobody-may-see"


@dataclass
class Api:
    """A running server and somebody to call it.

    Attributes:
        url: where it serves, without a slash at the end.
        http: the caller's session; follows no redirects of ours, since there are none.
    """

    url: str
    http: aiohttp.ClientSession
    app: web.Application

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def streams(self) -> Streams:
        """The server's streams."""
        return self.app[STREAMS]

    async def chat(self, **more: Any) -> tuple[aiohttp.ClientResponse, list[Event]]:
        """A streamed answer, read to its end."""
        async with self.http.post(f"{self.url}/chat", json=question(**more)) as response:
            body = await response.read()
        return response, parse_events(body)

    async def chat_whole(self, **more: Any) -> tuple[aiohttp.ClientResponse, Any]:
        """An answer as one JSON."""
        async with self.http.post(f"{self.url}/chat?stream=false", json=question(**more)) as response:
            return response, await response.json()

    async def request(
        self, method: str, path: str, data: bytes | None = None, /, **headers: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Any request; `headers` have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, data=data, headers=named) as response:
            return response, await response.read()


def question(**more: Any) -> dict[str, Any]:
    """A body that `/chat` takes."""
    return {"message": "Why is the sky blue?", "model": "acme/m", **more}


def changed(config: Config, section: str, **values: Any) -> Config:
    """The settings with some values of one section replaced."""
    changed_section = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed_section})


def with_tokens(config: Config, *tokens: str) -> Config:
    """The settings with a caller for each plain token."""
    hashes = [hash_token(token) for token in tokens]
    callers = tuple(map(Caller, names_of_tokens(hashes), hashes))
    return config.model_copy(update={"callers": callers})


@asynccontextmanager
async def sandbox_at_rest() -> AsyncIterator[Sandbox]:
    """An OpenRouter to script; at the end none of its replies may still run."""
    async with open_sandbox(settle_s=0) as sandbox:
        yield sandbox
        async with asyncio.timeout(30):
            for call in sandbox.requests:
                await call.closed.wait()


@asynccontextmanager
async def serving(config: Config | LiveConfig) -> AsyncIterator[Api]:
    """Serves while the context is open; afterwards no answer and no task may be left over."""
    async with leaving_no_task(), serving_beside_others(config) as api:
        yield api


@asynccontextmanager
async def serving_beside_others(config: Config | LiveConfig) -> AsyncIterator[Api]:
    """The same in a loop where others serve, too, whose tasks come and go."""
    runner = HttpRunner(create_app(config), shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            yield Api(f"http://127.0.0.1:{runner.addresses[0][1]}", http, runner.app)
        async with asyncio.timeout(30):
            await runner.app[STREAMS].wait_idle()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def leaving_no_task() -> AsyncIterator[None]:
    """What was begun inside the context has ended after it."""
    before = asyncio.all_tasks()
    yield
    tasks = asyncio.all_tasks() - before - {asyncio.current_task()}
    if tasks:  # a connection that was just closed may take a turn of the loop
        _, left = await asyncio.wait(tasks, timeout=30)
        assert not left, left

"""Servers that are killed and started again over the same folder."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp

from client.sandbox import Sandbox
from server.access.tokens import hash_token
from tests.support.process import ServerProcess, running_server
from tests.support.sse_reader import Event, parse_events

CALLERS = "".join(
    f'[[callers]]\nname = "{name}"\ntoken_sha256 = "{hash_token(f"secret-of-{name}")}"\n' for name in ("ann", "bob")
)
JUMP = 1_000_000_000


@asynccontextmanager
async def server_in(
    folder: Path, upstream: Sandbox, *, callers: str = CALLERS, **env: str
) -> AsyncIterator[ServerProcess]:
    """The product as a process that keeps its state in that folder."""
    settings = folder / "config.toml"
    await asyncio.to_thread(settings.write_text, callers)
    known = {"OPENROUTER_BASE_URL": upstream.base_url, "STATE_DIR": str(folder), "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server("--config", str(settings), env={**known, **env}) as server:
        yield server


class Caller:
    """Somebody who calls a server."""

    def __init__(self, http: aiohttp.ClientSession, name: str = "ann") -> None:
        self._http = http
        self._bearer = {"Authorization": f"Bearer secret-of-{name}"}

    async def ask(
        self, server: ServerProcess, method: str, path: str, json: Any = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body, and headers in lower case; `headers` have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()} | self._bearer
        async with self._http.request(method, server.url + path, json=json, headers=named) as response:
            return response.status, await response.read(), {k.lower(): v for k, v in response.headers.items()}

    @asynccontextmanager
    async def streaming(
        self, server: ServerProcess, path: str, json: Any, **headers: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response that is read on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()} | self._bearer
        async with self._http.post(server.url + path, json=json, headers=named) as response:
            yield response

    @asynccontextmanager
    async def reading(self, server: ServerProcess, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The same of what was begun before."""
        async with self._http.get(server.url + path, headers=self._bearer) as response:
            yield response


async def events(caller: Caller, server: ServerProcess, path: str, **headers: str) -> list[Event]:
    """What is streamed there."""
    status, body, _ = await caller.ask(server, "GET", path, **headers)
    assert status == 200, body
    return parse_events(body)


def rows_of(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a file says now."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # it has just been made
            return []


async def until_said(path: Path, query: str, *rows: tuple[Any, ...]) -> None:
    """Returns when a file says these rows: nobody waits for the disk."""
    async with asyncio.timeout(60):
        while sorted(await asyncio.to_thread(rows_of, path, query)) != sorted(rows):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def kill(server: ServerProcess) -> None:
    """As the system does where memory runs out."""
    await server.stop(signal.SIGKILL)

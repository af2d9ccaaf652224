"""What these tests have in common: an engine, and processes that share it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import aiohttp
import pytest

from tests.support.engines import Engine, running_engine
from tests.support.process import ServerProcess, running_server


@pytest.fixture
def engine() -> Iterator[Engine]:
    """What they share; which of the two engines it is makes no difference here."""
    with running_engine("redis") as running:
        yield running


@dataclass
class Instance:
    """One process of several.

    Attributes:
        process: it runs.
        status: path of its own socket.
    """

    process: ServerProcess
    status: Path

    async def health(self) -> dict[str, Any]:
        """What it alone says of itself."""
        async with self.caller() as http, http.get("http://localhost/health") as response:
            assert response.status == 200
            found: dict[str, Any] = await response.json()
            return found

    def caller(self) -> aiohttp.ClientSession:
        """Somebody who calls at its own socket."""
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.status)))


@dataclass
class Fleet:
    """Makes instances that differ in nothing but their folder.

    Attributes:
        env: of all of them.
        folder: for their sockets.
    """

    env: Mapping[str, str]
    folder: Path

    @asynccontextmanager
    async def instance(self, name: str, *, passed: tuple[socket, ...] = (), port: int = 0) -> AsyncIterator[Instance]:
        """One more that runs."""
        status = self.folder / f"{name}.sock"
        env = {**self.env, "STATUS_ADDRESS": str(status)}
        async with running_server(env=env, passed=passed, port=port) as process:
            yield Instance(process, status)


def shared(engine: Engine) -> dict[str, str]:
    """The settings of a store that processes share."""
    return {"REDIS_URL": engine.url, "REDIS_TEXT": "plain", "REDIS_LEASE": "2"}

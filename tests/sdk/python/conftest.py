"""What the tests of the client share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from openrouter_sse_client import Client
from openrouter_sse_client.wire import backoff
from tests.support.serving import Api


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once: how long it would take is a test of its own."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.0)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    """Of the running server; not even a failed test waits for longer."""
    async with asyncio.timeout(20), Client(api.url) as made:
        yield made

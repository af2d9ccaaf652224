"""What tests of the page use, in the one loop of all of them, in which a browser can be kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from client.sandbox import Sandbox
from server.config import Config
from tests.support.browser import keeping_browser
from tests.support.serving import Api, sandbox_at_rest, serving


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_browser() -> AsyncIterator[None]:
    """Every test has contexts of its own in it."""
    async with keeping_browser():
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def upstream() -> AsyncIterator[Sandbox]:
    """The OpenRouter that a test scripts."""
    async with sandbox_at_rest() as sandbox:
        yield sandbox


@pytest_asyncio.fixture(loop_scope="session")
async def api(config: Config) -> AsyncIterator[Api]:
    """The product, served over a real port."""
    async with serving(config) as running:
        yield running

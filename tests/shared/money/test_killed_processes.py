"""Real processes, killed while they answer: all that upstream has billed is told, by each of the others, once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Sandbox, open_sandbox
from server.access.tokens import hash_token
from server.shared.engine.keys import caller_tag
from tests.shared.processes import KEY
from tests.shared.waiting import until
from tests.support.engines import Engine
from tests.support.process import ServerProcess, running_server
from tests.support.serving import question

ANSWERS = 8
BODY = question(model="sandbox/long", max_tokens=2000, grace_s=60)
CALLERS = f"""
[[callers]]
name = "ann"
token_sha256 = "{hash_token("secret-of-ann")}"
budget_usd_per_day = 50
"""


@asynccontextmanager
async def process(upstream: Sandbox, folder: Path, engine: Engine) -> AsyncIterator[ServerProcess]:
    settings = folder / "config.toml"
    settings.write_text(CALLERS)
    env = {
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_MAX_RETRIES": "0",
        "STATE_DIR": str(folder),
        "REDIS_URL": engine.url,
        "REDIS_TEXT_KEY": KEY,
        "REDIS_LEASE": "2",
    }
    async with running_server("--config", str(settings), env=env) as server:
        yield server


async def usage(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            async with http.get(f"{server.url}/usage") as response:
                found: dict[str, Any] = await response.json()
                if response.status == 200:
                    return found
            assert found["type"] == "store_unavailable"
            await asyncio.sleep(0.1)


async def settled(http: aiohttp.ClientSession, server: ServerProcess, requests: int) -> dict[str, Any]:
    """What is told once so many requests are, and the cost of each is known."""
    async with asyncio.timeout(60):
        while True:
            found = await usage(http, server)
            rows = found["data"]
            if sum(row["requests"] for row in rows) == requests and not any(row["unsettled"] for row in rows):
                return found
            await asyncio.sleep(0.1)


async def billed_usd(http: aiohttp.ClientSession, upstream: Sandbox) -> float:
    """What upstream itself says."""
    async with http.get(f"{upstream.base_url}/key") as response:
        found = await response.json()
    return float(found["data"]["usage"])


async def wait_known(engine: Engine, count: int) -> None:
    """Returns when the engine knows the generation of so many answers."""
    key = f"openrouter-sse:{{c:{caller_tag('ann')}}}:open"
    with engine.admin() as admin:
        await until(lambda: sum(json.loads(text)["g"] != "" for text in admin.hvals(key)) == count)


@pytest.mark.parametrize("comes_back", ["before", "after"])
async def test_all_that_upstream_has_billed_is_told_once(engine: Engine, tmp_path: Path, comes_back: str) -> None:
    """The killed one is started again before its answers were settled by the other, or after."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(open_sandbox(settle_s=3 if comes_back == "before" else 0))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": "Bearer secret-of-ann"})
        )
        one = await stack.enter_async_context(process(upstream, folders[0], engine))
        other = await stack.enter_async_context(process(upstream, folders[1], engine))
        async with http.post(f"{other.url}/chat?stream=false", json={**BODY, "max_tokens": 20}) as response:
            assert response.status == 200, await response.text()
        for _ in range(ANSWERS):
            response = await stack.enter_async_context(http.post(f"{one.url}/chat", json=BODY))
            assert response.status == 200
            await response.content.readany()
        await wait_known(engine, ANSWERS)
        assert (await usage(http, other))["budget"]["reserved_usd"] > 0
        await one.stop(signal.SIGKILL)
        if comes_back == "after":
            await settled(http, other, ANSWERS + 1)
        again = await stack.enter_async_context(process(upstream, folders[0], engine))
        told = [await settled(http, each, ANSWERS + 1) for each in (other, again)]
        billed = await billed_usd(http, upstream)
        assert billed > 0
        for each in told:
            assert each["total_settled_cost_usd"] == pytest.approx(billed, abs=1e-9)
            assert each["total_cost_usd"] == each["total_settled_cost_usd"] == each["budget"]["spent_usd"]
            assert each["budget"]["reserved_usd"] == 0

"""Processes without systemd that share a port: the kernel shares connections out, and a restart cuts no answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp

from client.sandbox import Hold, Reply, Sandbox
from tests.instances.conftest import Fleet, shared
from tests.support.chunks import END, STOP, text
from tests.support.engines import Engine
from tests.support.ports import free_port
from tests.support.process import start_server

CONNECTIONS = 40


async def test_a_process_that_ends_keeps_its_answers_and_the_other_takes_what_is_new(
    engine: Engine, upstream: Sandbox, tmp_path: Path
) -> None:
    env = {**shared(engine), "OPENROUTER_BASE_URL": upstream.base_url, "REUSE_PORT": "true", "HOST": "127.0.0.1"}
    fleet, port, hold = Fleet(env, tmp_path), free_port(), Hold()
    url = f"http://127.0.0.1:{port}"
    upstream.script_always(Reply.stream(text("a"), hold, text("b"), STOP, END))
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        asyncio.timeout(120),
        fleet.instance("a", port=port) as first,
        fleet.instance("b", port=port) as second,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        held = [await http.post(f"{url}/chat", json={"message": "x"}) for _ in range(CONNECTIONS)]
        counts = [(await each.health())["streams"]["active"] for each in (first, second)]
        assert sum(counts) == CONNECTIONS
        assert min(counts) > 0
        first.process.process.terminate()
        await first.process.wait_said(b"Waiting up to")
        late = [await http.post(f"{url}/chat", json={"message": "x"}) for _ in range(CONNECTIONS)]
        assert Counter(response.status for response in late) == {200: CONNECTIONS}
        assert (await second.health())["streams"]["active"] == counts[1] + CONNECTIONS
        assert (await second.health())["shared"][
            "replicas"
        ] == 2  # it keeps its place until its last answer has ended
        hold.until.set()
        for response in held + late:
            assert b'"completed":true' in await response.read()
        assert await first.process.wait_exit() == 0
        while (await second.health())["shared"]["replicas"] != 1:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)


async def test_who_does_not_share_is_told_that_the_port_is_in_use(engine: Engine, tmp_path: Path) -> None:
    env = {
        **shared(engine),
        "OPENROUTER_BASE_URL": "http://127.0.0.1:9/v1",
        "REUSE_PORT": "true",
        "HOST": "127.0.0.1",
    }
    fleet = Fleet(env, tmp_path)
    async with fleet.instance("a", port=free_port()) as first:
        flags = ("--sandbox", "--host", "127.0.0.1", "--port", str(first.process.port))
        other = await start_server(*flags, cwd=str(tmp_path))
        async with asyncio.timeout(60):
            _, said = await other.communicate()
        assert other.returncode == 69
        assert b"is in use" in said

"""A server that is killed in the middle of an answer and started again: the client reads on by itself, to the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client.sandbox import open_sandbox
from openrouter_sse_client import Client, Content, Done, Error, Event
from tests.server.restarts.killing import kill, until_said
from tests.support.ports import free_port
from tests.support.process import running_server

JUMP = 1_000_000_000


@pytest.mark.parametrize("keep", ["memory", "disk"])
async def test_the_client_is_told_the_end_and_nothing_twice(tmp_path: Path, keep: str) -> None:
    got: list[Event] = []
    port = free_port()

    async def read(client: Client) -> None:
        async for event in client.chat("Why?", model="sandbox/long", grace_s=60):
            got.append(event)

    async with open_sandbox(settle_s=0) as upstream, asyncio.timeout(60):
        env = {"OPENROUTER_BASE_URL": upstream.base_url, "STATE_DIR": str(tmp_path), "STREAMS_KEEP": keep}
        async with Client(f"http://127.0.0.1:{port}") as client:
            async with running_server(env=env, port=port) as server:
                reading = asyncio.create_task(read(client))
                known = "SELECT generation_id IS NOT NULL FROM started_answer"
                await until_said(tmp_path / "usage.sqlite3", known, (1,))
                await kill(server)
            async with running_server(env=env, port=port):
                await reading
    *others, error, done = got
    numbers = [int(event.event_id.rpartition(":")[2]) for event in got if event.event_id is not None]
    assert numbers == sorted(set(numbers))
    assert isinstance(error, Error)
    assert isinstance(done, Done)
    assert error.type == "stream_interrupted"
    assert numbers[-1] > JUMP > numbers[-3] == len(others)
    words = "".join(event.text for event in others if isinstance(event, Content)).split()
    assert words == [str(number) for number in range(1, len(words) + 1)]

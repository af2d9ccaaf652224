"""Killed at any moment: what a reader gets afterwards is a beginning of what was said and one end, and each answer's
cost is counted once."""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Sandbox, open_sandbox
from tests.server.restarts.killing import JUMP, Caller, kill, server_in
from tests.support.process import ServerProcess
from tests.support.serving import question
from tests.support.sse_reader import parse_events

STREAMS = 6
ROUNDS = int(os.environ.get("KILL_ROUNDS", "2"))
_USER = [{"role": "user", "content": "Why?"}]
_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("/chat", question(model="sandbox/long")),
    ("/v1/chat/completions", {"model": "sandbox/long", "messages": _USER, "stream": True}),
    ("/v1/messages", {"model": "sandbox/long", "messages": _USER, "stream": True, "max_tokens": 9000}),
]


class Reading:
    """An answer that is read as typed events until its server is gone."""

    def __init__(self, path: str, body: dict[str, Any]) -> None:
        self.path, self.body = path, body
        self.stream_id = ""
        self.seen = b""

    async def run(self, caller: Caller, server: ServerProcess) -> None:
        with suppress(aiohttp.ClientError):
            async with caller.streaming(server, self.path, self.body, X_Stream_Grace="60") as response:
                self.stream_id = response.headers["X-Stream-Id"]
                if self.path == "/chat":
                    await self._read(response)
            async with caller.reading(server, f"/chat/{self.stream_id}") as response:
                await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        while piece := await response.content.readany():
            self.seen += piece


@pytest.mark.parametrize("keep", ["memory", "disk"])
async def test_killed_at_any_moment(tmp_path: Path, keep: str) -> None:
    async with open_sandbox(settle_s=0) as upstream, aiohttp.ClientSession() as http, asyncio.timeout(120):
        ann = Caller(http)
        read: list[Reading] = []
        for _ in range(ROUNDS):
            read += await _cut_off(tmp_path, upstream, ann, keep)
        async with server_in(tmp_path, upstream, STREAMS_KEEP=keep) as server:
            for each in read:
                if each.stream_id:
                    await _check(ann, server, each, keep)
            await _check_costs(ann, server, upstream)


async def _cut_off(folder: Path, upstream: Sandbox, caller: Caller, keep: str) -> list[Reading]:
    readings = [Reading(*_CALLS[number % len(_CALLS)]) for number in range(STREAMS)]
    async with server_in(folder, upstream, STREAMS_KEEP=keep) as server:
        tasks = [asyncio.create_task(each.run(caller, server)) for each in readings]
        await asyncio.sleep(random.uniform(0.3, 2.5))
        await kill(server)
        await asyncio.gather(*tasks)
    return readings


async def _check(caller: Caller, server: ServerProcess, reading: Reading, keep: str) -> None:
    status, body, _ = await caller.ask(server, "GET", f"/chat/{reading.stream_id}")
    said = parse_events(reading.seen[: reading.seen.rfind(b"\n\n") + 2])
    if status == 404:  # it had not been written yet: within half a second of its start
        assert len(said) < 80
        return
    *told, error, done = parse_events(body)
    known = min(len(told), len(said))
    assert told[:known] == said[:known]
    assert keep == "disk" or not told
    assert [error.name, done.name] == ["error", "done"]
    assert done.number == error.number + 1
    assert error.number > JUMP
    for name in ("error", "done"):
        assert body.count(f"event: {name}\n".encode()) == 1


async def _check_costs(caller: Caller, server: ServerProcess, upstream: Sandbox) -> None:
    """All that were named are counted, and as upstream counts them."""
    found: dict[str, Any] = {"data": [{"unsettled": 1}]}
    while any(row["unsettled"] for row in found["data"]):
        found = json.loads((await caller.ask(server, "GET", "/usage"))[1])
    status, body, _ = await caller.ask(server, "GET", "/chat?limit=1000")
    ids = [line["generation_id"] for line in json.loads(body)["data"] if line["generation_id"]]
    assert status == 200
    costs = [known.total_cost for each in ids if (known := upstream.generations.find(each)) is not None]
    assert len(costs) == len(ids)
    assert sum(row["requests"] for row in found["data"]) == len(ids)
    assert found["total_cost_usd"] == pytest.approx(float(sum(costs)), abs=1e-9)

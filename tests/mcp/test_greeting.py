"""The handshake that is answered before the SDK is loaded says what the SDK would say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Sandbox
from mcp_app.server import build_mcp
from mcp_app.stdio.conversation import Conversation
from mcp_app.stdio.greeting import Greeted, greet
from tests.mcp.test_conversation import INITIALIZED, discover, initialize, request
from tests.mcp.test_stdio import environment, hosting
from tests.support.mcp.clients import open_state
from tests.support.mcp.lists import METHODS, read_lists

VERSION = "1.2.3"


async def lines_of(*messages: Any) -> AsyncIterator[bytes]:
    for message in messages:
        yield message if isinstance(message, bytes) else json.dumps(message).encode()


async def greeted_with(*messages: Any) -> tuple[Greeted, list[Any]]:
    written: list[Any] = []

    async def write(line: bytes) -> None:
        written.append(json.loads(line))

    return await greet(lines_of(*messages), write, VERSION), written


async def sdk_answers(upstream: Sandbox, *messages: Any, is_greeted: bool = False) -> list[Any]:
    written: list[Any] = []
    answered = asyncio.Event()

    async def write(line: bytes) -> None:
        written.append(json.loads(line))
        answered.set()

    async def lines() -> AsyncIterator[bytes]:
        async for line in lines_of(*messages):
            yield line
        await answered.wait()

    server = build_mcp(lambda: open_state(upstream), version=VERSION)._lowlevel_server
    async with asyncio.timeout(30), server.lifespan(server) as state:
        await Conversation(server, state, write, is_greeted=is_greeted).run(lines())
    return written


OPENINGS = [
    initialize("2024-11-05"),
    initialize("2025-03-26"),
    initialize("2025-06-18"),
    initialize("2025-11-25"),
    initialize("2099-01-01"),
    initialize("2026-07-28"),
    {**initialize(), "id": "a-b"},
    discover(),
]


@pytest.mark.parametrize("message", OPENINGS, ids=lambda message: f"{message['method']} {message['id']}")
async def test_it_says_what_the_sdk_says(upstream: Sandbox, message: dict[str, Any]) -> None:
    greeted, written = await greeted_with(message)
    assert written == await sdk_answers(upstream, message)
    assert greeted.is_answered is (message["method"] == "initialize")


@pytest.mark.parametrize(
    "message",
    [
        b"not json",
        b"[]",
        INITIALIZED,
        discover("2099-01-01"),
        {**initialize(), "id": None},
        {**initialize(), "id": 1.5},
        {**initialize(), "id": True},
        {**initialize(), "jsonrpc": "1.0"},
        {**initialize(), "params": {}},
        {**initialize(), "params": {**initialize()["params"], "capabilities": {"roots": 1}}},
        {**initialize(), "params": {**initialize()["params"], "clientInfo": {"name": "x"}}},
        {**initialize(), "params": {**initialize()["params"], "_meta": discover()["params"]["_meta"]}},
        {**initialize(), "id": "\ud83d"},
        request("ping", 1),
        request("tools/list", 1),
    ],
)
async def test_anything_unusual_is_left_to_the_sdk(message: Any) -> None:
    greeted, written = await greeted_with(message, initialize())
    assert written == []
    line = message if isinstance(message, bytes) else json.dumps(message).encode()
    assert greeted == Greeted((line,))


@pytest.mark.parametrize("client", ["a-program", "claude-code"])
async def test_its_lists_are_the_sdks(client: str) -> None:
    """Otherwise: scripts/write-mcp-lists"""
    opening = initialize()
    opening["params"]["clientInfo"] = {"name": client, "version": "0"}
    asked = [request(method, number) for number, method in enumerate(METHODS, start=1)]
    asked[0]["params"] = {"_meta": {"progressToken": 0}}
    greeted, written = await greeted_with(opening, INITIALIZED, *asked)
    wanted = await read_lists(client)
    assert {METHODS[answer["id"] - 1]: answer["result"] for answer in written[1:]} == wanted
    assert greeted.is_answered
    assert [json.loads(line) for line in greeted.lines if isinstance(line, bytes)] == [opening, INITIALIZED]


async def test_a_list_that_is_asked_for_otherwise_and_what_follows_is_left_to_the_sdk() -> None:
    odd = request("tools/list", 3, cursor="x")
    greeted, written = await greeted_with(initialize(), request("tools/list", 1), odd, request("tools/list", 4))
    assert [answer["id"] for answer in written] == [2, 1]
    assert [json.loads(line) for line in greeted.lines if isinstance(line, bytes)] == [initialize(), odd]


async def test_the_sdk_hears_of_it_and_does_not_answer_again(upstream: Sandbox) -> None:
    listing = request("tools/list", 9)
    answers = await sdk_answers(upstream, initialize(), INITIALIZED, listing, is_greeted=True)
    assert [answer["id"] for answer in answers] == [9]
    assert len(answers[0]["result"]["tools"]) == 6


async def test_the_host_is_greeted_before_anything_slow_is_loaded() -> None:
    command = (sys.executable, "-c", _WITHOUT_SDK)
    async with hosting(environment(), "--sandbox", command=command) as host:
        assert (await host.initialize())["result"]["serverInfo"]["name"] == "openrouter"


_WITHOUT_SDK = """
import sys, time
from server.commands.mcp_command import main

class Never:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mcp", "pydantic", "aiohttp"):
            time.sleep(3600)

sys.meta_path.insert(0, Never())
sys.exit(main(sys.argv[1:]))
"""


async def test_a_host_that_says_nothing_ends_it() -> None:
    async with hosting(environment(), "--sandbox") as host:
        assert host.process.stdin is not None
        host.process.stdin.close()
        assert await host.wait_exit() == 0

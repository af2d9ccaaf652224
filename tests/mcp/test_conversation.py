"""What a host may write on a pipe, in any order and however wrong: every line gets its answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox, chunk
from tests.mcp.test_stdio import INITIALIZE, Host, environment, hosting
from tests.support.mcp.clients import answer, modern

Json = dict[str, Any]


def request(method: str, request_id: int, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def call(name: str, request_id: int, **arguments: Any) -> Json:
    return request("tools/call", request_id, name=name, arguments=arguments)


def discover(version: str = "2026-07-28", request_id: int = 1) -> Json:
    message = modern(request("server/discover", request_id))[0]
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = version
    return message


def initialize(revision: str = "2025-11-25", request_id: int = 2) -> Json:
    return request("initialize", request_id, **{**INITIALIZE, "protocolVersion": revision})


INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


async def write(host: Host, *lines: Any) -> None:
    """All at once, as a host does whose server starts slowly."""
    assert host.process.stdin is not None
    spelled = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    host.process.stdin.write(b"".join(line + b"\n" for line in spelled))
    await host.process.stdin.drain()


async def read(host: Host) -> Any:
    assert host.process.stdout is not None
    return json.loads(await host.process.stdout.readline())


@pytest.mark.parametrize(
    "before",
    [
        [discover()],
        [discover("2099-01-01")],
        [discover(), discover("2099-01-01", 5)],
        [request("server/discover", 1)],
        [request("ping", 1)],
        [modern(request("tools/list", 1))[0] | {"params": {"_meta": discover("2099-01-01")["params"]["_meta"]}}],
        [request("tools/list", 1)],
        [INITIALIZED],
    ],
    ids=["discover", "refused", "both", "bare", "ping", "refused call", "call too early", "notification"],
)
async def test_initialize_is_served_after_what_opened_nothing(before: list[Json]) -> None:
    """Mcp F1: a host whose server starts slowly turns to the handshake before the first answer came."""
    async with hosting(environment(), "--sandbox") as host:
        await write(host, *before, initialize(), INITIALIZED, request("tools/list", 9))
        for message in before:
            if "id" in message:
                assert (await read(host))["id"] == message["id"]
        assert (await read(host))["result"]["protocolVersion"] == "2025-11-25"
        assert len((await read(host))["result"]["tools"]) == 6


async def test_the_first_request_that_does_something_decides_the_era() -> None:
    """Mcp F1, the other side: the protocol has one era in one connection."""
    async with hosting(environment(), "--sandbox") as host:
        await write(host, discover(), modern(request("tools/list", 2))[0], initialize(request_id=3))
        assert "result" in await read(host)
        assert "tools" in (await read(host))["result"]
        assert (await read(host))["error"]["code"] == -32022
    async with hosting(environment(), "--sandbox") as host:
        await write(host, initialize(), INITIALIZED, modern(request("tools/list", 3))[0], discover(request_id=4))
        assert "result" in await read(host)
        later = {message["id"]: message for message in (await read(host), await read(host))}
        assert later[3]["error"]["code"] == -32600
        assert later[4]["result"]["supportedVersions"] == ["2026-07-28"]


async def test_every_line_gets_an_answer_and_a_word_on_stderr() -> None:
    """Faults D2, mcp F18."""
    wrong = [b"not json", b"{}", {**request("ping", 1), "id": 9.5}, {**request("ping", 1), "id": None}, b"3", b"[]"]
    silent = [{"jsonrpc": "2.0", "method": "nothing/known"}, {"jsonrpc": "2.0", "id": 77, "result": {}}, b" \r"]
    async with hosting(environment(), "--sandbox") as host:
        await write(host, *wrong, initialize(), INITIALIZED, *wrong, *silent, request("ping", 8))
        codes = [-32700, -32600, -32600, -32600, -32600, -32600]
        for _ in range(2):
            refused = [await read(host) for _ in wrong]
            assert [(each["id"], each["error"]["code"]) for each in refused] == [(None, code) for code in codes]
            assert "result" in await read(host)  # of initialize, then of ping
        assert host.process.stderr is not None
        host.process.stdin.close()  # type: ignore[union-attr]
        told = (await host.process.stderr.read()).decode()
    assert told.count("A line on stdin was refused") == 2 * len(wrong)


async def test_a_batch_of_the_revision_that_has_them_gets_a_batch_of_answers() -> None:
    """Faults D1: what the revision demands that the connection agreed to."""
    batch = [request("ping", 7), INITIALIZED, 3, request("tools/list", 8), request("nothing", 9)]
    async with hosting(environment(), "--sandbox") as host:
        await write(host, initialize("2025-03-26"), INITIALIZED, batch, [INITIALIZED], request("ping", 10))
        assert (await read(host))["result"]["protocolVersion"] == "2025-03-26"
        by_id: dict[int | None, Json] = {}
        for _ in range(2):  # the ping after it may be answered sooner
            found = await read(host)
            by_id |= {each["id"]: each for each in (found if isinstance(found, list) else [found])}
            assert isinstance(found, list) == (found != by_id.get(10))
    assert by_id[7]["result"] == {}
    assert len(by_id[8]["result"]["tools"]) == 6
    assert by_id[9]["error"]["code"] == -32601
    assert by_id[None]["error"]["code"] == -32600
    assert by_id[10]["result"] == {}


async def test_a_batch_does_not_wait_for_what_was_cancelled(upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    async with hosting(environment(upstream)) as host:
        await write(host, initialize("2025-03-26"), INITIALIZED)
        await read(host)
        await write(host, [call("llm_chat", 1, prompt="hi", model="acme/m"), request("ping", 2)])
        await upstream.wait_call(0)
        await write(host, cancel)
        assert await read(host) == [{"jsonrpc": "2.0", "id": 2, "result": {}}]


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
async def test_a_batch_of_a_revision_without_them_is_refused(revision: str) -> None:
    async with hosting(environment(), "--sandbox") as host:
        await write(host, initialize(revision), INITIALIZED, [request("ping", 7)])
        await read(host)
        refused = await read(host)
    assert (refused["id"], refused["error"]["code"]) == (None, -32600)
    assert "2025-03-26" in refused["error"]["message"]


async def test_characters_at_which_some_readers_cut_lines_go_out_escaped(upstream: Sandbox) -> None:
    """Mcp F12."""
    text = "one\u2028two\u2029three\u0085four"
    upstream.script(answer(text))
    async with hosting(environment(upstream)) as host:
        await write(host, initialize(), INITIALIZED, call("llm_chat", 3, prompt="hi", model="acme/m"))
        assert host.process.stdout is not None
        lines = [(await host.process.stdout.readline()).decode() for _ in range(2)]
    assert [len(line.splitlines()) for line in lines] == [1, 1]
    assert json.loads(lines[1])["result"]["structuredContent"]["text"] == text


async def test_a_line_that_is_too_long_is_refused_and_the_next_is_served() -> None:
    async with hosting(environment(), "--sandbox") as host:
        await write(host, b'{"x":"' + b"a" * 67_200_000 + b'"}', initialize())
        assert (await read(host))["error"]["code"] == -32600
        assert "result" in await read(host)


async def test_calls_that_run_at_the_end_of_stdin_are_told(upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    async with hosting(environment(upstream)) as host:
        await write(host, initialize(), INITIALIZED, call("llm_chat", 3, prompt="hi", model="acme/m"))
        await read(host)
        await upstream.wait_call(0)
        assert host.process.stdin is not None
        host.process.stdin.close()
        async with asyncio.timeout(20):
            assert (await read(host))["id"] == 3
            assert await host.process.wait() == 0


@pytest.mark.parametrize(
    "arguments",
    [{}, {"prompt": "hi", "modle": "x"}, {"prompt": "hi", "temperature": "hot"}, {"messages": [1]}],
)
async def test_a_call_that_ends_at_once_reports_nothing(upstream: Sandbox, arguments: Json) -> None:
    """Mcp F2: some clients have forgotten the token when report and answer come in one read."""
    failing = call("llm_chat", 3, **arguments)
    failing["params"]["_meta"] = {"progressToken": 1}
    async with hosting(environment(upstream)) as host:
        await write(host, initialize(), INITIALIZED, failing)
        assert (await read(host))["id"] == 2
        failed = await read(host)
        assert (failed.get("id"), failed["result"]["isError"]) == (3, True)

"""After `kill -9`: whoever comes back to an answer is told that it was cut off, and what it has cost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox, open_sandbox
from server.access.callers import LOCAL
from server.budgets import started
from server.budgets.started import StartedAnswer, row_of
from server.config import Config
from tests.mcp.test_http import connected
from tests.server.restarts.killing import JUMP, Caller, events, kill, server_in, until_said
from tests.support.chunks import END, STOP, text
from tests.support.mcp.clients import text_of
from tests.support.serving import question, serving
from tests.support.sse_reader import parse_events

LONG = question(model="sandbox/long")
STARTED = "SELECT stream_id, caller, generation_id IS NOT NULL FROM started_answer"
KEY = "a-key-of-22-characters"


@pytest.fixture
async def upstream() -> AsyncIterator[Sandbox]:
    async with open_sandbox(settle_s=0) as sandbox:
        yield sandbox


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session, asyncio.timeout(240):
        yield session


@asynccontextmanager
async def cut(
    folder: Path,
    upstream: Sandbox,
    http: aiohttp.ClientSession,
    path: str = "/chat",
    body: Any = None,
    **headers: str,
) -> AsyncIterator[tuple[str, bytes]]:
    """An answer whose server is killed while it runs: its id, and what was read of it."""
    ann = Caller(http)
    async with (
        server_in(folder, upstream) as server,
        ann.streaming(server, path, LONG if body is None else body, **headers) as response,
    ):
        seen = await response.content.readany()
        stream_id = response.headers["X-Stream-Id"]
        await until_said(folder / "usage.sqlite3", STARTED, (stream_id, "ann", 1))
        await kill(server)
    yield stream_id, seen


async def test_a_reader_that_comes_back_is_told_the_end_and_the_cost(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann, bob = Caller(http), Caller(http, "bob")
    async with cut(tmp_path, upstream, http) as (stream_id, _), server_in(tmp_path, upstream) as server:
        told = await events(ann, server, f"/chat/{stream_id}")
        assert [(event.name, event.id) for event in told] == [
            ("error", f"{stream_id}:{JUMP + 1}"),
            ("done", f"{stream_id}:{JUMP + 2}"),
        ]
        assert told[0].data["type"] == "stream_interrupted"
        assert told[1].data == {"completed": False, "finish_reason": "interrupted", "native_finish_reason": None}
        assert await events(ann, server, f"/chat/{stream_id}", Last_Event_ID=f"{stream_id}:57") == told
        assert await events(ann, server, f"/chat/{stream_id}", Last_Event_ID=f"{stream_id}:{JUMP + 1}") == told[1:]
        last = f"{stream_id}:{JUMP + 2}"
        assert (await ann.ask(server, "GET", f"/chat/{stream_id}", Last_Event_ID=last))[0] == 204
        status, body, _ = await ann.ask(server, "POST", "/chat", LONG, Last_Event_ID=f"{stream_id}:3")
        assert (status, body.count(b"event: ")) == (200, 2)
        status, body, _ = await ann.ask(server, "GET", "/chat")
        [line] = json.loads(body)["data"]
        assert (line["stream_id"], line["state"], line["finish_reason"]) == (stream_id, "finished", "interrupted")
        status, body, _ = await ann.ask(server, "DELETE", f"/chat/{stream_id}")
        assert (status, json.loads(body)["state"]) == (200, "finished")
        for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            assert (await bob.ask(server, method, f"/chat/{stream_id}{path}"))[0] == 404
        assert json.loads((await bob.ask(server, "GET", "/chat"))[1])["data"] == []
        result: dict[str, Any] = {"usage": None}
        while not (result["usage"] or {}).get("settled"):
            status, body, _ = await ann.ask(server, "GET", f"/chat/{stream_id}/result")
            result = json.loads(body)
        assert (status, result["running"], result["error"]["type"]) == (200, False, "stream_interrupted")
        assert result["usage"]["cost"] > 0
        assert (result["id"], result["model"]) == (line["generation_id"], line["model"])
        assert result["id"]
        assert result["model"].startswith(LONG["model"])
        usage = json.loads((await ann.ask(server, "GET", "/usage"))[1])
        assert usage["total_cost_usd"] == pytest.approx(result["usage"]["total_cost"], abs=1e-9)
        assert (usage["data"][0]["requests"], usage["data"][0]["unsettled"]) == (1, 0)
        await kill(server)
    async with server_in(tmp_path, upstream) as server:  # once more: told and counted the same
        assert await events(ann, server, f"/chat/{stream_id}") == told
        again = json.loads((await ann.ask(server, "GET", f"/chat/{stream_id}/result"))[1])
        assert again["usage"]["total_cost"] == result["usage"]["total_cost"]
        assert json.loads((await ann.ask(server, "GET", "/usage"))[1])["data"] == usage["data"]


_USER = [{"role": "user", "content": "Why?"}]
_RUN = {"threadId": "t1", "runId": "r1", "forwardedProps": {"model": "sandbox/long"}}
_CHAT = {"model": "sandbox/long", "messages": _USER, "stream": True}
_PART = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Why?"}]}]
PROTOCOLS: dict[str, tuple[str, dict[str, Any], dict[str, str], str, int, list[bytes]]] = {
    "chat completions": (
        *("/v1/chat/completions", _CHAT, {}),
        *("/v1/chat/completions/{id}?stream=true", 200, [b"stream_interrupted", b"ended in the middle"]),
    ),
    "openrouter": (
        *("/api/v1/chat/completions", _CHAT, {}),
        *("/api/v1/chat/completions/{id}", 502, [b'"type":"stream_interrupted"']),
    ),
    "messages": (
        *("/v1/messages", {**_CHAT, "max_tokens": 9000}, {}),
        *("/v1/messages/{id}?stream=true", 200, [b"event: error"]),
    ),
    "responses": (
        *("/v1/responses", {"model": "sandbox/long", "input": "Why?", "stream": True}, {}),
        *("/v1/responses/resp_{id}", 200, [b'"status":"failed"', b"ended in the middle"]),
    ),
    "responses, on behind an event": (
        *("/v1/responses", {"model": "sandbox/long", "input": "Why?", "stream": True}, {}),
        *("/v1/responses/resp_{id}?stream=true&starting_after=9", 200, [b"event: response.failed"]),
    ),
    "ag-ui": (
        *("/ag-ui", {**_RUN, "messages": [{"id": "u1", **_USER[0]}]}, {"X_Run_Id": "r1"}),
        *("/ag-ui?runId=r1", 200, [b"RUN_STARTED", b'"threadId":"t1"', b"RUN_ERROR"]),
    ),
    "ui": (
        *("/api/chat", {"id": "c1", "model": "sandbox/long", "trigger": "submit-message", "messages": _PART}, {}),
        *("/api/chat/c1/stream", 204, []),
    ),
    "ollama": (*("/api/chat", _CHAT, {}), "/chat/{id}", 200, [b"event: error", b"event: done"]),
}


async def test_it_is_told_in_every_protocol_s_words(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann, bob = Caller(http), Caller(http, "bob")
    ids: dict[str, str] = {}
    async with server_in(tmp_path, upstream) as server, AsyncExitStack() as running:
        for name, (path, body, headers, *_) in PROTOCOLS.items():
            response = await running.enter_async_context(ann.streaming(server, path, body, **headers))
            await response.content.readany()
            ids[name] = response.headers["X-Stream-Id"]
        await until_said(tmp_path / "usage.sqlite3", STARTED, *[(stream_id, "ann", 1) for stream_id in ids.values()])
        await kill(server)
    async with server_in(tmp_path, upstream) as server:
        for name, stream_id in ids.items():
            read, status, words = PROTOCOLS[name][3:]
            told = await ann.ask(server, "GET", read.format(id=stream_id))
            assert told[0] == status, (name, told)
            for each in words:
                assert each in told[1], (name, told)
            assert (await bob.ask(server, "GET", read.format(id=stream_id)))[0] in (204, 404)
            own = await events(ann, server, f"/chat/{stream_id}", Last_Event_ID=f"{stream_id}:40")
            assert [event.id for event in own] == [f"{stream_id}:{JUMP + 1}", f"{stream_id}:{JUMP + 2}"]
            result = json.loads((await ann.ask(server, "GET", f"/chat/{stream_id}/result"))[1])
            assert (result["content"], result["finish_reason"]) == ("", "interrupted")


async def test_the_key_of_an_answer_that_was_cut_reads_its_end_and_starts_no_other(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann, bob = Caller(http), Caller(http, "bob")
    async with (
        cut(tmp_path, upstream, http, Idempotency_Key=KEY) as (stream_id, _),
        server_in(tmp_path, upstream) as server,
    ):
        assert stream_id == KEY
        asked = len(upstream.calls)
        status, body, _ = await ann.ask(server, "POST", "/chat", LONG, Idempotency_Key=KEY)
        assert (status, parse_names(body)) == (200, ["error", "done"])
        status, body, _ = await ann.ask(server, "POST", "/chat?stream=false", LONG, Idempotency_Key=KEY)
        assert (status, json.loads(body)["type"]) == (502, "stream_interrupted")
        status, body, _ = await ann.ask(server, "POST", "/chat", question(message="Else?"), Idempotency_Key=KEY)
        assert (status, b"Another request" in body) == (422, True)
        assert len(upstream.calls) == asked
        async with bob.streaming(server, "/chat", LONG, Idempotency_Key=KEY) as response:  # whose key it is not
            assert (await response.content.readany()).startswith(b"event: start")
            assert parse_names((await ann.ask(server, "GET", f"/chat/{KEY}"))[1]) == ["error", "done"]


def parse_names(body: bytes) -> list[str]:
    return [event.name for event in parse_events(body)]


async def test_one_that_upstream_had_not_named_is_known_by_its_key_all_the_same(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    """Whether it was billed nobody knows: so the key starts no other."""
    ann, go_on = Caller(http), asyncio.Event()
    upstream.script(Reply.stream(text("Hello"), STOP, END).after(Hold(go_on)))
    async with server_in(tmp_path, upstream) as server:
        waiting = asyncio.create_task(ann.ask(server, "POST", "/chat", LONG, Idempotency_Key=KEY))
        await until_said(tmp_path / "usage.sqlite3", STARTED, (KEY, "ann", 0))
        await kill(server)
        with pytest.raises(aiohttp.ClientError):
            await waiting
    go_on.set()
    async with server_in(tmp_path, upstream) as server:
        assert parse_names((await ann.ask(server, "GET", f"/chat/{KEY}"))[1]) == ["error", "done"]
        assert json.loads((await ann.ask(server, "GET", "/usage"))[1])["data"] == []


async def test_answers_that_have_ended_leave_nothing_in_the_file(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann = Caller(http)
    async with server_in(tmp_path, upstream) as server:
        upstream.script(Reply.stream(text("Hello"), STOP, END))
        _, _, headers = await ann.ask(server, "POST", "/chat", question())
        async with ann.streaming(server, "/chat", LONG) as response:
            stream_id = response.headers["X-Stream-Id"]
            await until_said(tmp_path / "usage.sqlite3", STARTED, (stream_id, "ann", 1))
            await ann.ask(server, "DELETE", f"/chat/{stream_id}")
            await until_said(tmp_path / "usage.sqlite3", STARTED)
        await kill(server)
    async with server_in(tmp_path, upstream) as server:
        for each in (headers["x-stream-id"], stream_id):
            assert (await ann.ask(server, "GET", f"/chat/{each}"))[0] == 404


async def test_it_can_be_read_for_as_long_as_any_answer_that_has_ended(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann = Caller(http)
    async with (
        cut(tmp_path, upstream, http) as (stream_id, _),
        server_in(tmp_path, upstream, STREAM_RETAIN="2") as server,
    ):
        assert (await ann.ask(server, "GET", f"/chat/{stream_id}"))[0] == 200
        while (await ann.ask(server, "GET", f"/chat/{stream_id}"))[0] == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert json.loads((await ann.ask(server, "GET", "/chat"))[1])["data"] == []
        await until_said(tmp_path / "usage.sqlite3", STARTED)


async def test_one_that_a_restart_had_to_end_is_told_of_too(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann = Caller(http)
    async with (
        server_in(tmp_path, upstream, SHUTDOWN_TIMEOUT="0") as server,
        ann.streaming(server, "/chat", LONG) as response,
    ):
        stream_id = response.headers["X-Stream-Id"]
        await response.content.readany()
        assert await server.stop() == 0
    async with server_in(tmp_path, upstream) as server:
        told = await events(ann, server, f"/chat/{stream_id}", Last_Event_ID=f"{stream_id}:3")
        assert [(event.name, event.id) for event in told][-1] == ("done", f"{stream_id}:{JUMP + 2}")
        result: dict[str, Any] = {"usage": None}
        while not (result["usage"] or {}).get("settled"):
            result = json.loads((await ann.ask(server, "GET", f"/chat/{stream_id}/result"))[1])
        usage = json.loads((await ann.ask(server, "GET", "/usage"))[1])
        assert (usage["data"][0]["requests"], usage["data"][0]["unsettled"]) == (1, 0)
        assert usage["total_cost_usd"] == pytest.approx(result["usage"]["total_cost"], abs=1e-9)


async def test_one_that_is_forgotten_is_found_no_more(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann, bob = Caller(http), Caller(http, "bob")
    async with cut(tmp_path, upstream, http) as (stream_id, _), server_in(tmp_path, upstream) as server:
        path = f"/v1/responses/resp_{stream_id}"
        assert (await bob.ask(server, "DELETE", path))[0] == 404
        assert (await ann.ask(server, "DELETE", path))[0] == 200
        for each in (path, f"/chat/{stream_id}"):
            assert (await ann.ask(server, "GET", each))[0] == 404
        await until_said(tmp_path / "usage.sqlite3", STARTED)


async def test_very_many_that_were_cut_off_are_told_of_without_much_memory(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    """Each is made when it is read, and dropped soon after."""
    ann = Caller(http)
    async with server_in(tmp_path, upstream) as server:
        await server.stop()
    ids = [f"an-id-of-22-characters{number:05}" for number in range(12_000)]
    await asyncio.to_thread(_leave_behind, tmp_path / "usage.sqlite3", ids)
    async with server_in(tmp_path, upstream) as server:
        status, body, _ = await ann.ask(server, "GET", "/chat?limit=1000")
        assert (status, len(json.loads(body)["data"])) == (200, 1000)
        assert (await ann.ask(server, "GET", f"/chat/{ids[-1]}"))[0] == 200
        assert (await ann.ask(server, "GET", f"/chat/{ids[0]}"))[0] == 404  # older than the newest 10,000
        for each in ids[-300:]:
            assert parse_names((await ann.ask(server, "GET", f"/chat/{each}"))[1]) == ["error", "done"]
        assert server.rss_bytes() < 200_000_000


def _leave_behind(path: Path, ids: list[str], owner: str = "ann") -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        for number, stream_id in enumerate(ids):
            answer = StartedAnswer(stream_id, stream_id, owner, 1e9 + number, "m", "chat", "chat", None, None)
            db.execute(started.WRITE, row_of(answer))
        db.execute("COMMIT")


async def test_a_tool_is_told_that_its_answer_was_cut_and_cannot_go_on_with_it(
    tmp_path: Path, config: Config
) -> None:
    kept = config.model_copy(update={"state_folder": tmp_path})
    async with serving(kept):
        pass
    await asyncio.to_thread(_leave_behind, tmp_path / "usage.sqlite3", [KEY], LOCAL.name)
    async with serving(kept) as api, connected(api.url) as mcp:
        told = await mcp.call_tool("llm_chat_result", {"stream_id": KEY})
        assert told.is_error
        assert "ended in the middle of it" in text_of(told)
        again = await mcp.call_tool("llm_chat", {"prompt": "And?", "continue": KEY})
        assert again.is_error
        assert "before the server started" in text_of(again)

"""Logs on disk: after a restart answers are read again, whole or as far as they had come."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Reply, Sandbox, open_sandbox
from tests.server.budgets.test_ledger import overwrite_from
from tests.server.restarts.killing import JUMP, Caller, events, kill, rows_of, server_in, until_said
from tests.support.chunks import END, STOP, text
from tests.support.process import ROOT
from tests.support.serving import question
from tests.support.sse_reader import parse_events, text_of

KEEP = {"STREAMS_KEEP": "disk"}
LONG = question(model="sandbox/long")
ENDED = "SELECT last > 0 FROM answer WHERE ended_s IS NOT NULL"
PIECES = "SELECT SUM(count) FROM piece"
KEY = "a-key-of-22-characters"


@pytest.fixture
async def upstream() -> AsyncIterator[Sandbox]:
    async with open_sandbox(settle_s=0) as sandbox:
        yield sandbox


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session, asyncio.timeout(240):
        yield session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streams.sqlite3"


_USER = [{"role": "user", "content": "Why?"}]
_PART = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Why?"}]}]
PROTOCOLS: dict[str, tuple[str, dict[str, Any], dict[str, str], list[str]]] = {
    "own": ("/chat", question(), {}, ["/chat/{id}", "/chat/{id}?last_event_id={id}:2", "/chat/{id}/result"]),
    "chat completions": (
        "/v1/chat/completions",
        {"model": "acme/m", "messages": _USER, "stream": True},
        {},
        ["/v1/chat/completions/{id}?stream=true", "/v1/chat/completions/{id}", "/chat/{id}", "/chat/{id}/result"],
    ),
    "messages": (
        "/v1/messages",
        {"model": "acme/m", "messages": _USER, "stream": True, "max_tokens": 100},
        {},
        ["/v1/messages/{id}?stream=true", "/v1/messages/{id}", "/chat/{id}"],
    ),
    "responses": (
        "/v1/responses",
        {"model": "acme/m", "input": "Why?", "instructions": "Be brief.", "stream": True},
        {},
        ["/v1/responses/resp_{id}", "/v1/responses/resp_{id}?stream=true&starting_after=3", "/chat/{id}"],
    ),
    "ag-ui": (
        "/ag-ui",
        {"threadId": "t1", "runId": "r1", "messages": [{"id": "u1", **_USER[0]}]},
        {"X_Run_Id": "r1"},
        ["/ag-ui?runId=r1", "/chat/{id}"],
    ),
    "ui": (
        "/api/chat",
        {"id": "c1", "trigger": "submit-message", "messages": _PART},
        {},
        ["/chat/{id}", "/chat/{id}/result"],
    ),
}


async def test_finished_answers_read_the_same_after_a_restart_in_every_protocol(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession, path: Path
) -> None:
    ann, bob = Caller(http), Caller(http, "bob")
    before: dict[str, tuple[int, bytes]] = {}
    async with server_in(tmp_path, upstream, **KEEP) as server:
        for asked_at, body, headers, paths in PROTOCOLS.values():
            upstream.script(Reply.stream(text("Hel"), text("lo"), STOP, END))
            _, _, told = await ann.ask(server, "POST", asked_at, body, **headers)
            for each in paths:
                where = each.format(id=told["x-stream-id"])
                before[where] = (await ann.ask(server, "GET", where))[:2]
        listed = json.loads((await ann.ask(server, "GET", "/chat"))[1])["data"]
        await until_said(path, ENDED, *[(1,)] * len(PROTOCOLS))
        await kill(server)
    assert all(status == 200 and b"lo" in said for status, said in before.values())
    async with server_in(tmp_path, upstream, **KEEP) as server:
        for where, said in before.items():
            assert (await ann.ask(server, "GET", where))[:2] == said
            assert (await bob.ask(server, "GET", where))[0] == 404
        again = json.loads((await ann.ask(server, "GET", "/chat"))[1])["data"]
        assert [{**line, "age_s": 0} for line in again] == [{**line, "age_s": 0} for line in listed]
        assert len(upstream.calls) == len(PROTOCOLS)
    assert mode_of(path) == 0o600


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_one_that_was_cut_reads_as_far_as_it_was_written_and_then_its_end(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession, path: Path
) -> None:
    ann = Caller(http)
    seen = b""
    async with (
        server_in(tmp_path, upstream, **KEEP) as server,
        ann.streaming(server, "/chat", LONG, Idempotency_Key=KEY) as response,
    ):
        while seen.count(b"\n\n") < 60:
            seen += await response.content.readany()
        await until_said(path, "SELECT SUM(count) > 40 FROM piece", (1,))
        await kill(server)
        with suppress(aiohttp.ClientPayloadError):
            while piece := await response.content.readany():
                seen += piece
    all_seen = parse_events(seen[: seen.rfind(b"\n\n") + 2])
    async with server_in(tmp_path, upstream, **KEEP) as server:
        status, body, _ = await ann.ask(server, "POST", "/chat", LONG, Idempotency_Key=KEY)
        *kept, error, done = parse_events(body)
        assert status == 200
        assert len(kept) > 40
        assert [each.number for each in kept] == list(range(1, len(kept) + 1))
        both = min(len(kept), len(all_seen))  # what is on its way, to either, is lost with the process
        assert kept[:both] == all_seen[:both]
        assert (error.name, error.data["type"]) == ("error", "stream_interrupted")
        assert [error.id, done.id] == [f"{KEY}:{len(kept) + JUMP + 1}", f"{KEY}:{len(kept) + JUMP + 2}"]
        rest = [*kept[len(all_seen) :], error, done]
        assert await events(ann, server, f"/chat/{KEY}", Last_Event_ID=f"{KEY}:{len(all_seen)}") == rest
        middle = await events(ann, server, f"/chat/{KEY}", Last_Event_ID=f"{KEY}:20")
        assert middle == [*kept[20:], error, done]
        result = json.loads((await ann.ask(server, "GET", f"/chat/{KEY}/result"))[1])
        assert result["content"] == text_of(kept)
        assert (result["finish_reason"], result["error"]["type"]) == ("interrupted", "stream_interrupted")
        while not (result["usage"] or {}).get("settled"):
            result = json.loads((await ann.ask(server, "GET", f"/chat/{KEY}/result"))[1])
        [line] = json.loads((await ann.ask(server, "GET", "/chat"))[1])["data"]
        assert (line["finish_reason"], line["events"]) == ("interrupted", len(kept) + 2)


async def test_an_orderly_end_loses_nothing(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession, path: Path
) -> None:
    """The last words of those that had to be ended included."""
    ann = Caller(http)
    async with (
        server_in(tmp_path, upstream, SHUTDOWN_TIMEOUT="0", **KEEP) as server,
        ann.streaming(server, "/chat", LONG) as response,
    ):
        stream_id = response.headers["X-Stream-Id"]
        seen = await response.content.readany()
        stopping = asyncio.create_task(server.stop())
        seen += await response.content.read()
        assert await stopping == 0
    async with server_in(tmp_path, upstream, **KEEP) as server:
        assert await events(ann, server, f"/chat/{stream_id}") == parse_events(seen)
        assert parse_events(seen)[-2].data["type"] == "shutting_down"


async def test_by_default_no_text_is_written(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession, path: Path
) -> None:
    ann = Caller(http)
    upstream.script(Reply.stream(text("a word that nobody may find"), STOP, END))
    async with server_in(tmp_path, upstream) as server:
        _, body, _ = await ann.ask(server, "POST", "/chat", question(message="nor this question"))
        assert b"nobody may find" in body
        async with ann.streaming(server, "/chat", LONG) as response:
            said = await response.content.readany()
            await until_said(tmp_path / "usage.sqlite3", "SELECT caller FROM started_answer", ("ann",))
            await kill(server)
    assert not exists(path)
    written = written_in(tmp_path)
    assert b"ann" in written
    assert b"nobody may find" not in written
    assert b"nor this question" not in written
    assert b'"text"' in said
    assert b'"text"' not in written


def exists(path: Path) -> bool:
    return path.exists()


def written_in(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.glob("*sqlite3*"))


async def test_what_is_no_longer_kept_is_found_nowhere_in_the_file(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession, path: Path
) -> None:
    ann = Caller(http)
    words = "words that were said and are to be forgotten"
    async with server_in(tmp_path, upstream, **KEEP) as server:
        upstream.script(Reply.stream(text(words), STOP, END), Reply.stream(text("kept"), STOP, END))
        _, _, forgotten = await ann.ask(server, "POST", "/chat", question())
        _, _, kept = await ann.ask(server, "POST", "/chat", question())
        await until_said(path, ENDED, (1,), (1,))
        assert words.encode() in written_in(tmp_path)
        assert (await ann.ask(server, "DELETE", f"/v1/responses/resp_{forgotten['x-stream-id']}"))[0] == 200
        await until_said(path, ENDED, (1,))
        assert words.encode() not in written_in(tmp_path)
        await kill(server)
    async with server_in(tmp_path, upstream, **KEEP) as server:
        assert (await ann.ask(server, "GET", f"/chat/{forgotten['x-stream-id']}"))[0] == 404
        assert (await ann.ask(server, "GET", f"/chat/{kept['x-stream-id']}"))[0] == 200
    async with server_in(tmp_path, upstream, STREAM_RETAIN="0.1", **KEEP) as server:
        assert (await ann.ask(server, "GET", f"/chat/{kept['x-stream-id']}"))[0] == 404
        await until_said(path, ENDED)
        assert await rows(path, "SELECT COUNT(*) FROM piece") == [(0,)]


async def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    return await asyncio.to_thread(rows_of, path, query)


async def test_a_damaged_file_is_removed_and_the_ledger_still_knows_the_end(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession, path: Path
) -> None:
    ann = Caller(http)
    async with server_in(tmp_path, upstream, **KEEP) as server, ann.streaming(server, "/chat", LONG) as response:
        stream_id = response.headers["X-Stream-Id"]
        await until_said(tmp_path / "usage.sqlite3", "SELECT generation_id IS NOT NULL FROM started_answer", (1,))
        await until_said(path, "SELECT SUM(count) > 5 FROM piece", (1,))
        await kill(server)
    await asyncio.to_thread(overwrite_from, path, 0)
    async with server_in(tmp_path, upstream, **KEEP) as server:
        await server.wait_said(b"is damaged")
        assert [event.id for event in await events(ann, server, f"/chat/{stream_id}")] == [
            f"{stream_id}:{JUMP + 1}",
            f"{stream_id}:{JUMP + 2}",
        ]
        upstream.script(Reply.stream(text("Hello"), STOP, END))
        await ann.ask(server, "POST", "/chat", question())
        await until_said(path, ENDED, (1,))
        assert not await asyncio.to_thread(lambda: list(tmp_path.glob("streams*.corrupt-*")))


async def test_a_folder_that_cannot_be_used_is_said_once_and_costs_nobody_an_answer(
    tmp_path: Path, upstream: Sandbox, http: aiohttp.ClientSession
) -> None:
    ann = Caller(http)
    state = tmp_path / "state"
    await asyncio.to_thread(state.write_text, "a file")
    async with server_in(tmp_path, upstream, **KEEP, STATE_DIR=str(state)) as server:
        for _ in range(3):
            upstream.script(Reply.stream(text("Hello"), STOP, END))
            status, body, headers = await ann.ask(server, "POST", "/chat", question())
            assert (status, parse_events(body)[-1].data["completed"]) == (200, True)
            assert (await ann.ask(server, "GET", f"/chat/{headers['x-stream-id']}"))[1] == body
        assert (await ann.ask(server, "GET", "/chat/an-id-of-22-characters"))[0] == 404
        assert await server.stop() == 0
    assert server.output.count(b"The file of logs on disk") == 1


async def test_nothing_of_it_is_loaded_where_nobody_asks_for_it() -> None:
    said = "import sys, server.app; print([name for name in sys.modules if name.startswith('server.restarts.')])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", said, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    loaded, _ = await process.communicate()
    assert b"server.restarts.endings" in loaded
    assert b"server.restarts.disk" not in loaded
    assert b"server.restarts.log_file" not in loaded

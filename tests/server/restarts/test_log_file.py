"""The file of logs on disk: what of it is believed, what it may take, and answers for which it has no room."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.server.budgets.test_ledger import errors, files_that_cannot_grow_beyond
from tests.server.restarts.killing import JUMP, rows_of, until_said
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, question, serving
from tests.support.sse_reader import parse_events

ENDED = "SELECT last > 0 FROM answer WHERE ended_s IS NOT NULL"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streams.sqlite3"


@pytest.fixture
def kept(config: Config, tmp_path: Path) -> Config:
    return changed(config, "streams", keep="disk").model_copy(update={"state_folder": tmp_path})


async def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    return await asyncio.to_thread(rows_of, path, query)


def change(path: Path, *statements: str) -> None:
    """As somebody might who means it well, or a disk that does not."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


async def get(api: Api, path: str) -> tuple[int, bytes]:
    response, body = await api.request("GET", path)
    return response.status, body


@pytest.mark.parametrize(
    ("statement", "believed"),
    [
        ("UPDATE piece SET data = CAST(REPLACE(CAST(data AS TEXT), 'word', 'lie!') AS BLOB) WHERE last > 3", "some"),
        ("UPDATE piece SET data = SUBSTR(data, 1, 40) WHERE last = (SELECT MAX(last) FROM piece)", "some"),
        ("DELETE FROM piece WHERE last = (SELECT MAX(last) FROM piece)", "some"),
        ("UPDATE piece SET count = count + 1", "none"),
        ("UPDATE piece SET last = last + 100", "none"),
        ("UPDATE piece SET data = 'text'", "none"),
        ("DELETE FROM piece", "none"),
        ("UPDATE answer SET facts = x'7b7d'", "404"),
        ("UPDATE answer SET facts = x'ff', crc = 0", "404"),
        ("UPDATE answer SET caller = 'bob'", "404"),
        ("UPDATE answer SET key = key || '1'", "404"),
        ("UPDATE answer SET ended_s = ended_s + 9e9", "404"),
        ("UPDATE answer SET ended_s = 'later'", "404"),
        ("UPDATE answer SET last = last - 1", "404"),
    ],
)
async def test_rows_that_make_no_sense_are_not_believed(
    kept: Config, upstream: Sandbox, path: Path, statement: str, believed: str
) -> None:
    """What is told then is a beginning of what was said, and that it is no more than that; or nothing."""
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("a word"), Hold(go_on), text(" another"), text(" word"), STOP, END))
    async with serving(kept) as api:
        asking = asyncio.create_task(api.chat())
        await until_said(path, "SELECT SUM(count) FROM piece", (2,))
        go_on.set()
        response, said = await asking
    assert await rows(path, ENDED) == [(1,)]
    assert (await rows(path, "SELECT COUNT(*) FROM piece"))[0][0] == 2
    await asyncio.to_thread(change, path, statement)
    stream_id = response.headers["X-Stream-Id"]
    async with serving(kept) as api:
        status, body = await get(api, f"/chat/{stream_id}")
        assert (await get(api, "/chat"))[0] == 200
        if believed == "404":
            assert status == 404
            return
        *told, error, done = parse_events(body)
        assert told == said[: len(told)]
        assert (len(told) > 0) == (believed == "some")
        assert (error.data["type"], done.data["completed"]) == ("stream_interrupted", False)
        assert done.id == f"{stream_id}:{len(told) + JUMP + 2}"


async def test_a_beginning_that_was_dropped_is_said_to_be_gone(kept: Config, upstream: Sandbox, path: Path) -> None:
    """An answer that outgrew its log while it was read has no beginning, here as there."""
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("a word"), Hold(go_on), text(" another"), STOP, END))
    async with serving(kept) as api:
        asking = asyncio.create_task(api.chat())
        await until_said(path, "SELECT SUM(count) FROM piece", (2,))
        go_on.set()
        response, said = await asking
    await asyncio.to_thread(change, path, "DELETE FROM piece WHERE last = 2")
    stream_id = response.headers["X-Stream-Id"]
    async with serving(kept) as api:
        assert (await get(api, f"/chat/{stream_id}"))[0] == 404
        status, body = await get(api, f"/chat/{stream_id}?last_event_id={stream_id}:2")
        assert (status, parse_events(body)) == (200, said[2:])


async def test_all_together_take_no_more_than_they_may_and_the_oldest_go_first(
    kept: Config, upstream: Sandbox, path: Path
) -> None:
    most = changed(kept, "streams", max_disk_bytes=1_048_576)
    ids = []
    async with serving(most) as api:
        for number in range(8):
            upstream.script(Reply.stream(text(str(number) * 300_000), STOP, END))
            response, _ = await api.chat()
            ids.append(response.headers["X-Stream-Id"])
            await until_said(path, f"SELECT 1 FROM answer WHERE key = '{ids[-1]}' AND ended_s IS NOT NULL", (1,))
    async with serving(most) as api:
        found = [(await get(api, f"/chat/{stream_id}"))[0] == 200 for stream_id in ids]
    assert found == sorted(found)
    assert 1 <= sum(found) <= 3
    assert path.stat().st_size < 2_500_000  # noqa: ASYNC240


async def test_running_answers_that_take_more_than_there_is_are_said_to_once(
    kept: Config, upstream: Sandbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()
    pieces = [text("x" * 200_000) for _ in range(10)]
    upstream.script(Reply.stream(*pieces, Hold(go_on), text("end"), STOP, END))
    async with serving(changed(kept, "streams", max_disk_bytes=1_048_576)) as api:
        asking = asyncio.create_task(api.chat())
        async with asyncio.timeout(60):
            while not errors(caplog):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        go_on.set()
        response, said = await asking
        assert (response.status, said[-1].data["completed"]) == (200, True)
        upstream.script(Reply.stream(text("small"), STOP, END))
        small, _ = await api.chat()
        assert (await get(api, f"/chat/{response.headers['X-Stream-Id']}"))[0] == 200  # in memory
    assert len([line for line in errors(caplog) if "max_disk_bytes" in line]) == 1
    async with serving(kept) as api:
        status, body = await get(api, f"/chat/{response.headers['X-Stream-Id']}")
        told = parse_events(body)
        assert status == 404 or told[:-2] == said[: len(told) - 2]
        assert small.status == 200


async def test_a_disk_that_is_full_costs_nobody_an_answer_and_what_is_still_there_is_written_later(
    kept: Config, upstream: Sandbox, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.restarts.disk.RETRY_EVERY_S", 0.1)
    upstream.script(*[Reply.stream(text(str(number) * 100_000), STOP, END) for number in range(4)])
    async with serving(kept) as api:
        ids = [(await api.chat())[0].headers["X-Stream-Id"]]
        await until_said(path, ENDED, (1,))
        with files_that_cannot_grow_beyond(path.stat().st_size):  # noqa: ASYNC240
            for _ in range(2):
                response, said = await api.chat()
                assert said[-1].data["completed"]
                ids.append(response.headers["X-Stream-Id"])
            async with asyncio.timeout(60):
                while not any("streams.sqlite3" in line for line in errors(caplog)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            for stream_id in ids:
                assert (await get(api, f"/chat/{stream_id}"))[0] == 200
            await asyncio.sleep(0.5)  # several attempts, and not a line more
            assert len([line for line in errors(caplog) if "streams.sqlite3" in line]) == 1
        await until_said(path, ENDED, (1,), (1,), (1,))
        assert [line for line in errors(caplog) if "can be used again" in line and "streams.sqlite3" in line]
    async with serving(kept) as api:
        for stream_id in ids:
            assert (await get(api, f"/chat/{stream_id}"))[0] == 200


async def test_a_file_that_is_removed_while_it_is_used_is_begun_anew_with_what_runs(
    kept: Config, upstream: Sandbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    async with serving(kept) as api:
        asking = asyncio.create_task(api.chat())
        await until_said(path, "SELECT SUM(count) FROM piece", (2,))
        path.unlink()  # noqa: ASYNC240
        go_on.set()
        response, said = await asking
        await until_said(path, ENDED, (1,))
    assert [line for line in errors(caplog) if "removed or replaced" in line]
    async with serving(kept) as api:
        assert parse_events((await get(api, f"/chat/{response.headers['X-Stream-Id']}"))[1]) == said


async def test_a_second_server_with_the_same_folder_keeps_in_memory_and_says_so(
    kept: Config, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    async with serving(kept), serving(kept) as second:
        response, _ = await second.chat()
        assert (await get(second, f"/chat/{response.headers['X-Stream-Id']}"))[0] == 200
    assert [line for line in errors(caplog) if "streams.sqlite3" in line and "another process" in line]


async def test_nothing_says_where_so_it_is_said_that_nothing_is_kept(
    config: Config, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    async with serving(changed(config, "streams", keep="disk").model_copy(update={"state_folder": None})) as api:
        response, _ = await api.chat()
        assert response.status == 200
    assert [line for line in errors(caplog) if "server.state_dir" in line and "streams.keep" in line]


async def test_a_large_answer_is_read_back_whole_and_one_for_which_there_is_no_room_is_refused(
    kept: Config, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(*[text("y" * 100_000) for _ in range(30)], STOP, END))
    async with serving(kept) as api:
        response, said = await api.chat()
    where = f"/chat/{response.headers['X-Stream-Id']}"
    async with serving(kept) as api:
        bodies = await asyncio.gather(*[get(api, where) for _ in range(5)])
        assert all((status, parse_events(body)) == (200, said) for status, body in bodies)
        assert len(api.streams.mirrors) == 1
    async with serving(changed(kept, "streams", max_total_bytes=1_000_000)) as api:
        status, body = await get(api, where)
        assert (status, b"overloaded" in body) == (503, True)
        assert (await get(api, "/health"))[0] == 200
        assert api.streams.total_bytes == 0


async def test_what_was_looked_up_after_the_end_is_on_disk_too(kept: Config, upstream: Sandbox, path: Path) -> None:
    async with serving(kept) as api:
        async with api.http.post(f"{api.url}/chat", json=question(model="sandbox/long")) as response:
            await response.content.readany()
            stream_id = response.headers["X-Stream-Id"]
            await api.request("DELETE", f"/chat/{stream_id}")
        await until_said(path, """SELECT INSTR(facts, '"is_settled":true') > 0 FROM answer""", (1,))
        before = (await get(api, f"/chat/{stream_id}/result"))[1]
        assert b'"settled":true' in before
    async with serving(kept) as api:
        assert (await get(api, f"/chat/{stream_id}/result"))[1] == before


async def test_the_time_that_one_is_kept_counts_from_its_end(
    kept: Config, upstream: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    async with serving(kept) as api:
        response, _ = await api.chat()
    later_s = time.time() + kept.streams.retain_s + 1
    monkeypatch.setattr("server.restarts.disk.time.time", lambda: later_s)
    async with serving(kept) as api:
        assert (await get(api, f"/chat/{response.headers['X-Stream-Id']}"))[0] == 404
        await until_said(path, "SELECT key FROM answer")

"""`openrouter-server backup FILE`: a whole copy of the ledger, whatever the server does meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import server.commands.backup
from client.sandbox import Sandbox, open_sandbox
from server.__main__ import main
from tests.server.budgets.test_usage import answer
from tests.support.process import ROOT, ServerProcess, running_server
from tests.support.serving import question


@asynccontextmanager
async def spending(upstream: Sandbox, folder: Path) -> AsyncIterator[tuple[ServerProcess, aiohttp.ClientSession]]:
    """A server that keeps its ledger in that folder, and somebody to call it."""
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "STATE_DIR": str(folder)}
    async with running_server(env=env) as running, aiohttp.ClientSession() as http:
        yield running, http


async def spend(running: ServerProcess, http: aiohttp.ClientSession) -> Any:
    """One answer; returns what `/usage` says then."""
    async with http.post(f"{running.url}/chat", json=question()) as response:
        await response.read()
    async with http.get(f"{running.url}/usage") as response:
        return await response.json()


async def backup(target: Path, folder: Path, *flags: str, **env: str) -> tuple[int, str, str]:
    """Exit code and what it printed, as a process in an empty environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "backup", *flags, str(target)),
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "STATE_DIR": str(folder), **env},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def total(path: Path) -> tuple[int, int]:
    """Requests and nano-USD of a ledger, read as an operator would read it."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        row: tuple[int, int] = db.execute("SELECT SUM(requests), SUM(cost_nano) FROM usage").fetchone()
        return row


async def until_written(path: Path, requests: int) -> None:
    """Returns when the file itself holds so many: nobody waits for the disk."""
    async with asyncio.timeout(10):
        while await asyncio.to_thread(total, path) != (requests, requests * 250_000_000):
            pass


async def test_a_running_server_is_copied_with_all_its_rows_and_so_is_one_that_was_killed(tmp_path: Path) -> None:
    """bare 10: neither readers nor copies lack anything, and no server has to end for them."""
    ledger, target = tmp_path / "usage.sqlite3", tmp_path / "copy.sqlite3"
    async with open_sandbox() as upstream:
        upstream.script_always(answer(0.25))
        async with spending(upstream, tmp_path) as (running, http):
            for number in range(1, 4):
                await spend(running, http)
                await until_written(ledger, number)
                code, out, err = await backup(target, tmp_path)
                assert (code, err) == (0, "")
                assert out == f"{ledger} was copied to {target}: 1 rows of usage.\n"
                assert total(target) == (number, number * 250_000_000)
                assert copied_by_hand(ledger) == (number, number * 250_000_000)
            assert target.stat().st_mode & 0o777 == 0o600
            found = await spend(running, http)
            assert (found["stored"], found["data"][0]["requests"]) == (True, 4)
            await until_written(ledger, 4)
            assert b"cannot be used" not in running.output
            await running.stop(signal.SIGKILL)
        assert (await backup(target, tmp_path))[0] == 0
        assert total(target) == (4, 1_000_000_000)
        target.replace(ledger)  # as one is restored
        async with spending(upstream, tmp_path) as (running, http):
            assert (await spend(running, http))["total_cost_usd"] == 1.25
    assert not hidden_files(tmp_path)


def hidden_files(folder: Path) -> list[Path]:
    """What a copy that was not finished would leave."""
    return list(folder.glob(".copy*"))


def copied_by_hand(ledger: Path) -> tuple[int, int]:
    """What a plain copy of the one file holds."""
    copy = ledger.with_name("by-hand.sqlite3")
    copy.write_bytes(ledger.read_bytes())
    return total(copy)


async def test_reading_and_copying_on_and_on_costs_a_busy_server_nothing(tmp_path: Path) -> None:
    """bare 10: it goes on storing what it counts."""
    ledger = tmp_path / "usage.sqlite3"
    async with open_sandbox() as upstream:
        upstream.script_always(answer(0.25))
        async with spending(upstream, tmp_path) as (running, http):
            await spend(running, http)
            spent, copies, has_ended = 1, 0, False

            async def copy_on() -> None:
                nonlocal copies
                while not has_ended:
                    await asyncio.to_thread(server.commands.backup.copy_ledger, ledger, tmp_path / "copy")
                    copies += 1

            copying = asyncio.create_task(copy_on())
            while spent <= 50 or copies < 2:
                await spend(running, http)
                spent += 1
            has_ended = True
            await copying
            await until_written(ledger, spent)
            assert b"cannot be used" not in running.output
            assert await running.stop() == 0


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        ("nothing", 66, "There is no usage ledger at"),
        ("damaged", 73, "cannot be copied to"),
        ("locked", 73, "database is locked"),
        ("folder", 73, "is a folder; name a file"),
        ("itself", 73, "that is the ledger itself"),
        ("no place", 73, "No such file or directory"),
        ("settings", 78, "server.port"),
    ],
)
def test_what_cannot_be_copied_is_told_and_leaves_nothing_behind(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    make: str,
    code: int,
    told: str,
) -> None:
    ledger, target = tmp_path / "usage.sqlite3", tmp_path / "copy"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setattr(server.commands.backup, "_WAIT_S", 0.1)
    if make != "nothing":
        with closing(sqlite3.connect(ledger)) as db:
            db.execute("CREATE TABLE usage (day TEXT)")
    if make == "damaged":
        ledger.write_bytes(b"no database" * 1000)
    target = {"folder": tmp_path, "itself": ledger, "no place": tmp_path / "no" / "copy"}.get(make, target)
    if make == "settings":
        monkeypatch.setenv("PORT", "x")
    before = sorted(tmp_path.iterdir())
    with closing(sqlite3.connect(":memory:" if make != "locked" else ledger, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert main(["backup", str(target)]) == code
    assert told in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_the_sandbox_has_a_ledger_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings: Mapping[str, str] = {"STATE_DIR": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with closing(sqlite3.connect(tmp_path / "sandbox-usage.sqlite3")) as db:
        db.execute("CREATE TABLE usage (day TEXT)")
    assert main(["backup", "copy"]) == 66
    assert main(["--sandbox", "backup", "copy"]) == main(["backup", "--sandbox", "copy"]) == 0
    assert "0 rows of usage" in capsys.readouterr().out

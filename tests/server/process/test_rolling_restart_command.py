"""`rolling-restart`: what it has systemd do, in which order, and that the first failure is the last."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from server.commands.systemd_units import instance
from tests.support.process import start_server

SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$TOLD"
case "$*" in
    *show*)
        echo "openrouter-sse.socket openrouter-sse@10.service openrouter-sse@2.service"
        echo "openrouter-sse@1.service" ;;
    *"$FAILS"*) exit 1 ;;
esac
"""
"""In the place of systemctl: writes down what it is told, and one unit does not start."""


async def run(
    folder: Path, *words: str, fails: str = "nothing", script: str = SYSTEMCTL
) -> tuple[int | None, str, str, list[str]]:
    """Exit code, both outputs, and what systemctl was told."""
    (folder / "bin").mkdir()
    program, told = folder / "bin" / "systemctl", folder / "told"
    program.write_text(script)
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "TOLD": str(told), "FAILS": fails}
    process = await start_server("rolling-restart", *words, cwd=str(folder), env=env)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode(), told.read_text().splitlines() if told.exists() else []


@pytest.mark.parametrize("user", [False, True])
async def test_one_after_the_other_is_restarted_and_looked_at(user: bool, tmp_path: Path) -> None:
    code, out, err, told = await run(tmp_path, *(["--user"] if user else []))
    assert (code, err) == (0, "")
    prefix = "--user " if user else ""
    assert told[1:] == [
        f"{prefix}{words} {instance(number)}" for number in (1, 2, 10) for words in ("restart", "is-active --quiet")
    ]
    assert out.splitlines()[-1] == "All of them serve."


@pytest.mark.parametrize("fails", ["restart openrouter-sse@2", "is-active --quiet openrouter-sse@2"])
async def test_the_first_that_does_not_come_back_is_the_last(fails: str, tmp_path: Path) -> None:
    code, out, err, told = await run(tmp_path, fails=fails)
    assert code == 1
    assert f"{instance(2)} does not serve; not restarted: {instance(10)}" in err
    assert "journalctl -u" in err
    assert not any(instance(10) in words for words in told)
    assert "All of them" not in out


async def test_a_single_service_is_told_how_it_is_restarted(tmp_path: Path) -> None:
    code, _, err, _ = await run(tmp_path, script="#!/bin/sh\n")
    assert code == 69
    assert "systemctl restart openrouter-sse.service" in err


async def test_without_systemd_systemctl_says_so_itself(tmp_path: Path) -> None:
    code, _, err, _ = await run(tmp_path, script="#!/bin/sh\necho 'no systemd here' >&2; exit 1\n")
    assert (code, err.strip()) == (69, "no systemd here")

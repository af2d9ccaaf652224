"""A fork of the template is a server like any other."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support.process import ServerProcess, running_server, starts

QUESTION = {"message": "Why?", "model": "sandbox/echo"}


async def seen_of(server: ServerProcess) -> dict[str, object]:
    """What a server is to the system, and that it answers."""
    proc = Path(f"/proc/{server.process.pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    seen: dict[str, object] = {
        **{name: status[name] for name in ("SigCgt", "SigIgn", "SigBlk", "Threads")},
        "open": sorted(filter(None, map(kind_of, (proc / "fd").iterdir()))),
        "limits": (proc / "limits").read_text(),
    }
    async with aiohttp.ClientSession() as http, http.post(f"{server.url}/chat", json=QUESTION) as response:
        assert (await response.read()).count(b"event: done") == 1
    return seen


def kind_of(open_file: Path) -> str:
    """Nothing for a file, which the ledger may open and close."""
    with suppress(FileNotFoundError):
        name = str(open_file.readlink())
        return name if name == "/dev/null" else name.partition(":")[0] if name[0] != "/" else ""
    return ""


@pytest.mark.parametrize("uvloop", [True, False])
async def test_it_has_what_a_new_process_has_and_ends_as_one(uvloop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for is_fork in (True, False):
        monkeypatch.setattr(starts, "from_template", is_fork)
        async with running_server("--sandbox", uvloop=uvloop, env={"LOG_LEVEL": "info"}) as server:
            seen = await seen_of(server)
            assert await server.stop() == 0
            assert server.output.count(b'"cost_usd"') == 1
        async with running_server("--sandbox", uvloop=uvloop) as server:
            server.process.send_signal(signal.SIGKILL)
            assert await server.wait_exit() == -signal.SIGKILL
        found.append(seen)
    assert found[0] == found[1]

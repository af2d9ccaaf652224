"""What logs have left goes back to the system."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from client.streams.streams import Streams
from server.process import freed_memory
from server.process.freed_memory import giving_memory_back
from tests.support.process import ROOT
from tests.support.serving import Api

MB = 1_000_000


async def test_a_log_that_goes_is_counted(api: Api) -> None:
    before = api.streams.freed_bytes
    with api.streams.holding(5 * MB):
        assert api.streams.freed_bytes == before
    assert api.streams.freed_bytes == before + 5 * MB


async def test_memory_is_given_back_when_much_was_freed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def note() -> bool:
        loop.call_soon_threadsafe(asked.put_nowait, api.streams.freed_bytes)
        return True

    monkeypatch.setattr(freed_memory, "trim", note)
    async with giving_memory_back(api.streams, interval_s=0.001), asyncio.timeout(10):
        free(api.streams, 10 * MB)
        await asyncio.sleep(0.05)  # it looks, and that is not worth it
        free(api.streams, 10 * MB)
        assert await asked.get() == 20 * MB
        free(api.streams, 40 * MB)
        assert await asked.get() == 60 * MB


async def test_where_it_cannot_be_given_back_nobody_asks_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse() -> bool:
        asked.append(1)
        return False

    monkeypatch.setattr(freed_memory, "trim", refuse)
    async with giving_memory_back(api.streams, interval_s=0.001), asyncio.timeout(10):
        for _ in range(3):
            free(api.streams, 20 * MB)
            await asyncio.sleep(0.05)  # it would look again
    assert asked == [1]


def free(streams: Streams, size_bytes: int) -> None:
    with streams.holding(size_bytes):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_holes_between_logs_are_given_back() -> None:
    program = """
import re
from pathlib import Path
from server.process.freed_memory import trim

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

logs = [bytes([1]) * 100_000 for _ in range(1000)]
del logs[::2]
before = resident()
assert trim()
print(before - resident())
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) > 30 * MB

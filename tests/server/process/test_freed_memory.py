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


class Looked(Streams):
    """Tells of every look at what was freed."""

    def __init__(self) -> None:
        self.freed = 0
        self.looks: asyncio.Queue[None] = asyncio.Queue()

    @property
    def freed_bytes(self) -> int:  # type: ignore[override]
        self.looks.put_nowait(None)
        return self.freed

    async def wait_looks(self, count: int) -> None:
        """Returns after so many looks from now on."""
        self.looks = asyncio.Queue()
        for _ in range(count):
            await self.looks.get()


async def test_memory_is_given_back_when_much_was_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()
    loop, streams = asyncio.get_running_loop(), Looked()

    def note() -> bool:
        loop.call_soon_threadsafe(asked.put_nowait, streams.freed)
        return True

    monkeypatch.setattr(freed_memory, "trim", note)
    async with asyncio.timeout(10), giving_memory_back(streams, interval_s=0.001):
        streams.freed = 10 * MB  # which is not worth it
        await streams.wait_looks(3)
        streams.freed = 20 * MB
        assert await asked.get() == 20 * MB
        await streams.wait_looks(3)
        streams.freed = 60 * MB
        assert await asked.get() == 60 * MB
        assert asked.empty()


async def test_where_it_cannot_be_given_back_nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asyncio.Event()
    loop, streams = asyncio.get_running_loop(), Looked()

    def refuse() -> bool:
        loop.call_soon_threadsafe(tried.set)
        return False

    monkeypatch.setattr(freed_memory, "trim", refuse)
    async with asyncio.timeout(10), giving_memory_back(streams, interval_s=0.001):
        streams.freed = 20 * MB
        await tried.wait()
        watching = next(task for task in asyncio.all_tasks() if task.get_name() == "memory")
        await asyncio.wait([watching])


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


def test_a_python_without_ctypes_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those are that were built without libffi."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert freed_memory.trim() is False

"""`python -m tests.bench.instructions [--shared URL]`: what an event costs the server in instructions, by callgrind.

Unlike time they do not depend on what else the machine does. As callgrind makes the server some fifty times slower,
everything else is slowed down, too: 100 streams of one event a second, copied once a second, are to it what 50 events
a second with a copy each 20 ms are otherwise. What an event costs is the difference of a long run and a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from tests.bench.frames import Answer
from tests.bench.processes import free_port, stop
from tests.bench.servers import KEY, TEXT_KEY, start_upstream
from tests.support.process import ServerProcess, start_server

_STREAMS = 100
_SHORT, _LONG = 5, 25
"""Events of each stream."""


async def count(upstream_port: int, events: int, shared: str | None, folder: str) -> int:
    """Instructions of a server that streams so many events to each caller, start and end included."""
    env = {
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "OPENROUTER_CONNECT_TIMEOUT": "120",
        "SHUTDOWN_TIMEOUT": "60",
    }
    if shared is not None:
        env |= {"REDIS_URL": shared, "REDIS_TEXT_KEY": TEXT_KEY, "REDIS_FLUSH_MS": "1000", "REDIS_LEASE": "60"}
    out = Path(folder) / "callgrind.out"
    launcher = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    process = await start_server("--port", "0", cwd=folder, env=env, launcher=launcher)
    server = ServerProcess(process)
    await server.wait_start(300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        body = {"message": str(Answer(n=events, r=1, rate=1, tag=0)), "model": "bench/model"}

        async def ask() -> None:
            async with http.post(f"{server.url}/chat", json=body) as response:
                assert response.status == 200, await response.text()
                assert (await response.read()).count(b"event: content") == events - 1

        await asyncio.gather(*(ask() for _ in range(_STREAMS)))
    process.send_signal(signal.SIGTERM)
    await server.wait_exit(120)
    totals = re.search(r"^(?:summary|totals): (\d+)", out.read_text(errors="replace"), re.MULTILINE)
    if totals is None:
        raise RuntimeError(server.output.decode())
    return int(totals[1])


async def measure(shared: str | None) -> float:
    """Instructions an event."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        upstream = start_upstream(port, None, None, frozenset(os.sched_getaffinity(0)), Path(folder))
        try:
            short = await count(port, _SHORT, shared, folder)
            long = await count(port, _LONG, shared, folder)
        finally:
            stop(upstream)
    return (long - short) / (_LONG - _SHORT) / _STREAMS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__)
    parser.add_argument("--shared", metavar="URL", help="address of an engine that answers are copied to")
    args = parser.parse_args(argv)
    alone = asyncio.run(measure(None))
    print(f"alone: {alone:.0f} instructions an event", flush=True)
    if args.shared:
        shared = asyncio.run(measure(args.shared))
        print(f"shared: {shared:.0f} instructions an event, {shared / alone:.3f} of that alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())

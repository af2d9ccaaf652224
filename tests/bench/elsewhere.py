"""`python -m tests.bench.elsewhere --shared URL`: how far a reader in another process is behind.

Two servers share an engine. One runs so many answers of 50 events a second and streams them to their callers; each is
also read in the other one. Every event holds the time at which the upstream wrote it, and both kinds of readers, all
in this process, say how old it was when they got it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic_ns

import aiohttp

from tests.bench.frames import STAMP, Answer
from tests.bench.load import percentile
from tests.bench.processes import stop
from tests.bench.servers import KEY, TEXT_KEY, start_upstream
from tests.support.ports import free_port
from tests.support.process import ServerProcess, running_server

PACE = 50
_SKIPPED_US = 2_000_000
"""What begins is not counted."""


async def read_ages(response: aiohttp.ClientResponse, ages_us: list[int]) -> None:
    """How old each event was when it came, in microseconds."""
    rest = b""
    began_us = monotonic_ns() // 1000
    async for piece in response.content.iter_any():
        now_us = monotonic_ns() // 1000
        found = list(STAMP.finditer(rest + piece))
        rest = (rest + piece)[found[-1].end() if found else 0 :][-64:]
        if now_us - began_us > _SKIPPED_US:
            ages_us += [now_us - int(match[1], 16) for match in found]


async def one_answer(
    http: aiohttp.ClientSession,
    one: ServerProcess,
    other: ServerProcess,
    answer: Answer,
    here: list[int],
    there: list[int],
) -> None:
    """One answer, read on both sides."""
    body = {"message": str(answer), "model": "bench/model"}
    async with http.post(f"{one.url}/chat", json=body) as response:
        assert response.status == 200, await response.text()
        path = response.headers["Location"]
        async with http.get(other.url + path) as elsewhere:
            elsewhere.raise_for_status()
            await asyncio.gather(read_ages(response, here), read_ages(elsewhere, there))


async def measure(url: str, streams: int, seconds: float, flush_ms: str) -> tuple[list[int], list[int]]:
    """Ages of all events, here and there, in microseconds."""
    here: list[int] = []
    there: list[int] = []
    port = free_port()
    env = {
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "REDIS_URL": url,
        "REDIS_TEXT_KEY": TEXT_KEY,
        "REDIS_FLUSH_MS": flush_ms,
        "SHUTDOWN_TIMEOUT": "0",
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        upstream = start_upstream(port, None, None, frozenset(os.sched_getaffinity(0)), Path(folder))
        try:
            async with running_server(env=env) as one, running_server(env=env) as other:
                connector = aiohttp.TCPConnector(limit=0)
                async with aiohttp.ClientSession(connector=connector) as http:
                    answer = Answer(n=int(PACE * seconds), r=1, rate=PACE, tag=0)
                    await asyncio.gather(*(one_answer(http, one, other, answer, here, there) for _ in range(streams)))
        finally:
            stop(upstream)
    return here, there


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.elsewhere", description=__doc__)
    parser.add_argument("--shared", metavar="URL", required=True, help="address of an engine that may be written to")
    parser.add_argument("--streams", type=int, default=100, help="answers at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each (%(default)s)")
    parser.add_argument("--flush-ms", default="25", help="redis.flush_ms (%(default)s)")
    args = parser.parse_args(argv)
    here, there = asyncio.run(measure(args.shared, args.streams, args.seconds, args.flush_ms))
    for name, ages_us in (("here", here), ("elsewhere", there)):
        told = ", ".join(f"p{share:g} {(percentile(ages_us, share / 100) or 0) / 1000:.1f} ms" for share in (50, 99))
        print(f"{name}: {len(ages_us)} events, {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

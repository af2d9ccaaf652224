"""`python -m tests.bench.instances --shared URL`: what a paced event costs one process, and two that share a store.

Two processes on two cores carry twice what one carries, times what an event costs one, over what it costs two. So two
get twice the streams of one, and CPU time is counted: no more cores are needed than there are, all are measured on
the same one in turn. The engine is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.processes import choose_cores, free_port
from tests.bench.runs import Bench
from tests.bench.scenarios import paced_run, warm
from tests.bench.servers import KEY, ROOT, Launch, Place, Server, clean_env, launch_server

_TEXT_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

STREAMS = {"alone": 60, "shared": 60, "two": 120}
"""Of each: a process of two has as many as one that is alone."""


def instances(count: int, url: str, flush_ms: float) -> Launch:
    """So many processes on one socket; with an address, they share that store."""

    def launch(place: Place) -> Server:
        port = free_port()
        shared = {"REDIS_URL": url, "REDIS_TEXT_KEY": _TEXT_KEY, "REDIS_FLUSH_MS": str(flush_ms)} if url else {}
        env = clean_env(
            place,
            PYTHONPATH=str(ROOT),
            OPENROUTER_API_KEY=KEY,
            OPENROUTER_BASE_URL=place.upstream_url,
            MAX_STREAMS="10000",
            SHUTDOWN_TIMEOUT="0",
            **shared,
        )
        name = f"{count}{' with a store' if url else ''}"
        command = [sys.executable, "-m", "tests.bench.several", str(count), str(port)]
        return launch_server(Server(name, port, "/chat", "typed"), command, place, "/health", env)

    return launch


def _us_per_event(bench: Bench, server: Server, streams: int) -> float:
    cost = paced_run(bench, server, streams).us_per_event
    assert cost is not None
    return cost


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each round, and the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instances", description=__doc__)
    parser.add_argument("--shared", required=True, metavar="URL", help="address of an empty engine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a run")
    parser.add_argument("--flush-ms", type=float, default=25.0, help="redis.flush_ms")
    args = parser.parse_args(argv)
    launches = {
        "alone": instances(1, "", 0),
        "shared": instances(1, args.shared, args.flush_ms),
        "two": instances(2, args.shared, args.flush_ms),
    }
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), choose_cores(), args.seconds, max(STREAMS.values()), None)
        stack.enter_context(bench.upstream())
        servers = {name: stack.enter_context(bench.server(name, launch)) for name, launch in launches.items()}
        for server in servers.values():
            warm(bench, server)
        for _ in range(args.rounds):
            rounds.append({name: _us_per_event(bench, server, STREAMS[name]) for name, server in servers.items()})
            print({name: round(cost, 1) for name, cost in rounds[-1].items()}, flush=True)
    for title, over, under in (("one with a store / one", "shared", "alone"), ("two / one", "two", "alone")):
        ratio = statistics.median(each[over] / each[under] for each in rounds)
        print(f"{title}: {ratio:.3f}")
    carried = [2 * each["alone"] / each["two"] for each in rounds]
    print(f"streams of two on two cores, in those of one: {statistics.median(carried):.2f} (of {carried})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.bench.instances --shared URL`: what a paced event costs one process, and two that share a store.

Two processes that share nothing (`pair`) carry, on two cores, twice what one carries. Two that share a store (`two`)
carry that times what an event costs the pair, over what it costs them. So CPU time is counted: no more cores are
needed than there are. All are measured at the same time on the same one, so whatever else the machine does slows all
of them alike. The engine is not counted in that; what it takes is told beside it, where its process id is known.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.bench.frames import Answer
from tests.bench.processes import CpuMeter, choose_cores
from tests.bench.runs import PATIENCE_S, Bench, Running
from tests.bench.scenarios import expect_whole, paced_plan, warm
from tests.bench.servers import KEY, ROOT, Launch, Place, Server, clean_env, launch_server
from tests.support.ports import free_port

_TEXT_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

PROCESSES = {"alone": 1, "shared": 1, "pair": 2, "two": 2}
"""Of each; a process of two has as many streams as one that is alone."""
COMPARED = {"shared": "alone", "two": "pair"}
"""Those with a store, and the same without one."""


def instances(count: int, url: str, flush_ms: float, name: str) -> Launch:
    """So many processes on one socket; with an address, they share that store, apart from others of another name."""

    def launch(place: Place) -> Server:
        port = free_port()
        shared = {"REDIS_URL": url, "REDIS_TEXT_KEY": _TEXT_KEY, "REDIS_FLUSH_MS": str(flush_ms)} if url else {}
        if url:
            shared["REDIS_PREFIX"] = f"bench-{name}"
        env = clean_env(
            place,
            PYTHONPATH=str(ROOT),
            OPENROUTER_API_KEY=KEY,
            OPENROUTER_BASE_URL=place.upstream_url,
            MAX_STREAMS="10000",
            SHUTDOWN_TIMEOUT="0",
            **shared,
        )
        command = [sys.executable, "-m", "tests.bench.several", str(count), str(port)]
        return launch_server(Server(name, port, "/chat", "typed"), command, place, "/health", env)

    return launch


def side_by_side(bench: Bench, servers: Mapping[str, Server], streams: int) -> dict[str, float]:
    """CPU time of an event in microseconds, of servers that are all asked at once.

    Args:
        streams: of each of their processes.

    Raises:
        Incomplete: answers did not come whole.
    """
    answer, plan = paced_plan(bench.seconds, streams)
    bench.ask_upstream("POST", "/reset")
    meters = {name: CpuMeter(server.pids) for name, server in servers.items()}
    clients = {
        name: _begin(bench, server, answer, streams * PROCESSES[name], plan) for name, server in servers.items()
    }
    for client in clients.values():
        with suppress(subprocess.TimeoutExpired):
            client.process.wait(client.plan.timeout_s + PATIENCE_S)
    costs: dict[str, float] = {}
    for name, client in clients.items():
        result = bench.finish(client)
        expect_whole(result)
        events = result.marks * answer.n / max(1, answer.content_events)
        costs[name] = meters[name].seconds() * 1e6 / events
    return costs


def _begin(bench: Bench, server: Server, answer: Answer, streams: int, plan: Mapping[str, Any]) -> Running:
    return bench.begin(server, answer, streams=streams, requests=streams, **plan)


def _told(figures: Sequence[float]) -> str:
    return f"{statistics.median(figures):.3f} ({min(figures):.3f} to {max(figures):.3f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each round, and the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instances", description=__doc__)
    parser.add_argument("--shared", required=True, metavar="URL", help="address of an empty engine")
    parser.add_argument("--of", default=",".join(PROCESSES), help="which are measured (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a run")
    parser.add_argument("--streams", type=int, default=40, help="of each process (%(default)s)")
    parser.add_argument("--flush-ms", type=float, default=25.0, help="redis.flush_ms")
    parser.add_argument("--engine-pid", type=int, help="the engine's process, to tell what it takes")
    args = parser.parse_args(argv)
    wanted = args.of.split(",")
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), choose_cores(), args.seconds, args.streams, None)
        stack.enter_context(bench.upstream())
        servers: dict[str, Server] = {}
        for name in wanted:
            launch = instances(PROCESSES[name], args.shared if name in COMPARED else "", args.flush_ms, name)
            servers[name] = stack.enter_context(bench.server(name, launch))
            warm(bench, servers[name])
        engine = CpuMeter([args.engine_pid] if args.engine_pid else [])
        for _ in range(args.rounds):
            rounds.append(side_by_side(bench, servers, args.streams))
            print({name: round(cost, 1) for name, cost in rounds[-1].items()}, flush=True)
        if args.engine_pid:
            print(f"engine: {engine.seconds() / args.rounds:.2f} s of CPU a round")
    for over, under in COMPARED.items():
        if over in wanted and under in wanted:
            print(f"{over} / {under}: {_told([each[over] / each[under] for each in rounds])}")
    if {"pair", "two"} <= set(wanted):
        carried = [2 * each["pair"] / each["two"] for each in rounds]
        print(f"streams of two on two cores, in those of one: {_told(carried)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

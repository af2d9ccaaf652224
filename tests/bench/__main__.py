"""`python -m tests.bench`: measures, prints a table, and writes what is asked for."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.chart import chart
from tests.bench.gateways import litellm, portkey, tensorzero
from tests.bench.processes import choose_cores
from tests.bench.report import Summary, summarise, table
from tests.bench.runs import Bench
from tests.bench.scenarios import SCENARIOS, Figures, Incomplete, warm
from tests.bench.servers import (
    FLOOR,
    OURS,
    REFERENCE,
    SHARED,
    Launch,
    NotInstalled,
    Server,
    direct,
    find_nginx,
    floor,
    nginx,
    openrouter_server,
    parse_peer,
)

EX_UNAVAILABLE = 69
"""Exit code when something that is needed is not installed (sysexits.h)."""

_MOUNTS = ("/v1", "/api/v1")

_EPILOG = """\
scenarios:
  start      time to serving, memory at rest
  idle       1,000 open streams of one event a second: memory of each
  paced      100 streams of 50 events/s: CPU per event, delay, gap
  paced1000  the same with 1,000 streams, more than most servers hold
  tls        as paced, with the upstream asked over TLS
  first      one request at a time: delay of the first event
  short      answers of one and of five events: CPU per request
  flood      16 streams as fast as they are taken: CPU per event, events/s
  resume     finished streams read again from their logs (this project's server only)
  stall      one reader takes 4 kB a second beside 50 paced ones
  leave      callers leave in mid-stream and before the first event: time until the upstream's connection is closed
  capacity   most streams of 50 events/s with p99 of delay and gap under 100 ms

Upstream and load client are plain Python on epoll, from this package, each a process of its own: nothing is compiled.
The server has the last core, the harness the others. A ratio is the median of the ratios within each round. Where
the rows about the harness show that it was full or late, the figure is a bound and not the server's own.

A peer must ask http://127.0.0.1:UPSTREAM_PORT/v1/chat/completions for the model bench-model, with one worker that is
pinned to the last core (taskset). Run it while nothing else runs on the machine.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = _parse(argv)
    _raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    try:
        launches = _launches(args)
        rounds = _measure(args, launches)
    except NotInstalled as exc:
        print(f"tests.bench: {exc}", file=sys.stderr)
        return EX_UNAVAILABLE
    summaries = summarise(rounds)
    print(table(summaries))
    if args.json:
        args.json.write_text(json.dumps(_record(args, rounds, summaries), indent=1, ensure_ascii=False) + "\n")
    if args.chart:
        args.chart.write_text(chart(summaries))
    return 0 if all(OURS in round_ for round_ in rounds) else 1


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="What a streamed token costs: this server, nginx and other gateways side by side.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenarios", type=_scenarios, default=list(SCENARIOS), help="comma list (all)")
    parser.add_argument("--rounds", type=int, default=3, help="each measures every server in turn (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a run (%(default)s)")
    parser.add_argument("--streams", type=int, default=1000, help="callers of the largest scenarios (%(default)s)")
    parser.add_argument("--python", default=sys.executable, help="interpreter of this project's server")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="its event loop")
    parser.add_argument("--protocols", action="store_true", help="measure its Chat Completions too, in both dialects")
    parser.add_argument("--shared", metavar="URL", help="measure it with its answers copied to that engine, too")
    parser.add_argument("--floor", action="store_true", help="measure a bare program on the same libraries too")
    parser.add_argument("--litellm", type=Path, metavar="PATH", help="virtual environment with litellm[proxy]")
    parser.add_argument("--tensorzero", type=Path, metavar="PATH", help="virtual environment with tensorzero, openai")
    parser.add_argument("--portkey", type=Path, metavar="PATH", help="folder with npm's @portkey-ai/gateway")
    parser.add_argument(
        "--peer", type=parse_peer, action="append", default=[], metavar="NAME=URL,FORMAT", help="a running gateway"
    )
    parser.add_argument("--upstream-port", type=int, help="fixed port of the upstream, for peers (any free one)")
    parser.add_argument("--direct", action="store_true", help="measure without any server too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write an SVG")
    return parser.parse_args(argv)


def _scenarios(text: str) -> list[str]:
    asked = text.split(",")
    if unknown := set(asked) - set(SCENARIOS):
        raise argparse.ArgumentTypeError(
            f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}"
        )
    return [name for name in SCENARIOS if name in asked]


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _launches(args: argparse.Namespace) -> dict[str, Launch]:
    find_nginx()
    launches: dict[str, Launch] = {"direct": direct} if args.direct else {}
    launches |= {REFERENCE: nginx, OURS: openrouter_server(args.python, args.loop)}
    if args.protocols:
        launches |= {
            f"{OURS}{mount}".replace("/", "-"): openrouter_server(args.python, args.loop, mount) for mount in _MOUNTS
        }
    if args.shared:
        launches[SHARED] = openrouter_server(args.python, args.loop, shared=args.shared)
    if args.floor:
        launches[FLOOR] = floor(args.python)
    gateways = {"tensorzero": tensorzero, "portkey": portkey, "litellm": litellm}
    launches |= {name: launch(getattr(args, name)) for name, launch in gateways.items() if getattr(args, name)}
    return launches | {peer.name: peer for peer in args.peer}


def _measure(args: argparse.Namespace, launches: dict[str, Launch]) -> list[dict[str, Figures]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx gives up its rights
        bench = Bench(folder, choose_cores(), args.seconds, args.streams, args.upstream_port)
        with bench.upstream():
            return [_round(bench, args.scenarios, launches, f"{n + 1}/{args.rounds}") for n in range(args.rounds)]


def _round(bench: Bench, scenarios: list[str], launches: dict[str, Launch], number: str) -> dict[str, Figures]:
    """Every scenario on every server, one server right after the other."""
    figures: dict[str, Figures] = {}
    with ExitStack() as stack:
        servers = []
        for name, launch in launches.items():
            try:
                servers.append(stack.enter_context(bench.server(name, launch)))
            except RuntimeError as exc:
                _say(f"{number} {name}: {exc}")
        for server in servers:
            figures[server.name] = _run(bench, "start", server, number) if "start" in scenarios else {}
            warm(bench, server)
        for scenario in scenarios:
            for server in servers:
                if scenario != "start":
                    figures[server.name] |= _run(bench, scenario, server, number)
    return figures


def _run(bench: Bench, scenario: str, server: Server, number: str) -> Figures:
    began_s = time.monotonic()
    try:
        figures = SCENARIOS[scenario](bench, server)
    except (Incomplete, RuntimeError) as exc:
        _say(f"{number} {server.name} {scenario}: {exc}")
        return {}
    shown = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
    _say(f"{number} {server.name} {scenario} {time.monotonic() - began_s:.1f} s {shown}")
    return figures


def _say(line: str) -> None:
    print(f"# {line}", file=sys.stderr, flush=True)


def _record(
    args: argparse.Namespace, rounds: list[dict[str, Figures]], summaries: dict[str, dict[str, Summary]]
) -> dict[str, object]:
    return {
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "versions": _versions(args.python),
        "settings": {name: getattr(args, name) for name in ("scenarios", "seconds", "streams", "loop")},
        "rounds": rounds,
        "summary": {
            server: {figure: dataclasses.asdict(summary) for figure, summary in of.items()}
            for server, of in summaries.items()
        },
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _versions(python: str) -> dict[str, str]:
    nginx_says = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, timeout=20).stderr
    program = (
        "import importlib.metadata as m, platform;"
        "print(platform.python_version(), *(f'{d.name}={d.version}' for d in m.distributions()"
        " if d.name in ('aiohttp', 'aiohttp-sse', 'uvloop', 'msgspec', 'pydantic')))"
    )
    words = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=60).stdout.split()
    return {
        "nginx": nginx_says.strip().removeprefix("nginx version: nginx/"),
        "python": words[0] if words else "",
        **dict(word.split("=", 1) for word in words[1:]),
    }


if __name__ == "__main__":
    sys.exit(main())

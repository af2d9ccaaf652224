"""`python -m tests.bench.instructions`: what an event and a request cost in instructions, by callgrind.

Times of two versions of the code can only be compared on a quiet machine; instructions in user space hardly differ
from run to run. Each mount is asked in a server of its own below valgrind, which runs some fifty times slower.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.frames import Answer
from tests.bench.processes import Cores
from tests.bench.runs import Bench
from tests.bench.servers import NotInstalled, Server, openrouter_server

_ANYWHERE: frozenset[int] = frozenset()
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_START_S = 300.0
_RUN_S = 600.0
_DUMP_S = 60.0
_IDLE_S = 5.0
_PACE = 25
"""Events a second, so that each is alone in its read, slow as everything is."""
MOUNTS = ("", "/v1", "/api/v1")
"""Of `/chat`, and of the two dialects of Chat Completions."""


class Meter:
    """Counts the instructions of a server that runs below callgrind."""

    def __init__(self, bench: Bench, server: Server, counts: Path) -> None:
        self._bench = bench
        self._server = server
        self._counts = counts
        self._dumps = 0

    def spent(self, answer: Answer, *, streams: int, requests: int) -> int:
        """Instructions that so many answers take."""
        self._dump()  # which begins to count anew
        run = self._bench.load(self._server, answer, streams=streams, requests=requests, timeout_s=_RUN_S)
        if run.result.failed or run.result.whole != requests:
            raise RuntimeError(f"{run.result.whole} of {requests} answers were whole: {run.result.first_error}")
        return self._dump()

    def idle(self) -> float:
        """Instructions in a second without requests."""
        self._dump()
        time.sleep(_IDLE_S)
        return self._dump() / _IDLE_S

    def _dump(self) -> int:
        """Instructions since the last one."""
        self._dumps += 1
        self.control("--dump")
        file = Path(f"{self._counts}.{self._dumps}")
        end_s = time.monotonic() + _DUMP_S
        while time.monotonic() < end_s:
            found = _TOTAL.search(file.read_text()) if file.exists() else None
            if found is not None:
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"callgrind wrote no totals in {_DUMP_S:g} s")

    def control(self, *what: str) -> None:
        """Tells callgrind something."""
        assert self._server.process is not None
        pid = str(self._server.process.pid)
        command = ["callgrind_control", f"--vgdb-prefix={self._counts}-pipe", *what, pid]
        env = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1"}  # the server's: valgrind's pipe is named by it
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_DUMP_S, check=False)
        if "OK" not in done.stdout or "rror" in done.stderr:
            raise RuntimeError(done.stdout + done.stderr)


def paced(meter: Meter) -> float:
    """An event of one stream, which comes alone; without its request, and what a server does that is idle."""
    return _event(meter, Answer(n=40, r=20, rate=_PACE), Answer(n=140, r=20, rate=_PACE))


def thinking(meter: Meter) -> float:
    """The same of an event of thinking."""
    return _event(meter, Answer(n=40, r=20, rate=_PACE), Answer(n=140, r=120, rate=_PACE))


def _event(meter: Meter, few: Answer, many: Answer) -> float:
    spent = meter.spent(many, streams=1, requests=1) - meter.spent(few, streams=1, requests=1)
    return spent / (many.n - few.n) - meter.idle() / _PACE


def flood(meter: Meter) -> float:
    """An event of four streams as fast as they are taken; with its share of the request."""
    return meter.spent(Answer(n=1000, r=200), streams=4, requests=40) / 40_000


def short1(meter: Meter) -> float:
    """A request of one event, one at a time."""
    return meter.spent(Answer(n=1, r=0), streams=1, requests=200) / 200


def short5(meter: Meter) -> float:
    """A request of five events, one at a time."""
    return meter.spent(Answer(n=5, r=1), streams=1, requests=200) / 200


MEASURES: dict[str, Callable[[Meter], float]] = {
    measure.__name__: measure for measure in (paced, thinking, flood, short1, short5)
}


def measure_mount(mount: str, names: Sequence[str], folder: Path) -> dict[str, float]:
    """Figures of one mount by name, in instructions."""
    counts = folder / f"counts{mount.replace('/', '-')}"
    options = ("--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counts}")
    below = ("valgrind", *options, f"--vgdb-prefix={counts}-pipe")
    launch = openrouter_server(sys.executable, "uvloop", mount, below=below, timeout_s=_START_S)
    bench = Bench(folder, Cores(_ANYWHERE, _ANYWHERE, _ANYWHERE), 1.0, 1, None)
    with bench.upstream(), bench.server("counted", launch) as server:
        bench.load(server, Answer(), streams=4, requests=60, timeout_s=_RUN_S)
        meter = Meter(bench, server, counts)
        meter.control("--instr=on")
        return {name: MEASURES[name](meter) for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__)
    parser.add_argument("--mounts", default=",".join(MOUNTS), help="'' is /chat (%(default)r)")
    parser.add_argument("--measures", default=",".join(MEASURES), help="%(default)s")
    args = parser.parse_args(argv)
    names = args.measures.split(",")
    if not shutil.which("valgrind"):
        raise NotInstalled("valgrind is missing: install the Debian package of that name")
    print("thousand instructions:", *names)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for mount in args.mounts.split(","):
            figures = measure_mount(mount, names, Path(folder))
            print(mount or "/chat", *(f"{figures[name] / 1e3:.1f}" for name in names), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

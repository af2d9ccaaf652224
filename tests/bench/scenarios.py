"""What is measured: each scenario puts one kind of load on one server and returns its figures by name.

A figure that a server has not (or that would say nothing) is left out. Their names are those of `report.FIGURES`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.bench.frames import Answer
from tests.bench.load import Result, percentile
from tests.bench.processes import resident_mb
from tests.bench.runs import Bench, Run
from tests.bench.servers import Server

Figures = dict[str, float]

PACE = 50
"""Events per second of a paced stream: what a fast model writes."""
_LIMIT_US = 100_000
"""Delay and gap that a reader begins to see."""
_FIRST_LIMIT_US = 500_000
_WITHOUT_GRACE = {"grace_s": 0}


class Incomplete(Exception):
    """Answers did not come whole, so the figures would be of something else."""


def start(bench: Bench, server: Server) -> Figures:
    """Time to serving, memory at rest."""
    if server.start_s is None:
        return {}
    time.sleep(0.3)
    return {"start_ms": server.start_s * 1e3, "rest_mb": resident_mb(server.pids)}


def idle(bench: Bench, server: Server) -> Figures:
    """Streams that say something once a second: memory of each."""
    if not server.pids:
        return {}
    ramp_s = min(8.0, bench.streams / 125)
    answer = Answer(n=int(ramp_s) + 3, r=1, rate=1)
    run = bench.load(
        server, answer, streams=bench.streams, requests=bench.streams, ramp_s=ramp_s, timeout_s=answer.n + ramp_s + 20
    )
    expect_whole(run.result)
    return {"idle_kb": run.grown_mb * 1e3 / max(1, run.max_active)}


def paced(bench: Bench, server: Server) -> Figures:
    """100 streams of 50 events/s, each event written for itself."""
    return _paced(bench, server, min(100, bench.streams), "paced")


def paced1000(bench: Bench, server: Server) -> Figures:
    """1,000 streams of 50 events/s: more than one core of most servers holds."""
    return _paced(bench, server, bench.streams, "paced1000", must_be_whole=False)


def tls(bench: Bench, server: Server) -> Figures:
    """As paced, with the upstream asked over TLS."""
    if server.process is None:
        return {}
    with bench.tls_twin(server) as twin:
        warm(bench, twin)
        return _paced(bench, twin, min(100, bench.streams), "tls")


def _paced(bench: Bench, server: Server, streams: int, prefix: str, *, must_be_whole: bool = True) -> Figures:
    run = paced_run(bench, server, streams)
    if must_be_whole:
        expect_whole(run.result)
    return _known(
        {
            f"{prefix}_us": run.us_per_event if server.pids else None,
            f"{prefix}_delay_p50_ms": _ms(run.result.delay_p50_us),
            f"{prefix}_delay_p99_ms": _ms(run.result.delay_p99_us),
            f"{prefix}_gap_p99_ms": _ms(run.result.gap_p99_us),
            f"{prefix}_per_s": run.events / run.result.wall_s,
            f"{prefix}_harness": run.harness_share,
            f"{prefix}_late": run.late_share,
        }
    )


def paced_run(bench: Bench, server: Server, streams: int, longest_s: float = 60.0) -> Run:
    answer, plan = paced_plan(min(max(1.0, bench.seconds), longest_s), streams)
    return bench.load(server, answer, streams=streams, requests=streams, **plan)


def paced_plan(seconds: float, streams: int) -> tuple[Answer, dict[str, Any]]:
    """What paced streams of that length are asked for, and when they begin, count and must have ended."""
    ramp_s = min(3.0, seconds / 2.5, 0.5 + streams / 200)
    answer = Answer(n=int(PACE * seconds), r=int(PACE * seconds / 5), rate=PACE)
    warm_s = ramp_s + min(1.0, seconds / 4)
    return answer, {"ramp_s": ramp_s, "warm_s": warm_s, "timeout_s": seconds * 2 + 15}


def short(bench: Bench, server: Server) -> Figures:
    """Answers of one event and of five: what a request costs."""
    figures: Figures = {}
    for events in (1, 5):
        answer = Answer(n=events, r=events // 5)
        run = bench.load(server, answer, streams=16, requests=10**7, seconds=max(0.5, bench.seconds / 2))
        expect_whole(run.result)
        figures[f"short{events}_per_s"] = run.result.whole / run.result.wall_s
        if run.us_per_request is not None and server.pids:
            figures[f"short{events}_us"] = run.us_per_request
    return figures


def first(bench: Bench, server: Server) -> Figures:
    """One request at a time, answered at once: how long until the first event."""
    run = bench.load(
        server, Answer(n=5, r=1), streams=1, requests=10**7, seconds=min(2.0, max(0.5, bench.seconds / 4))
    )
    expect_whole(run.result)
    return _known(
        {"first_p50_ms": _ms(run.result.first_event_p50_us), "first_p99_ms": _ms(run.result.first_event_p99_us)}
    )


def flood(bench: Bench, server: Server) -> Figures:
    """16 streams as fast as they are taken, many events in each read."""
    run = bench.load(server, Answer(n=1000, r=200), streams=16, requests=10**7, seconds=bench.seconds)
    expect_whole(run.result)
    return _rates(run, server, "flood")


def resume(bench: Bench, server: Server) -> Figures:
    """Finished streams read again from their logs."""
    if server.format != "typed":
        return {}
    answer = Answer(n=1000, r=200)
    first = bench.load(server, answer, streams=16, requests=32)
    expect_whole(first.result)
    paths = [f"{server.path}/{stream_id}" for stream_id in first.result.stream_ids]
    run = bench.load(server, answer, streams=16, requests=10**7, seconds=bench.seconds, paths=paths)
    expect_whole(run.result)
    return _rates(run, server, "resume")


def stall(bench: Bench, server: Server) -> Figures:
    """One reader takes 4 kB a second of an endless answer beside 50 paced ones: what these feel, and memory."""
    endless = Answer(n=10**6, r=0)
    before_mb = resident_mb(server.pids)
    stalled = bench.begin(
        server, endless, streams=1, requests=1, pause_s=1.0, timeout_s=bench.seconds * 3 + 60, extra=_WITHOUT_GRACE
    )
    try:
        time.sleep(min(1.0, bench.seconds / 4))
        run = paced_run(bench, server, min(50, bench.streams))
        grown_mb = resident_mb(server.pids) - before_mb
    finally:
        bench.finish(stalled)
    expect_whole(run.result)
    figures = {
        "stall_delay_p99_ms": _ms(run.result.delay_p99_us),
        "stall_gap_p99_ms": _ms(run.result.gap_p99_us),
        "stall_grown_mb": grown_mb if server.pids else None,
    }
    return _known(figures)


def leave(bench: Bench, server: Server) -> Figures:
    """Callers close their connections in mid-stream, and before the first event: time until the upstream's closes."""
    streaming = Answer(n=100_000, r=0, rate=PACE)
    silent = Answer(n=10, r=0, rate=PACE, wait_ms=20_000)
    return {
        **_leave(bench, server, streaming, "leave", leave_after_events=10),
        **_leave(bench, server, silent, "leave_silent", leave_after_s=0.3),
    }


def _leave(bench: Bench, server: Server, answer: Answer, prefix: str, **plan: Any) -> Figures:
    requests = max(10, int(bench.seconds * 12))
    run = bench.load(
        server, answer, streams=10, requests=requests, ramp_s=0.1, timeout_s=60, extra=_WITHOUT_GRACE, **plan
    )
    expect_whole(run.result)
    closed_ms = _wait_closed(bench, run.result.left_ns)
    figures = {
        f"{prefix}_p50_ms": percentile(closed_ms, 0.5),
        f"{prefix}_max_ms": max(closed_ms, default=None),
        f"{prefix}_seen": len(closed_ms) / max(1, len(run.result.left_ns)),
    }
    return _known(figures)


def _wait_closed(bench: Bench, left_ns: dict[str, int]) -> list[float]:
    """Milliseconds from each leaving to the closing upstream; those not closed within some seconds are missing."""
    end_s = time.monotonic() + 8
    while True:
        closed_ns: dict[str, int] = bench.ask_upstream("GET", "/stats")["left"]
        if left_ns.keys() <= closed_ns.keys() or time.monotonic() > end_s:
            return [(closed_ns[tag] - left_ns[tag]) / 1e6 for tag in left_ns if tag in closed_ns]
        time.sleep(0.1)


def capacity(bench: Bench, server: Server) -> Figures:
    """Most streams of 50 events/s with p99 of delay and gap under 100 ms, all open at once and none failed."""
    held, failed_at, streams = 0, None, min(100, bench.streams)
    harness_was_late = 0.0
    while streams:
        run = paced_run(bench, server, streams, longest_s=7.0)
        if _holds(run, streams):
            held = streams
        else:
            failed_at = streams
            harness_was_late = run.late_share
        if held >= bench.streams or (failed_at and failed_at < held * 1.15):
            break
        streams = min(held * 2, bench.streams) if failed_at is None else (held + failed_at) // 2
        if streams < 4 or streams == held:
            break
    return {"capacity": held, "capacity_is_harness": float(failed_at is None or harness_was_late > 0.01)}


def _holds(run: Run, streams: int) -> bool:
    result = run.result
    timings = (
        (result.delay_p99_us, _LIMIT_US),
        (result.gap_p99_us, _LIMIT_US),
        (result.first_event_p99_us, _FIRST_LIMIT_US),
    )
    in_time = all(value is not None and value < limit for value, limit in timings)
    return in_time and not result.failed and run.max_active >= 0.98 * streams


def _rates(run: Run, server: Server, prefix: str) -> Figures:
    figures = {
        f"{prefix}_us": run.us_per_event if server.pids else None,
        f"{prefix}_per_s": run.events / run.result.wall_s,
        f"{prefix}_harness": run.harness_share,
    }
    return _known(figures)


def warm(bench: Bench, server: Server) -> None:
    """Some requests, so that what is done once is done."""
    bench.load(server, Answer(), streams=4, requests=50, timeout_s=60)


def _known(figures: dict[str, float | None]) -> Figures:
    return {name: value for name, value in figures.items() if value is not None}


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e3


def expect_whole(result: Result) -> None:
    if result.failed or not result.whole:
        asked = result.failed + result.whole
        raise Incomplete(f"{result.failed} of {asked} answers were not whole; {result.first_error}")


Scenario = Callable[[Bench, Server], Figures]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (start, idle, paced, paced1000, tls, first, short, flood, resume, stall, leave, capacity)
}
"""In the order in which they are run: what is measured at rest comes first."""

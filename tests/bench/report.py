"""What the rounds say together: medians, ratios to nginx in the same round, a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.servers import REFERENCE

Round = Mapping[str, Mapping[str, float]]
"""Server → figure → value."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a scenario.

    Attributes:
        title: what it is, with its unit.
        digits: after the decimal point.
        has_ratio: whether a ratio to the reference says something.
    """

    name: str
    title: str
    digits: int = 1
    has_ratio: bool = True


def _paced(prefix: str, title: str) -> list[Figure]:
    return [
        Figure(f"{prefix}_us", f"CPU µs per event, {title}"),
        Figure(f"{prefix}_delay_p50_ms", f"delay of an event p50, ms, {title}", 2),
        Figure(f"{prefix}_delay_p99_ms", f"delay of an event p99, ms, {title}", 2),
        Figure(f"{prefix}_gap_p99_ms", f"gap between events p99, ms, {title}", has_ratio=False),
        Figure(f"{prefix}_per_s", f"events/s, {title}", 0, has_ratio=False),
        Figure(f"{prefix}_harness", f"cores used by the harness, {title}", 2, has_ratio=False),
        Figure(f"{prefix}_late", f"share of events the harness wrote late, {title}", 3, has_ratio=False),
    ]


FIGURES = [
    Figure("start_ms", "time to serving, ms", 0),
    Figure("rest_mb", "memory at rest, MB"),
    Figure("idle_kb", "memory per open stream, kB"),
    *_paced("paced", "paced"),
    *_paced("paced1000", "paced, 1,000 streams"),
    *_paced("tls", "paced, TLS to upstream"),
    Figure("first_p50_ms", "first event p50, one request at a time, ms", 2),
    Figure("first_p99_ms", "first event p99, one request at a time, ms", 2),
    Figure("short1_us", "CPU µs per request of 1 event", 0),
    Figure("short1_per_s", "requests/s of 1 event", 0),
    Figure("short5_us", "CPU µs per request of 5 events", 0),
    Figure("short5_per_s", "requests/s of 5 events", 0),
    Figure("flood_us", "CPU µs per event, flood", 2),
    Figure("flood_per_s", "events/s, flood", 0),
    Figure("flood_harness", "cores used by the harness, flood", 2, has_ratio=False),
    Figure("resume_us", "CPU µs per event, replay", 2, has_ratio=False),
    Figure("resume_per_s", "events/s, replay", 0, has_ratio=False),
    Figure("resume_harness", "cores used by the harness, replay", 2, has_ratio=False),
    Figure("stall_delay_p99_ms", "delay p99 beside a stalled reader, ms", 2),
    Figure("stall_gap_p99_ms", "gap p99 beside a stalled reader, ms", has_ratio=False),
    Figure("stall_grown_mb", "memory that a stalled reader costs, MB", has_ratio=False),
    Figure("leave_p50_ms", "caller leaves → upstream closed p50, ms", 2),
    Figure("leave_max_ms", "caller leaves → upstream closed, longest, ms", 2),
    Figure("leave_seen", "share of leaving callers noticed", 2, has_ratio=False),
    Figure("leave_silent_p50_ms", "the same before the first event p50, ms", 2),
    Figure("leave_silent_max_ms", "the same before the first event, longest, ms", 2),
    Figure("leave_silent_seen", "share noticed before the first event", 2, has_ratio=False),
    Figure("capacity", "streams of 50 events/s held", 0),
    Figure("capacity_is_harness", "… limited by the harness (1) or the server (0)", 0, has_ratio=False),
]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a figure of a server comes to over all rounds.

    Attributes:
        ratio: median of the ratios to the reference within each round; None for the reference itself.
    """

    median: float
    low: float
    high: float
    ratio: float | None


def summarise(rounds: Sequence[Round]) -> dict[str, dict[str, Summary]]:
    """Server → figure → summary, in the order of the first round."""
    names = list(dict.fromkeys(name for round_ in rounds for name in round_))
    return {name: _summaries(rounds, name) for name in names}


def _summaries(rounds: Sequence[Round], server: str) -> dict[str, Summary]:
    found = {}
    for figure in FIGURES:
        values = [round_[server][figure.name] for round_ in rounds if figure.name in round_.get(server, {})]
        if values:
            ratio = _ratio(rounds, server, figure) if figure.has_ratio and server != REFERENCE else None
            found[figure.name] = Summary(statistics.median(values), min(values), max(values), ratio)
    return found


def _ratio(rounds: Sequence[Round], server: str, figure: Figure) -> float | None:
    ratios = []
    for round_ in rounds:
        value = round_.get(server, {}).get(figure.name)
        reference = round_.get(REFERENCE, {}).get(figure.name)
        if value is not None and reference:
            ratios.append(value / reference)
    return statistics.median(ratios) if ratios else None


def table(summaries: Mapping[str, Mapping[str, Summary]]) -> str:
    """The summaries as a Markdown table: medians, and ratios in brackets."""
    rows = [["", *summaries]]
    for figure in FIGURES:
        if any(figure.name in of_server for of_server in summaries.values()):
            rows.append([figure.title, *(_cell(figure, of_server) for of_server in summaries.values())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(figure: Figure, of_server: Mapping[str, Summary]) -> str:
    summary = of_server.get(figure.name)
    if summary is None:
        return "-"
    ratio = f" ({summary.ratio:.2f} x)" if summary.ratio is not None else ""
    return f"{summary.median:,.{figure.digits}f}{ratio}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].ljust(widths[0])
    return (
        "| "
        + " | ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        + " |"
    )

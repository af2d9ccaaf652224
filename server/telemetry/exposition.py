"""Every figure in Prometheus' text format. Only this module knows `prometheus_client`; loaded at the first scrape.

The numbers are kept elsewhere, as plain integers; here they get names. `docs/metrics.md` lists them, and a test
compares the two. Writing takes some 10 µs a line, so it is done on a thread, which copies what the loop changes.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from client.models.catalogue import Catalogue
from client.streams.histogram import Histogram
from client.streams.streams import Streams
from server.keys import CATALOGUE, STREAMS
from server.telemetry.logs import dropped_lines
from server.telemetry.loop_lag import LOOP_LAG, LoopLag
from server.telemetry.request_figures import REQUEST_FIGURES, RequestFigures
from server.telemetry.shared_figures import SHARED, SharedFigures, SharedState
from server.version import program_version

PREFIX = "openrouter_sse"

_CHAT = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openrouter"}
"""Labels that the conventions want on everything; the provider is the one whose protocol is spoken."""

_OPENMETRICS = "application/openmetrics-text"
_MODEL = "gen_ai_response_model"


class Exposition:
    """Writes the figures of one application."""

    def __init__(self, collector: FiguresCollector) -> None:
        self._collector = collector
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """All figures as text, and its content type: OpenMetrics 1.0 when `accept` names it."""
        encode, content_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept else "")
        self._collector.look()
        return await asyncio.to_thread(encode, self._registry), content_type


def create_exposition(app: web.Application) -> Exposition:
    """The writer for an application that has started."""
    return Exposition(
        FiguresCollector(app[STREAMS], app[REQUEST_FIGURES], app[LOOP_LAG], app[CATALOGUE], app.get(SHARED))
    )


class Now(NamedTuple):
    """What is counted at the moment of a scrape."""

    active: int
    kept: int
    readers: int
    log_bytes: int
    events: int
    event_bytes: int
    pending_settlements: int
    catalogue_models: int
    catalogue_age_s: float | None
    shared: SharedNow | None


class SharedNow(NamedTuple):
    """What is counted of a shared store at that moment."""

    has_contact: bool
    replicas: int
    mirrors: int
    unacked_bytes: int
    oldest_unacked_s: float


class FiguresCollector(Collector):
    """Names the figures.

    `collect` runs on a thread while the event loop counts on: it takes copies of what may grow, and everything that
    has to be counted first was counted by `look`, on the loop.
    """

    def __init__(
        self,
        streams: Streams,
        requests: RequestFigures,
        lag: LoopLag,
        catalogue: Catalogue,
        shared: SharedState | None = None,
    ) -> None:
        self._streams = streams
        self._requests = requests
        self._lag = lag
        self._catalogue = catalogue
        self._shared = shared
        self.look()

    def look(self) -> None:
        """Counts what has to be counted."""
        streams, catalogue = self._streams, self._catalogue
        self._now = Now(
            active=streams.active,
            kept=streams.kept,
            readers=streams.readers,
            log_bytes=streams.total_bytes,
            events=streams.events,
            event_bytes=streams.event_bytes,
            pending_settlements=streams.pending_settlements,
            catalogue_models=catalogue.size,
            catalogue_age_s=catalogue.age_s,
            shared=None if self._shared is None else _look_at(self._shared),
        )

    def collect(self) -> Iterable[Metric]:
        """Every family; those without a value yet are there too, so that a dashboard finds them."""
        yield from self._of_requests()
        yield from self._of_streams()
        yield from self._of_answers()
        yield from self._of_tokens()
        yield from self._of_costs()
        if self._shared is not None and self._now.shared is not None:
            yield from _of_shared(self._shared.figures, self._now.shared)
        yield from self._of_process()

    def _of_requests(self) -> Iterator[Metric]:
        requests = self._requests
        yield _counter(
            "http_requests",
            "Requests by method, route and status; 499: the caller left before there was an answer.",
            ("method", "route", "status"),
            {(method, route, str(status)): count for (method, route, status), count in dict(requests.counts).items()},
        )
        yield _histogram(
            f"{PREFIX}_http_request_duration_seconds",
            "Time until the last byte of the reply; for streams that is the whole answer.",
            ("method", "route"),
            dict(requests.durations_s),
        )

    def _of_streams(self) -> Iterator[Metric]:
        now = self._now
        yield _gauge("streams_active", "Answers that are running.", now.active)
        yield _gauge("streams_kept", "Answers that can be read, running or finished.", now.kept)
        yield _gauge("stream_readers", "Connections that read an answer.", now.readers)
        yield _gauge(
            "stream_log_bytes",
            "What all kept answers take, 1 KiB beside each log.",
            now.log_bytes,
        )
        yield _plain("events", "Events written to answers; each counts once, however many read it.", now.events)
        yield _plain("event_bytes", "Bytes of those events.", now.event_bytes, "bytes")
        resumes = self._streams.figures.resumes
        yield _plain("resumes", "Connections that went on after an event they had.", resumes)

    def _of_answers(self) -> Iterator[Metric]:
        figures = self._streams.figures
        yield _counter(
            "streams",
            "Answers that have ended, by outcome: completed, failed, cancelled, abandoned, shutting_down.",
            ("outcome",),
            {(outcome,): count for outcome, count in dict(figures.ended).items()},
        )
        yield _counter(
            "upstream_errors",
            "Failures of upstream by type, those after which it was asked again included.",
            ("type",),
            {(type_,): count for type_, count in dict(figures.errors).items()},
        )
        yield _plain("upstream_retries", "Attempts after the first.", figures.retries)
        yield _plain(
            "upstream_stalls", "Answers that ended because upstream was silent for too long.", figures.stalls
        )
        yield _histogram(
            "gen_ai_client_operation_duration_seconds",
            "How long answers took, retries included.",
            (*_CHAT, _MODEL, "error_type"),
            {(*_CHAT.values(), *key): found for key, found in dict(figures.durations_s).items()},
        )
        yield _histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time from the request to the first token, thinking included.",
            (*_CHAT, _MODEL),
            {(*_CHAT.values(), model): found for model, found in dict(figures.first_chunk_s).items()},
        )
        yield _histogram(
            "gen_ai_client_operation_time_per_output_chunk_seconds",
            "Gaps between the reads that brought events, over all models.",
            tuple(_CHAT),
            {tuple(_CHAT.values()): figures.gaps_s},
        )

    def _of_tokens(self) -> Iterator[Metric]:
        yield _histogram(
            "gen_ai_client_token_usage",
            "Tokens of an answer as upstream counts them.",
            (*_CHAT, _MODEL, "gen_ai_token_type"),
            {(*_CHAT.values(), *key): found for key, found in dict(self._streams.figures.tokens).items()},
        )

    def _of_costs(self) -> Iterator[Metric]:
        figures = self._streams.figures
        yield _counter(
            "cost_usd",
            "What answers cost, as upstream says; costs that were found later included.",
            (_MODEL,),
            {(model,): cost for model, cost in dict(figures.cost_usd).items()},
            "usd",
        )
        yield _counter(
            "settlements",
            "Look-ups of costs that upstream had not told, by outcome: settled, unknown.",
            ("outcome",),
            {("settled",): figures.settled, ("unknown",): figures.unsettled},
        )
        yield _plain("settled_cost_usd", "Costs found by such look-ups.", figures.settled_usd, "usd")
        yield _gauge("settlements_pending", "Look-ups under way.", self._now.pending_settlements)

    def _of_process(self) -> Iterator[Metric]:
        yield _histogram(
            f"{PREFIX}_event_loop_lag_seconds",
            "How late a timer of the event loop was, looked at once a second.",
            (),
            {(): self._lag.lag_s},
        )
        yield _plain(
            "log_lines_dropped", "Lines of the log that nobody read or that could not be written.", dropped_lines()
        )
        yield _gauge("catalogue_models", "Models in the catalogue.", self._now.catalogue_models)
        age_s = self._now.catalogue_age_s
        if age_s is not None:
            yield _gauge("catalogue_age_seconds", "Age of the catalogue.", age_s, "seconds")
        build = InfoMetricFamily(f"{PREFIX}_build", "What is running.")
        loop = "uvloop" if "uvloop" in sys.modules and sys.modules["uvloop"] is not None else "asyncio"
        build.add_metric((), {"version": program_version(), "python": platform.python_version(), "loop": loop})
        yield build


def _look_at(shared: SharedState) -> SharedNow:
    return SharedNow(
        shared.has_contact, shared.replicas, shared.mirrored, shared.unacked_bytes, shared.oldest_unacked_s
    )


def _of_shared(figures: SharedFigures, now: SharedNow) -> Iterator[Metric]:
    yield _gauge("shared_contact", "1 while the shared store can be used.", int(now.has_contact))
    yield _gauge("shared_replicas", "Processes that share the store, this one included.", now.replicas)
    yield _gauge("shared_mirrors", "Answers of other processes that are kept here.", now.mirrors)
    yield _gauge("shared_unacked_bytes", "What waits to be written to the shared store.", now.unacked_bytes)
    yield _gauge(
        "shared_oldest_unacked_seconds", "For how long the oldest of it waits.", now.oldest_unacked_s, "seconds"
    )
    yield _histogram(
        f"{PREFIX}_shared_flush_seconds", "How long writes to the shared store took.", (), {(): figures.flush_s}
    )
    yield _plain("shared_entries", "Pieces of answers that were written there.", figures.entries)
    yield _plain("shared_refits", "Answers that were written again from where it stood.", figures.refits)
    yield _plain("shared_fenced", "Answers of this process that others had ended.", figures.fenced)
    yield _plain("shared_buried", "Processes whose answers this one has ended.", figures.buried)
    yield _plain("shared_restored", "Times that it had lost its data, and got them again.", figures.restored)
    yield _counter(
        "shared_refused",
        "Requests that were refused since the shared store could not be asked, by what for.",
        ("why",),
        {(why,): count for why, count in dict(figures.refused).items()},
    )


_Labels = tuple[str, ...]


def _counter(
    name: str, documentation: str, labels: _Labels, values: Mapping[_Labels, float], unit: str = ""
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{PREFIX}_{name}", documentation, labels=labels, unit=unit)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _plain(name: str, documentation: str, value: float, unit: str = "") -> CounterMetricFamily:
    return _counter(name, documentation, (), {(): value}, unit)


def _gauge(name: str, documentation: str, value: float, unit: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", documentation, value, unit=unit)


def _histogram(
    name: str, documentation: str, labels: _Labels, found: Mapping[Any, Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for key, histogram in found.items():
        bounds = [*map(str, map(float, histogram.bounds)), "+Inf"]
        counts = accumulate(tuple(histogram.counts))
        family.add_metric(key, list(zip(bounds, counts, strict=True)), histogram.sum)
    return family

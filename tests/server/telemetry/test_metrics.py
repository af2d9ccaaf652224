"""`/metrics`: what is counted, under which names, and that it stays small."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client.sandbox import HangUp, Hold, Reply, Sandbox
from client.streams.figures import BoundedNames
from client.streams.histogram import Histogram
from client.streams.readable import KEPT_BYTES
from server.config import Config
from server.telemetry.loop_lag import LoopLag
from tests.support.chunks import END, STOP, chunk, text
from tests.support.process import ServerProcess, running_server
from tests.support.serving import Api, question, serving, with_tokens
from tests.support.sse_reader import Event, parse_events, read_until
from tests.support.telemetry.metrics import Scrape, scrape

ROOT = Path(__file__).parents[3]
ANSWER = Reply.stream(text("one "), text("two"), STOP, END)
CHAT = "/chat"
STREAM = "/chat/{stream_id}"
IDLE_TIMEOUT_S = 3


@pytest.fixture
async def server(upstream: Sandbox) -> AsyncIterator[ServerProcess]:
    """The command as a process; it gives up on a silent upstream soon, and tries once again."""
    env = {
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_API_KEY": "sk-or-x",
        "OPENROUTER_MAX_RETRIES": "1",
        "OPENROUTER_IDLE_TIMEOUT": str(IDLE_TIMEOUT_S),
    }
    async with running_server(env=env) as process:
        yield process


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who calls."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


class Caller:
    """Asks, and keeps count of what it was given."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.events = 0
        self.event_bytes = 0

    async def ask(self, **more: Any) -> tuple[aiohttp.ClientResponse, list[Event]]:
        """An answer, read to its end."""
        async with self.http.post(f"{self.url}/chat", json=question(**more)) as response:
            return response, self.note(await response.read())

    def note(self, body: bytes) -> list[Event]:
        """The events of a body, counted."""
        events = parse_events(body)
        self.events += len(events)
        self.event_bytes += len(body)
        return events


async def test_known_traffic_gives_exact_figures(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    caller = Caller(http, server.url)
    before = await scrape(http, server.url)
    assert before.value("openrouter_sse_events_total") == before.value("openrouter_sse_streams_total") == 0

    upstream.script(ANSWER)
    answered, events = await caller.ask()
    upstream.script(Reply.error(429, "slow", headers={"Retry-After": "0"}), ANSWER)
    await caller.ask()
    upstream.script(Reply.error(402, "no money"))
    refused, _ = await caller.ask()
    assert refused.status == 402
    async with http.get(
        f"{server.url}{answered.headers['Location']}", headers={"Last-Event-ID": events[1].id}
    ) as again:
        assert parse_events(await again.read()) == events[2:]
    async with http.get(f"{server.url}{answered.headers['Location']}") as whole:
        assert parse_events(await whole.read()) == events
    async with http.get(f"{server.url}/nowhere/{'x' * 500}") as nowhere:
        assert nowhere.status == 404

    after = await scrape(http, server.url)
    assert after.value("openrouter_sse_events_total") == caller.events
    assert after.value("openrouter_sse_event_bytes_total") == caller.event_bytes
    assert after.value("openrouter_sse_streams_total", outcome="completed") == 2
    assert after.value("openrouter_sse_streams_total", outcome="failed") == 1
    assert after.value("openrouter_sse_upstream_retries_total") == 1
    assert after.value("openrouter_sse_upstream_errors_total", type="rate_limited") == 1
    assert after.value("openrouter_sse_upstream_errors_total", type="insufficient_credits") == 1
    assert after.value("openrouter_sse_upstream_errors_total") == 2
    assert after.value("openrouter_sse_resumes_total") == 1
    assert after.value("openrouter_sse_upstream_stalls_total") == 0
    assert after.value("openrouter_sse_cost_usd_total", gen_ai_response_model="acme/m") == pytest.approx(0.002)
    model = {"gen_ai_response_model": "acme/m"}
    assert after.value("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **model) == 6
    assert after.value("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **model) == 4
    assert after.value("gen_ai_client_token_usage_count", gen_ai_token_type="output", **model) == 2
    assert after.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **model) == 2
    assert after.value("gen_ai_client_operation_duration_seconds_count", error_type="", **model) == 2
    assert after.value("gen_ai_client_operation_duration_seconds_count", error_type="insufficient_credits") == 1
    requests = "openrouter_sse_http_requests_total"
    assert after.value(requests, method="POST", route=CHAT, status="200") == 2
    assert after.value(requests, method="POST", route=CHAT, status="402") == 1
    assert after.value(requests, method="GET", route=STREAM, status="200") == 2
    assert after.value(requests, route="unmatched", status="404") == 1
    assert after.value(requests, route="/metrics") == 1  # the scrape before this one
    assert after.value("openrouter_sse_http_request_duration_seconds_count", route=CHAT) == 3


async def test_gauges_follow_a_running_answer(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("one "), Hold(go_on), text("two"), STOP, END))
    caller = Caller(http, server.url)
    response = await http.post(f"{server.url}/chat", json=question())
    body = await read_until(response, b"one ")
    second = await http.get(f"{server.url}{response.headers['Location']}")
    await read_until(second, b"one ")
    running = await scrape(http, server.url)
    assert running.value("openrouter_sse_streams_active") == 1
    assert running.value("openrouter_sse_stream_readers") == 2
    assert running.value("openrouter_sse_events_total") == 2
    assert running.value("openrouter_sse_event_bytes_total") == len(body)
    go_on.set()
    caller.note(body + await response.read())
    await second.read()
    ended = await scrape(http, server.url)
    assert ended.value("openrouter_sse_streams_active") == 0
    assert ended.value("openrouter_sse_stream_readers") == 0
    assert ended.value("openrouter_sse_streams_kept") == 1
    assert ended.value("openrouter_sse_stream_log_bytes") == caller.event_bytes + KEPT_BYTES
    assert ended.value("openrouter_sse_events_total") == caller.events
    gaps = "gen_ai_client_operation_time_per_output_chunk_seconds"
    assert ended.value(f"{gaps}_sum") > running.value(f"{gaps}_sum")


async def test_stops_stalls_and_costs_found_later_are_counted(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    caller = Caller(http, server.url)
    record = {"id": "gen-1", "total_cost": 0.25, "model": "acme/m", "tokens_prompt": 3, "tokens_completion": 1}
    upstream.script(Reply.json({"data": record}), path="/generation")
    upstream.script(Reply.stream(text("one "), HangUp()))
    _, events = await caller.ask()
    assert events[-1].data["completed"] is False

    upstream.script(Reply.stream(text("one "), Hold()))
    stopped = await http.post(f"{server.url}/chat", json=question())
    await read_until(stopped, b"one ")
    async with http.delete(f"{server.url}{stopped.headers['Location']}") as deleted:
        assert deleted.status == 200
    stopped.close()

    upstream.script(Reply.stream(text("one "), Hold()))
    _, events = await caller.ask()
    assert events[-2].data["type"] == "upstream_timeout"

    for _ in range(150):
        found = await scrape(http, server.url)
        if found.value("openrouter_sse_settled_cost_usd_total"):
            break
        await asyncio.sleep(0.1)
    assert found.value("openrouter_sse_settled_cost_usd_total") == 0.25
    assert found.value("openrouter_sse_settlements_total", outcome="settled") == 1
    assert found.value("openrouter_sse_settlements_pending") == 2
    assert found.value("openrouter_sse_cost_usd_total", gen_ai_response_model="acme/m") == 0.25
    assert found.value("gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 3
    assert found.value("openrouter_sse_streams_total", outcome="cancelled") == 1
    assert found.value("openrouter_sse_streams_total", outcome="failed") == 2
    assert found.value("openrouter_sse_upstream_errors_total", type="stream_interrupted") == 1
    assert found.value("openrouter_sse_upstream_errors_total", type="upstream_timeout") == 1
    assert found.value("openrouter_sse_upstream_stalls_total") == 1
    assert found.value("openrouter_sse_event_loop_lag_seconds_count") >= IDLE_TIMEOUT_S - 1


async def test_models_that_callers_make_up_do_not_grow_the_figures(upstream: Sandbox, api: Api) -> None:
    for number in range(60):
        model = f"acme/{number}"
        upstream.script(Reply.stream(chunk({"content": "x"}, model=model), STOP, END))
        await api.chat(model=model)
    upstream.script(Reply.error(404, "No endpoints found"))
    await api.chat(model="acme/made-up")
    found = await scrape(api.http, api.url)
    models = found.labels("openrouter_sse_cost_usd_total", "gen_ai_response_model")
    assert len(models) == 51
    assert "acme/made-up" not in found.text
    assert found.value("openrouter_sse_cost_usd_total", gen_ai_response_model="other") == pytest.approx(0.01)


async def test_methods_and_paths_that_callers_make_up_do_not_grow_the_figures(api: Api) -> None:
    for number in range(20):
        await api.request(("PROPFIND", "LOCK", "SEARCH")[number % 3], f"/chat/{number}")
        await api.request("GET", f"/chat/{number}")
        await api.request("GET", f"/models/acme/{number}")
        await api.request("GET", f"/{number}")
    found = await scrape(api.http, api.url)
    requests = "openrouter_sse_http_requests_total"
    assert found.labels(requests, "method") == {"GET", "other"}
    assert found.labels(requests, "route") == {STREAM, "/models/{model_id}", "unmatched"}


async def test_metrics_follow_the_rules_of_access(config: Config) -> None:
    async with serving(with_tokens(config, "a-token-of-sixteen-and-more")) as api:
        response, _ = await api.request("GET", "/metrics")
        assert response.status == 401
        response, body = await api.request("GET", "/metrics", Authorization="Bearer a-token-of-sixteen-and-more")
        assert response.status == 200
        assert Scrape(body.decode()).value("openrouter_sse_http_requests_total", status="401") == 1


async def test_openmetrics_is_written_for_those_who_ask(api: Api) -> None:
    prometheus = (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1"
    )
    for accept in (prometheus, "application/openmetrics-text", "application/openmetrics-text;version=abc"):
        response, body = await api.request("GET", "/metrics", Accept=accept)
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        families = list(text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]
        assert len(families) > 20
    for accept in ("text/plain;version=abc", "nonsense", "application/json"):
        response, body = await api.request("GET", "/metrics", Accept=accept)
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")


_NO_BASE_UNITS = re.compile(
    r"_(ms|us|ns|millis\w*|micros\w*|minutes?|hours?|days?|kb|mb|kib|mib|\w+(kilo|mega)bytes)(_|$)"
)
_UNITS = ("_seconds", "_bytes", "_usd")


async def test_names_follow_the_practice_of_prometheus(upstream: Sandbox, api: Api) -> None:
    upstream.script(ANSWER)
    await api.chat()
    found = await scrape(api.http, api.url)
    for name, family in found.families.items():
        assert re.fullmatch(r"(openrouter_sse|gen_ai_client|process)_[a-z0-9_]*[a-z0-9]", name), name
        assert family.documentation.strip(), name
        assert not _NO_BASE_UNITS.search(name), name
        assert family.type in ("counter", "gauge", "histogram"), name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in sample.labels), sample.labels
        for unit in _UNITS:
            assert unit not in name or name.endswith(unit), name


async def test_every_figure_is_documented_and_every_documented_figure_exists(upstream: Sandbox, api: Api) -> None:
    upstream.script(ANSWER)
    await api.chat()
    await api.request("GET", "/models")
    found = await scrape(api.http, api.url)
    own = {
        f"{name}_total" if family.type == "counter" else name
        for name, family in found.families.items()
        if not name.startswith("process_")
    }
    documented = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    assert sorted(name for name in documented if "_shared_" not in name) == sorted(own)  # those: tests/shared


def test_a_histogram_counts_a_value_on_its_bound_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.sum) == ([2, 2, 1], 14.0)


async def test_a_loop_that_stood_still_shows_as_lag() -> None:
    lag = LoopLag(interval_s=0.01)
    time.sleep(0.3)  # noqa: ASYNC251 - the loop is to stand still
    await asyncio.sleep(0.05)  # a few looks
    lag.stop()
    assert lag.lag_s.sum > 0.2
    seen = list(lag.lag_s.counts)
    await asyncio.sleep(0.05)
    assert lag.lag_s.counts == seen


def test_names_beyond_the_limit_are_other_and_known_ones_stay() -> None:
    names = BoundedNames(2)
    assert [names.bounded(name) for name in ("a", "b", "c", "a", None, "")] == ["a", "b", "other", "a"] + [
        "unknown"
    ] * 2
    assert BoundedNames().bounded("x" * 10_000) == "other"


def test_a_server_that_nobody_scrapes_does_not_load_the_library() -> None:
    program = (
        "import sys; from server.app import create_app; from server.config import Config;"
        "import server.process.serve;"
        "create_app(Config()); sys.exit('prometheus_client' in sys.modules or 'opentelemetry' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=20).returncode == 0


async def test_scrapes_at_once_get_the_same_figures(api: Api) -> None:
    found = await asyncio.gather(*(scrape(api.http, api.url) for _ in range(8)))
    assert {each.value("openrouter_sse_streams_active") for each in found} == {0}

"""The Grafana dashboard asks for figures that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.shared.processes import shared_of, sharing
from tests.support.chunks import END, STOP, text
from tests.support.engines import running_engine
from tests.support.telemetry.metrics import Scrape, scrape

FILE = Path(__file__).parents[3] / "server" / "commands" / "systemd" / "grafana-dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in GRAPHS for target in panel["targets"]]
_SERIES = re.compile(r"\b((?:openrouter_sse|gen_ai|process)_[a-z0-9_]+)\{([^}]*)\}")
_GROUPS = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture
async def found(upstream: Sandbox, config: Config) -> Scrape:
    """The figures after some traffic of every kind, so that every label is there; of a process with a store."""
    with running_engine("redis") as engine:
        async with sharing(config, engine, 1) as [api]:
            shared_of(api).figures.note_refused("find")
            upstream.script(Reply.stream(text("one"), STOP, END))
            await api.chat()
            upstream.script(Reply.error(402, "no money"))
            await api.chat()
            return await scrape(api.http, api.url)


def test_the_dashboard_can_be_imported() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time", "refresh"} <= set(DASHBOARD)
    assert "id" not in DASHBOARD  # Grafana gives it
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "job"}
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in GRAPHS:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


async def test_every_query_names_figures_and_labels_that_exist(found: Scrape) -> None:
    for query in QUERIES:
        series = _SERIES.findall(query)
        assert series, query
        labels: set[str] = set()
        for name, matchers in series:
            assert name in found.names, name
            labels |= {label for sample in found.samples_of(name) for label in sample.labels}
            used = set(re.findall(r"([a-z_]+)\s*[=!]~?", matchers))
            assert used <= labels | {"job"}, query
            assert "job" in used, query
        grouped = {label.strip() for group in _GROUPS.findall(query) for label in group.split(",")}
        assert grouped <= labels | {"le"}, query
        assert query.count("(") == query.count(")"), query


def test_counters_are_shown_as_rates_only() -> None:
    for query in QUERIES:
        for name, _ in _SERIES.findall(query):
            if name.endswith(("_total", "_bucket")):
                assert re.search(rf"(rate|increase)\({name}\{{", query), query


async def test_every_figure_of_answers_is_on_the_dashboard(found: Scrape) -> None:
    shown = {name for query in QUERIES for name, _ in _SERIES.findall(query)}
    left_out = {
        "openrouter_sse_streams_kept",
        "openrouter_sse_catalogue_models",
        "openrouter_sse_build_info",
        "openrouter_sse_log_lines_dropped",  # of the log, not of answers
    }
    missing = {
        name
        for name, family in found.families.items()
        if name.startswith(("openrouter_sse", "gen_ai")) and not shown & {sample.name for sample in family.samples}
    }
    assert missing <= left_out

"""The benchmark: a tiny round end to end, and the pure parts that make its figures."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.chart import chart
from tests.bench.frames import MARK, Answer, ending, flood, http_chunk, parse_answer, stamped
from tests.bench.load import percentile
from tests.bench.report import FIGURES, summarise, table
from tests.bench.scenarios import SCENARIOS
from tests.bench.servers import OURS, ROOT, NotInstalled, find_nginx, parse_peer

ROUNDS = [
    {"nginx": {"paced_us": 20.0}, OURS: {"paced_us": 40.0}},
    {"nginx": {"paced_us": 10.0}, OURS: {"paced_us": 50.0}},
    {"nginx": {"paced_us": 20.0}, OURS: {"paced_us": 60.0, "resume_us": 1.0}},
]


async def run_bench(*arguments: str) -> str:
    """What the command prints when it ends well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bench", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(90):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()  # it stops what it started
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_tiny_round_measures_both_servers(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the benchmark needs Linux")
    try:
        find_nginx()
    except NotInstalled as exc:
        pytest.skip(str(exc))
    json_file, svg_file = tmp_path / "figures.json", tmp_path / "chart.svg"
    sizes = ("--rounds", "1", "--seconds", "1", "--streams", "10")
    files = ("--json", str(json_file), "--chart", str(svg_file))
    printed = await run_bench("--scenarios", "paced,first,short", "--protocols", *sizes, *files)
    record = json.loads(json_file.read_text())
    assert set(record["rounds"][0]) == {"nginx", OURS, f"{OURS}-v1", f"{OURS}-api-v1"}
    for figures in record["rounds"][0].values():
        assert figures["paced_us"] > 0
        assert figures["paced_delay_p99_ms"] >= figures["paced_delay_p50_ms"] > 0
        assert figures["first_p99_ms"] >= figures["first_p50_ms"] > 0
        assert figures["short1_us"] > 0
        assert figures["short5_per_s"] > 0
    ratio = record["summary"][OURS]["paced_us"]["ratio"]
    assert ratio == record["rounds"][0][OURS]["paced_us"] / record["rounds"][0]["nginx"]["paced_us"]
    assert "CPU µs per event, paced" in printed
    assert record["versions"]["nginx"]
    assert ElementTree.parse(svg_file).getroot().tag.endswith("svg")


def test_ratios_are_taken_within_each_round() -> None:
    ours = summarise(ROUNDS)[OURS]["paced_us"]
    assert (ours.median, ours.low, ours.high, ours.ratio) == (50.0, 40.0, 60.0, 3.0)


def test_the_table_shows_what_each_server_has() -> None:
    lines = table(summarise(ROUNDS)).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "CPU µs per event, paced",
        "20.0",
        "50.0 (3.00 x)",
    ]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["CPU µs per event, replay", "-", "1.00"]


def test_the_chart_is_well_formed() -> None:
    texts = [element.text for element in ElementTree.fromstring(chart(summarise(ROUNDS))).iter() if element.text]
    assert "50.0 (3.00 x)" in texts


def test_figures_are_named_once() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert "paced" in SCENARIOS


@pytest.mark.parametrize("n", [1, 5, 1000, 4321])
def test_an_answer_carries_one_mark_per_content_event(n: int) -> None:
    answer = Answer(n=n, r=n // 5)
    assert b"".join(flood(answer)).count(MARK) == answer.content_events


def test_marks_stand_nowhere_else_on_the_wire() -> None:
    assert stamped(123_456_789_000).count(MARK) == 1
    assert ending(3).count(MARK) == 0
    assert http_chunk(b"abc") == b"3\r\nabc\r\n"


def test_an_answer_travels_in_a_request() -> None:
    answer = Answer(n=400, r=80, rate=50, wait_ms=20, tag=7)
    assert parse_answer(f'{{"message": "{answer}"}}'.encode()) == answer
    assert parse_answer(b'{"message": "hello"}') is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([], 0.5) is None


def test_a_peer_is_a_port_of_this_machine() -> None:
    peer = parse_peer("other=http://127.0.0.1:4000/v1/chat/completions,openai")
    assert (peer.name, peer.port, peer.path, peer.format) == ("other", 4000, "/v1/chat/completions", "openai")
    for text in ("other", "other=http://example.org:80/,openai", "other=http://127.0.0.1/x,openai"):
        with pytest.raises(ValueError, match="must be"):
            parse_peer(text)

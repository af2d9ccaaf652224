"""How a line of the log looks to a program."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.telemetry.log_lines import JsonFormatter
from server.telemetry.logs import LogHandler, log_fields


def line_of(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = json.loads(JsonFormatter().format(record))
    return line


@given(st.integers(0, 4_000_000_000_000))
def test_the_time_is_iso_8601_in_utc_with_milliseconds(epoch_ms: int) -> None:
    record = logging.makeLogRecord({"created": (epoch_ms + 0.5) / 1000})
    second = datetime.fromtimestamp(epoch_ms // 1000, UTC).replace(microsecond=epoch_ms % 1000 * 1000)
    assert line_of(record)["time"] == second.isoformat(timespec="milliseconds")


def test_a_line_with_fields_looks_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.logger")
    with caplog.at_level(logging.INFO):
        log_fields(logger, "done", {"status": 200})
        logger.info("done", extra={"fields": {"status": 200}})
    mine, usual = map(line_of, caplog.records)
    assert {**mine, "time": usual["time"]} == usual
    assert mine["status"] == 200


def test_a_line_without_a_record_looks_like_any_other(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = LogHandler()
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    logger = logging.getLogger("some.other.logger")
    made: list[logging.LogRecord] = []

    def handle(record: logging.LogRecord) -> None:
        made.append(record)
        handler.handle(record)

    monkeypatch.setattr(logger, "handle", handle)
    fields = {"status": 200, "model": "m" * 300, "odd": "\u2028\ud83d", "none": None}
    log_fields(logger, "done", fields, logging.WARNING)
    assert not made
    logger.warning("done", extra={"fields": fields})
    assert made
    handler.writer.close(5)
    mine, usual = map(json.loads, capfd.readouterr().err.splitlines())
    assert {**mine, "time": usual["time"]} == usual


def test_a_line_with_fields_keeps_to_the_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log_fields(logging.getLogger("some.logger"), "done", {})
    assert not caplog.records

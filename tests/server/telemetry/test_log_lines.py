"""What callers and upstream say, in lines that a terminal shows and that programs read."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.telemetry.log_lines import JsonFormatter, TextFormatter

FORGED = "\x1b[2J\n12:00:00 ERROR server: forged"


def record(message: str = "chat", **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "access", "msg": message, "levelname": "INFO", "fields": fields})


def failed(text: str) -> logging.LogRecord:
    try:
        raise ValueError(text)
    except ValueError:
        return logging.makeLogRecord({"name": "server", "msg": "failed", "exc_info": sys.exc_info(), "fields": {}})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("modèle", "modèle"),
        (FORGED, r'"\u001b[2J\n12:00:00 ERROR server: forged"'),
        ("a b", '"a b"'),
        ("a status=200", '"a status=200"'),
        ("/x=1", "/x=1"),
        ('a"b', r'"a\"b"'),
        ("a\\nb", r'"a\\nb"'),
        ("", '""'),
        ("\x9b2J", r'"\u009b2J"'),
        ("\x7f", r'"\u007f"'),
        ("a\u2028b\u202ec", r'"a\u2028b\u202ec"'),
        ("a\ud83db", r'"a\ud83db"'),
        ("\U000e0001", r'"\udb40\udc01"'),
        ("m" * 201, "m" * 199 + "…"),
        (["server.port"], "['server.port']"),
        (0.5, "0.5"),
    ],
)
def test_break_it_18_a_field_on_a_terminal_ends_where_it_seems_to_end(value: object, shown: str) -> None:
    line = TextFormatter().format(record(model=value, status=200))
    assert line.partition(" ")[2] == f"INFO access: chat model={shown} status=200"


@given(st.text(), st.text(), st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Cs"])))
def test_break_it_18_nothing_steers_a_terminal_or_makes_a_line_of_its_own(message: str, value: str, odd: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        for text in (message, value, odd, value + odd):
            line = formatter.format(record(message + odd, path=text))
            assert not any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs") for char in line)
            assert len(line.splitlines()) == 1


def test_break_it_18_the_text_of_an_error_cannot_begin_a_line() -> None:
    head, *rest = TextFormatter().format(failed(FORGED + "\r\u2028x")).splitlines()
    assert head.endswith("server: failed")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert rest[-2:] == [r"    ValueError: \u001b[2J", r"    12:00:00 ERROR server: forged\r\u2028x"]
    assert FORGED in json.loads(JsonFormatter().format(failed(FORGED)))["exception"]


def test_break_it_23_no_field_and_no_message_is_long() -> None:
    name = "m" * 5_000_000
    line = json.loads(JsonFormatter().format(record(name, model=name, caller="x")))
    assert line["model"] == "m" * 199 + "…"
    assert len(line["message"]) == 4_000
    assert len(TextFormatter().format(record(name, model=name))) < 5_000
    for formatter in (TextFormatter(), JsonFormatter()):
        assert len(formatter.format(failed(name))) < 20_000

"""How a line of the log looks: text on a terminal, JSON otherwise.

A field may hold what a caller or upstream says. Nothing of it can steer a terminal or look like a line of its own,
and none is longer than `LONGEST_FIELD`: here is the one place that sees to it. Pure module.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

LONGEST_FIELD = 200
"""Characters of a field."""
_LONGEST_MESSAGE = 4_000
_LONGEST_TRACE = 16_000

_encode = msgspec.json.Encoder(enc_hook=str).encode
_CUT_BEFORE = frozenset({"message", "exception"})
_UNQUOTED = re.compile(r"[^\s\"\\]+")


class TextFormatter(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        """`12:00:00 INFO access: chat model=… cost_usd=…`"""
        fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
        shown = " ".join(f"{name}={_shown(value)}" for name, value in fields.items() if value is not None)
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        message = escaped(cut(record.getMessage(), _LONGEST_MESSAGE))
        line = f"{time} {record.levelname} {record.name}: {message} {shown}".rstrip()
        if not record.exc_info:
            return line
        trace = _cut_trace(self.formatException(record.exc_info)).split("\n")
        return "\n    ".join([line, *map(escaped, trace)])  # set in: no line of an error looks like one of the log


class JsonFormatter(logging.Formatter):
    """For programs: one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """`{"time": …, "level": …, "logger": …, "message": …, …fields}`"""
        fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
        trace = _cut_trace(self.formatException(record.exc_info)) if record.exc_info else None
        return self.line_of(record.created, record.levelname, record.name, record.getMessage(), fields, trace)

    def line_of(
        self,
        created_s: float,
        level: str,
        logger: str,
        message: str,
        fields: Mapping[str, Any],
        trace: str | None = None,
    ) -> str:
        """The same of what no record was made for."""
        line: dict[str, Any] = {
            "time": _iso_time(created_s),
            "level": level.lower(),
            "logger": logger,
            "message": cut(message, _LONGEST_MESSAGE),
            **fields,
        }
        if trace is not None:
            line["exception"] = trace
        try:
            text = _encode(line).decode()
        except UnicodeEncodeError:  # half of a surrogate pair
            text = json.dumps(line, default=str)
        if "\\" in text or max(map(len, text.split('"'))) > LONGEST_FIELD:  # else no text in it can be so long
            text = _encode_cut(line)
        return text if text.isascii() and "\x7f" not in text else escaped(text)  # the encoder has escaped the others


def _encode_cut(line: dict[str, Any]) -> str:
    """With texts cut that are too long; messages and traces have limits of their own."""
    for name, value in line.items():
        if type(value) is str and len(value) > LONGEST_FIELD and name not in _CUT_BEFORE:
            line[name] = cut(value)
    try:
        return _encode(line).decode()
    except UnicodeEncodeError:
        return json.dumps(line, default=str)


def cut(text: str, limit: int = LONGEST_FIELD) -> str:
    """The text, at most `limit` characters of it; a cut one ends with `…`."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def escaped(text: str) -> str:
    """The text in one line, with everything that is not printable written as JSON writes it."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(char: str) -> str:
    return char if char.isprintable() else json.dumps(char)[1:-1] if char != "\x7f" else r"\u007f"


def _shown(value: object) -> str:
    """A field's value for people: quoted where one could not see where it ends."""
    text = cut(value if isinstance(value, str) else str(value))
    if text.isprintable() and _UNQUOTED.fullmatch(text):
        return text
    return escaped(json.dumps(text, ensure_ascii=False))


def _cut_trace(trace: str) -> str:
    """A trace without its middle, if it is too long: who was called last, and the error, stand at its end."""
    half = _LONGEST_TRACE // 2
    return trace if len(trace) <= _LONGEST_TRACE else f"{trace[:half]}…\n…{trace[-half:]}"


def _iso_time(epoch_s: float) -> str:
    """`2026-01-31T12:00:00.123+00:00`"""
    second, milliseconds = divmod(int(epoch_s * 1000), 1000)
    return f"{_iso_second(second)}.{milliseconds:03d}+00:00"


@lru_cache(maxsize=2)
def _iso_second(epoch_s: int) -> str:
    """`2026-01-31T12:00:00`; a busy second has many lines."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")

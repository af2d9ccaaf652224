"""How log lines look: text on a terminal, JSON otherwise. They go to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode


class TextFormatter(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        """`12:00:00 INFO access: chat model=… cost_usd=…`"""
        fields = getattr(record, "fields", None) or {}
        shown = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname} {record.name}: {record.getMessage()} {shown}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """For programs: one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """`{"time": …, "level": …, "logger": …, "message": …, …fields}`"""
        line = {
            "time": _iso_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(getattr(record, "fields", None) or {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return _encode(line).decode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return json.dumps(line, default=str)


def _iso_time(epoch_s: float) -> str:
    """`2026-01-31T12:00:00.123+00:00`"""
    second, milliseconds = divmod(int(epoch_s * 1000), 1000)
    return f"{_iso_second(second)}.{milliseconds:03d}+00:00"


@lru_cache(maxsize=2)
def _iso_second(epoch_s: int) -> str:
    """`2026-01-31T12:00:00`; a busy second has many lines."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _hide_bad_request(record: logging.LogRecord) -> bool:
    """A filter: aiohttp logs what is no HTTP with a trace that quotes it, which may hold a token or a message."""
    from aiohttp.http_exceptions import HttpProcessingError  # here, since openrouter-mcp must start without aiohttp
    from aiohttp.web import RequestPayloadError

    exc = record.exc_info[1] if record.exc_info else None
    if isinstance(exc, HttpProcessingError | RequestPayloadError):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = f"{record.getMessage()}: {type(exc).__name__}", ()
    return True


def log_fields(logger: logging.Logger, message: str, fields: Mapping[str, Any]) -> None:
    """A line of level INFO with fields.

    For lines that every request has: `logger.info` looks for the place in the source that calls it, which no
    formatter here shows.
    """
    if logger.isEnabledFor(logging.INFO):
        extra = {"fields": fields}
        logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, message, (), None, extra=extra))


def configure_logging(stream: TextIO = sys.stderr, level: int | str = logging.INFO) -> None:
    """Sends every log line of the process to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if stream.isatty() else JsonFormatter())
    # found out for every line otherwise, and shown by none
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.server").addFilter(_hide_bad_request)

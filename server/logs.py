"""How log lines look: text on a terminal, JSON otherwise. They go to stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

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
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
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

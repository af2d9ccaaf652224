"""The log of the process: lines go to standard error, as JSON or, on a terminal, as text, and never make it wait."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from io import TextIOBase
from typing import Any

from server.telemetry.log_lines import JsonFormatter, TextFormatter, escaped
from server.telemetry.log_writer import LogWriter

_STANDARD_ERROR = 2
_LONGEST_LINE = 32_000
_CLOSE_S = 1.0
"""How long the end of the process waits for lines that somebody still reads."""
_OWN = ("access", "client", "mcp_app", "server")
"""What the level of the log is for. Libraries quote what passes through them, prompts too, in lines below WARNING."""


_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}
"""As the journal takes them from the beginning of a line (sd-daemon(3))."""


class LogHandler(logging.Handler):
    """Hands lines to the writer, as text on a terminal, with their priority to the journal."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(TextFormatter() if os.isatty(_STANDARD_ERROR) else JsonFormatter())
        self._priorities = _PRIORITIES if _is_journal(os.environ) else {}
        self.writer = LogWriter(_STANDARD_ERROR, self._gap_line)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record."""
        if not self.writer.has_room:
            self.writer.drop()
            return
        try:
            line = self._line_of(record)
        except Exception:
            self.handleError(record)
        else:
            self.writer.write(line)

    def write_fields(self, logger: str, level: int, message: str, fields: Mapping[str, Any]) -> bool:
        """Writes a line for programs without a record; false where that cannot be done."""
        formatter = self.formatter
        if type(formatter) is not JsonFormatter or not self.writer.has_room:
            return False
        try:
            line = formatter.line_of(time.time(), logging.getLevelName(level), logger, message, fields)
            priority = self._priorities.get(level, "")
            self.writer.write(f"{priority}{line}\n".encode("utf-8", "backslashreplace"))
        except Exception:
            return False
        return True

    def say(self, text: str, level: int) -> None:
        """Writes lines for people, such as the one that tells where to call."""
        for line in text.splitlines():
            priority = self._priorities.get(level, "")
            self.writer.write(f"{priority}{escaped(line[:_LONGEST_LINE])}\n".encode())

    def _line_of(self, record: logging.LogRecord) -> bytes:
        priority = self._priorities.get(record.levelno, "")
        return f"{priority}{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _gap_line(self, count: int) -> bytes:
        message = "lines of the log were dropped: nobody read them in time, or they could not be written"
        record = logging.LogRecord(__name__, logging.WARNING, "", 0, message, (), None)
        record.fields = {"dropped": count}
        return self._line_of(record)


def _is_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error leads to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    found = os.fstat(_STANDARD_ERROR)
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class _StandardError(TextIOBase):
    """In place of `sys.stderr`: what libraries and the interpreter print there does not wait for a reader either."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, handler: LogHandler) -> None:
        self._handler = handler
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._handler.say(line or " ", logging.WARNING)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STANDARD_ERROR

    def isatty(self) -> bool:
        return os.isatty(_STANDARD_ERROR)


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


def log_fields(logger: logging.Logger, message: str, fields: Mapping[str, Any], level: int = logging.INFO) -> None:
    """A line with fields.

    For lines that every request has: `logger.info` looks for the place in the source that calls it, which no
    formatter here shows, and no record is made where our own handler is the only one that would get it.
    """
    if logger.isEnabledFor(level):
        handlers = logging.root.handlers
        is_ours_alone = len(handlers) == 1 and not logger.handlers and not logger.filters and logger.propagate
        if (
            is_ours_alone
            and type(handlers[0]) is LogHandler
            and handlers[0].write_fields(logger.name, level, message, fields)
        ):
            return
        extra = {"fields": fields}
        logger.handle(logger.makeRecord(logger.name, level, "", 0, message, (), None, extra=extra))


def configure_logging(level: int | str = logging.INFO) -> None:
    """Sends every log line of the process, and whatever else is printed to it, to standard error."""
    handler = LogHandler()
    # found out for every line otherwise, and shown by none
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger().handlers[:] = [handler]
    logging.captureWarnings(True)
    set_log_level(level)
    logging.getLogger("aiohttp.server").addFilter(_hide_bad_request)
    sys.stderr = _StandardError(handler)


def set_log_level(level: int | str) -> None:
    """The least important lines that are logged; of libraries none below WARNING is."""
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    logging.getLogger().setLevel(max(number, logging.WARNING))
    for name in _OWN:
        logging.getLogger(name).setLevel(number)


def close_logging() -> None:
    """Writes the lines that wait, as far as somebody reads them, at the end of the process."""
    if (handler := _handler()) and handler.writer.close(_CLOSE_S) and sys.__stderr__ is not None:
        sys.stderr = sys.__stderr__  # for what the interpreter still has to say


def dropped_lines() -> int:
    """How many lines of the log nobody will see."""
    return handler.writer.dropped if (handler := _handler()) else 0


def say(text: str, level: int = logging.INFO) -> None:
    """Says something to the person who started the process, in lines that are no lines of the log."""
    if handler := _handler():
        handler.say(text, level)
    else:
        priority = _PRIORITIES.get(level, "") if _is_journal(os.environ) else ""
        for line in text.splitlines():
            print(f"{priority}{escaped(line)}", file=sys.stderr)  # noqa: T201


def _handler() -> LogHandler | None:
    return next((found for found in logging.getLogger().handlers if isinstance(found, LogHandler)), None)

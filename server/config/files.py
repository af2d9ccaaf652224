"""Files that the settings are read from, whatever stands in their place: a folder, a pipe, a disk full of zeros."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Mapping
from pathlib import Path

_MAX_BYTES = 1024 * 1024
_NO_WRITER_S = 2.0
_SLOW_WRITER_S = 10.0


def path_of(text: str, environ: Mapping[str, str], cwd: Path) -> Path:
    """The path that a setting names: relative to the working directory, `~` for the user's home folder.

    Raises:
        ValueError: nobody says where home is, or it is somebody else's.
    """
    if not text.startswith("~"):
        return cwd / text
    home, (tilde, *rest) = home_of(environ), Path(text).parts
    if tilde != "~" or home is None:
        raise ValueError(f"{text} cannot be found: of ~ only ~/… is known, and only where HOME is set")
    return cwd / Path(home, *rest)


def home_of(environ: Mapping[str, str]) -> str | None:
    """The user's home folder; None where nobody says who the user is."""
    return environ.get("HOME") or environ.get("USERPROFILE") or None


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        OSError: also for a file that is not UTF-8, whose message says at which line, for one that is too large, and
            for a pipe that nobody writes to.
    """
    data = _read(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        column = exc.start - (data.rfind(b"\n", 0, exc.start) + 1) + 1
        raise OSError(f"not UTF-8 at line {line}, column {column}") from None


def reason_of(exc: OSError) -> str:
    """Why the file cannot be read, in the system's words."""
    return exc.strerror or str(exc)


def _read(path: Path) -> bytes:
    data = bytearray()
    # without O_NONBLOCK a pipe is not even opened until somebody writes to it
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as exc:  # a null character
        raise OSError(str(exc)) from None
    try:
        waits = not stat.S_ISREG(os.fstat(descriptor).st_mode) and hasattr(select, "poll")
        while piece := (_read_when_written if waits else os.read)(descriptor, 65_536):
            data += piece
            if len(data) > _MAX_BYTES:
                raise OSError(f"it has more than {_MAX_BYTES} bytes")
    finally:
        os.close(descriptor)
    return bytes(data)


def _read_when_written(descriptor: int, size: int) -> bytes:
    """Reads a pipe or a device that may have nothing to say yet; nothing at its end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    timeout_s = 0.0
    while True:
        events = dict(poll.poll(timeout_s * 1000)).get(descriptor, 0)
        if events & select.POLLIN:
            return os.read(descriptor, size)
        if events:  # whoever wrote has closed it
            return b""
        if timeout_s:
            raise OSError(f"nothing was written to this pipe for {timeout_s:g} s")
        try:
            if piece := os.read(descriptor, size):
                return piece
            timeout_s = _NO_WRITER_S
        except BlockingIOError:
            timeout_s = _SLOW_WRITER_S

"""Standard input, output and error as they may be found: missing, full, or with nobody at the other end."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

EX_IOERR = 74
"""Exit code when what a command prints could not be written (sysexits.h)."""


def open_missing_descriptors() -> None:
    """Opens the null device in place of what is missing of descriptors 0, 1 and 2.

    The next file or socket would get the free number, and what is printed would go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


class _Output(io.RawIOBase):
    """Standard output for commands that print; remembers that it could not be written instead of raising."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            size = view.nbytes
        if self.error is None:
            try:
                return os.write(1, data)
            except OSError as exc:
                self.error = exc
        return size

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def isatty(self) -> bool:
        return os.isatty(1)


def print_tolerantly() -> _Output:
    """Lets `print` go on when nobody reads, and print what the terminal's coding lacks as an escape."""
    output = _Output()
    found: TextIO = sys.stdout
    if found is sys.__stdout__:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(output),
            encoding=found.encoding,
            errors="backslashreplace",
            line_buffering=output.isatty(),
        )
    return output


def exit_code_of(code: int, output: _Output) -> int:
    """The command's exit code; another one when it succeeded and its output could not be written.

    A reader that has gone, such as `head`, has seen what it wanted.
    """
    sys.stdout.flush()
    if output.error is None or isinstance(output.error, BrokenPipeError):
        return code
    print(f"Standard output: {output.error.strerror}.", file=sys.stderr)  # noqa: T201
    return code or EX_IOERR


def forget_output() -> None:
    """Drops what cannot be written to standard output any more: at its end the interpreter would fail over it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)

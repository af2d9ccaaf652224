"""Writes: the answer to standard output, everything else to standard error."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TextIO

from openrouter_sse_client.terminal.output.marks import Marker, in_one_line

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Screen:
    """Where both go to one terminal, they are kept apart by lines and by brightness.

    Attributes:
        is_terminal: whether the answer is read by a person, and not by a program.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO, environ: Mapping[str, str]) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.is_terminal = self._stdout.isatty()
        self._is_bright = not (
            self._stderr.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        )
        self._is_one = self.is_terminal and self._stderr.isatty()
        self._answer, self._thinking = Marker(), Marker()
        self._in_line = False  # of the answer
        self._in_thinking = False

    @property
    def width(self) -> int:
        """Columns; where nobody looks, as many as are wanted."""
        return shutil.get_terminal_size().columns if self.is_terminal else 1_000_000

    def answer(self, text: str) -> None:
        """A piece of the answer."""
        self.end_thinking()
        self._out(self._answer.feed(text))

    def end_answer(self) -> None:
        """The line end that an answer may lack."""
        self.end_thinking()
        self._out(self._answer.flush())
        if self._in_line:
            self._out("\n")

    def thinking(self, text: str) -> None:
        """A piece of thinking."""
        if not self._in_thinking:
            self._begin_line()
            self._in_thinking = True
            if self._is_bright:
                self._err("[thinking] ")
        self._err(self._dim(self._thinking.feed(text)))

    def end_thinking(self) -> None:
        """Nothing more of it comes, for now."""
        if self._in_thinking:
            self._in_thinking = False
            self._err(self._thinking.flush() + "\n\n")

    def note(self, text: str) -> None:
        """One line beside the answer."""
        self.end_thinking()
        self._begin_line()
        self._err(self._dim(in_one_line(text)) + "\n")

    def error(self, text: str, *ways_out: str) -> None:
        """What went wrong, and what to do."""
        self.end_thinking()
        self._begin_line()
        self._err(f"error: {in_one_line(text)}\n")
        for way in ways_out:
            self._err(f"  {in_one_line(way)}\n")

    def lines(self, text: str) -> None:
        """The answer of a command: made of lines that are safe already."""
        self._out(text + "\n")

    def beside(self, text: str) -> None:
        """Lines beside the answer that are safe already."""
        self._begin_line()
        self._err(text + "\n")

    def _begin_line(self) -> None:
        if self._is_one and self._in_line:
            self._err("\n")
            self._in_line = False

    def _dim(self, text: str) -> str:
        return text if self._is_bright or not text else f"{_DIM}{text}{_PLAIN}"

    def _out(self, text: str) -> None:
        if text:
            self._stdout.write(text)
            self._stdout.flush()
            self._in_line = not text.endswith("\n")

    def _err(self, text: str) -> None:
        self._stderr.write(text)
        self._stderr.flush()

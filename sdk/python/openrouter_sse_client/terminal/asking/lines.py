"""What a person types: one line, a pasted text, or several lines between triple quotes."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import readline
except ImportError:  # Windows, and Pythons built without it
    readline = None  # type: ignore[assignment]

PROMPT, MORE = ">>> ", "... "
QUOTES = '"""'
_MOST_LINES = 1000


class Lines:
    """Reads messages, with editing and history where the terminal has them."""

    def __init__(self, history: Path) -> None:
        self._history = history
        if readline is None:
            return
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            history.touch(0o600)
            readline.read_history_file(history)
        readline.set_history_length(_MOST_LINES)
        readline.set_auto_history(False)
        readline.parse_and_bind("set enable-bracketed-paste on")  # what is pasted is one message, whatever it holds

    def read(self) -> str:
        """The next message.

        Raises:
            EOFError: there is none any more.
            KeyboardInterrupt: it was given up.
        """
        text = self._line(PROMPT)
        if text.startswith(QUOTES):
            text = self._read_quoted(text.removeprefix(QUOTES))
        self._remember(text)
        return text

    def _read_quoted(self, text: str) -> str:
        while QUOTES not in text:
            text += "\n" + self._line(MORE)
        return text.partition(QUOTES)[0].strip("\n")

    def _line(self, prompt: str) -> str:
        if sys.stdout.isatty():
            return input(prompt)
        sys.stderr.write(prompt)  # the answer alone goes to where standard output leads
        sys.stderr.flush()
        return input()

    def _remember(self, text: str) -> None:
        if readline is None or not text.strip():
            return
        readline.add_history(text)
        with contextlib.suppress(OSError):
            readline.append_history_file(1, self._history)


def edited(text: str) -> str:
    """What a person makes of a text in `$VISUAL` or `$EDITOR`.

    Raises:
        OSError: there is no such program, or it failed.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "message.md"
        file.write_text(text)
        command = [*shlex.split(editor), str(file)]  # such as "code --wait"
        done = subprocess.run(command, check=False)  # noqa: S603 - the person's own choice
        if done.returncode:
            raise OSError(f"{editor} ended with {done.returncode}")
        return file.read_text().rstrip("\n")

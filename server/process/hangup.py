"""SIGHUP: asks for the settings to be read again, from the first moment of the process on.

Without a handler the signal ends a process, so one is installed before anything slow is imported; what comes while
the server starts is kept until somebody listens. A closed terminal sends the same signal, and then it means the end,
unless the process was started to outlive its terminal (nohup).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

NUMBER = getattr(signal, "SIGHUP", None)
"""None on Windows, where nothing here does anything."""


class Hangup:
    """The signal, noted until somebody listens."""

    def __init__(self) -> None:
        self._is_noted = False
        self._outlives_terminal = NUMBER is not None and signal.getsignal(NUMBER) is signal.SIG_IGN
        self._terminal = _controlling_terminal()
        if NUMBER is not None:
            with suppress(ValueError):  # not in the main thread, where no signal comes
                signal.signal(NUMBER, self._note)

    def _note(self, *_: object) -> None:
        self._is_noted = True

    def listen(self, reload: Callable[[], None], end: Callable[[], None]) -> None:
        """Has the running loop call `reload` for every signal, one that came before included.

        `end` is called instead when it was the terminal that went away.
        """
        import asyncio

        def act() -> None:
            (end if self._has_lost_terminal() else reload)()

        if NUMBER is not None:
            with suppress(NotImplementedError):  # Windows
                asyncio.get_running_loop().add_signal_handler(NUMBER, act)
        if self._is_noted:
            act()

    def _has_lost_terminal(self) -> bool:
        if self._terminal is None or self._outlives_terminal:
            return False
        try:
            os.tcgetpgrp(self._terminal)
        except OSError:
            return True
        return False


def _controlling_terminal() -> int | None:
    """A standard stream that is the terminal this process belongs to."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            number = stream.fileno()
            if os.isatty(number):
                os.tcgetpgrp(number)
                return number
    return None

"""SIGTERM and SIGINT before the loop listens to them, and when it does no more.

The kernel spares the first process of a container (PID 1) every signal for which it has no handler, so one is
installed before anything slow is imported.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


def end_at_signals() -> None:
    """From now on the process ends at once, as any other does; what the shell said to ignore stays ignored."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            _set(number, _end)


def ignore_signals() -> None:
    """From now on the process ends by itself, in a moment: a further signal must not turn that into a failure."""
    for number in (*_NUMBERS, getattr(signal, "SIGHUP", None)):
        if number is not None:
            _set(number, signal.SIG_IGN)


def _set(number: int, handler: object) -> None:
    with suppress(ValueError):  # not in the main thread, where no signal comes
        signal.signal(number, handler)  # type: ignore[arg-type]


def _end(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # what a shell shows for it; only the first process of a container comes so far

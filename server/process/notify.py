"""Tells systemd how the service does: the protocol of sd_notify(3), a datagram of `NAME=value` lines.

Nothing here ever fails or waits: with nobody to listen, or with a queue that is full, the service goes on.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Whoever started this process, when it wants to be told (`NOTIFY_SOCKET`).

    Attributes:
        watchdog_s: longest silence that is taken for life (`WatchdogSec=`); None when nobody watches.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # "@": the abstract namespace
        self.watchdog_s = _watchdog_s(environ)

    def send(self, **fields: str | int) -> None:
        """One message, such as `send(READY=1, STATUS="2 answers running")`."""
        if not self._address:
            return
        message = "\n".join(f"{name}={' '.join(str(value).splitlines())}" for name, value in fields.items())
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message.encode(), self._address)

    def send_reloading(self) -> None:
        """The settings are read again; `send(READY=1)` has to follow."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """As sd_watchdog_enabled(3): the variables may be meant for another process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) > 0 else None

"""Ports for programs that must be told one before they start."""

from __future__ import annotations

import secrets
import socket

_PLACES = range(15_000, 32_000)
"""The system gives none of these to a connection, or to who asks for any port: between the look and the start it can
only be taken by somebody who was told it."""


def free_port() -> int:
    """One of loopback on which nobody listens now."""
    while True:
        port = secrets.choice(_PLACES)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

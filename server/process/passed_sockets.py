"""Sockets that systemd opened for this process: the protocol of sd_listen_fds(3).

They outlive the process, so that whoever connects during a restart waits and is not refused.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_FIRST_FD = 3
_PATIENCE_S = 2.0
"""For all who wait at a process that cannot serve."""
_WAY_OUT = (
    "In the .socket unit use ListenStream= with a port, an address with port, or a path, and leave Accept= out."
)


class UnusableSocket(Exception):
    """A socket that cannot be served on was passed; the text says which, why, and what to change."""


def take_passed_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """The listening sockets meant for this process, ready to be served on; none when nobody passed any.

    Raises:
        UnusableSocket: one of them is no listening TCP or UNIX stream socket.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):  # left over from whoever started us
        return []
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        raise UnusableSocket(f"LISTEN_FDS must be the number of sockets passed, not {count[:80]!r}.")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return [
        _take(_FIRST_FD + index, names[index] if index < len(names) else "")  # as a unit names it
        for index in range(int(count))
    ]


def turn_callers_away(environ: Mapping[str, str], error: str) -> None:
    """Answers whoever waits at the passed sockets with a 503, for a process that cannot serve.

    systemd starts the service again for as long as somebody waits there.
    """
    try:
        sockets = take_passed_sockets(environ)
    except UnusableSocket:
        return
    body = json.dumps({"error": error, "type": "overloaded", "status": 503, "retryable": True}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 30"
    )
    reply = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    deadline_s = time.monotonic() + _PATIENCE_S
    for sock in sockets:
        sock.setblocking(False)
        with suppress(OSError):
            while time.monotonic() < deadline_s:
                _turn_away(sock.accept()[0], reply)


def _turn_away(caller: socket.socket, reply: bytes) -> None:
    with caller, suppress(OSError):
        caller.settimeout(_PATIENCE_S / 4)
        caller.recv(65_536)  # what is not read would reset the connection before the answer has been
        caller.sendall(reply)
        caller.shutdown(socket.SHUT_WR)


def _take(fd: int, name: str) -> socket.socket:
    called = f"The socket {name or 'without a name'} (file descriptor {fd})"
    try:
        sock = socket.socket(fileno=fd)
    except OSError as exc:
        raise UnusableSocket(f"{called} that systemd passed cannot be used: {exc.strerror}. {_WAY_OUT}") from exc
    fault = _fault(sock)
    if fault is not None:
        sock.close()
        raise UnusableSocket(f"{called} that systemd passed {fault}. {_WAY_OUT}")
    sock.set_inheritable(False)
    return sock


def _fault(sock: socket.socket) -> str | None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return f"is of the family {_name(sock.family)}, which HTTP is not served on"
    if sock.type != socket.SOCK_STREAM:
        return f"is of the type {_name(sock.type)}, which HTTP is not served on"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: it is one connection, or was only bound"
    return None


def _name(constant: int) -> str:
    """`SOCK_DGRAM` for what Python knows, the number for what it does not."""
    return getattr(constant, "name", str(constant))

"""Sockets that systemd opened for this process: the protocol of sd_listen_fds(3).

They outlive the process, so that whoever connects during a restart waits and is not refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_FIRST_FD = 3
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

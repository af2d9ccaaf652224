"""Where the server listens: sockets of the address in the settings, and what to say when there can be none."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from server.config import Config


class CannotListen(Exception):
    """There is no socket to serve on; the text says which setting is to blame, and what would do."""


async def bind_sockets(config: Config) -> list[socket.socket]:
    """A bound socket for every address of `server.host`.

    Raises:
        CannotListen: one of them cannot be had.
    """
    host, port = config.server.host, config.server.port
    sockets: list[socket.socket] = []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            if os.name == "posix" and sys.platform != "cygwin":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last process may just have ended
            if config.server.reuse_port:
                _share_port(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # or it would take IPv4's port too
            sock.bind(address)
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise CannotListen(explain(exc, config)) from exc
    return sockets


def _share_port(sock: socket.socket) -> None:
    """
    Raises:
        CannotListen: this system has no such thing.
    """
    option = getattr(socket, "SO_REUSEPORT", None)
    if option is None:
        sock.close()
        raise CannotListen("Cannot listen: this system cannot share a port (server.reuse_port); take several ports.")
    sock.setsockopt(socket.SOL_SOCKET, option, 1)


def bind_status_socket(address: str) -> socket.socket:
    """A bound socket for `server.status_address`; what a process that was killed has left at a path is replaced.

    Raises:
        CannotListen: it cannot be had.
    """
    host, _, port = address.rpartition(":")
    at: str | tuple[str, int] = address if address.startswith("/") else (host.strip("[]"), int(port))
    sock: socket.socket | None = None
    try:
        if isinstance(at, str):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            _remove_left_over(at)
        else:
            family, *_, found = socket.getaddrinfo(*at, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            at = (str(found[0]), at[1])
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(at)
    except OSError as exc:
        if sock is not None:
            sock.close()
        why = "it is in use, and each process needs its own" if exc.errno == errno.EADDRINUSE else exc.strerror
        raise CannotListen(f"Cannot listen: server.status_address = {address}: {why}.") from exc
    return sock


def _remove_left_over(path: str) -> None:
    """Removes a UNIX socket that nobody listens at; whatever else is there stays, and is in the way."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:  # it is gone, or may not be reached
            return


def explain(exc: OSError, config: Config) -> str:
    """Why one cannot listen there, and what to change."""
    host, port = config.server.host, config.server.port
    source = config.sources.get("server.host", "")
    named = f"server.host = {host}" + (f" ({source})" if source else "")
    if isinstance(exc, socket.gaierror):
        return f"Cannot listen: {named}: {exc.strerror}. {_way_out(source)}"
    if exc.errno == errno.EADDRNOTAVAIL:
        return f"Cannot listen: {named} is no address of this machine. {_way_out(source)}"
    if exc.errno == errno.EAFNOSUPPORT:
        return f"Cannot listen: {named}: this machine has no such kind of address. {_way_out(source)}"
    if exc.errno == errno.EADDRINUSE:
        return f"Cannot listen: port {port} of {host} is in use. Stop what uses it, or choose another with --port."
    if exc.errno in (errno.EACCES, errno.EPERM):
        low = ", as those below 1024 are for programs of others than root" if 0 < port < 1024 else ""
        return f"Cannot listen: port {port} of {host} is not allowed{low}. Choose another with --port, such as 8000."
    return f"Cannot listen on port {port} of {host}: {exc.strerror or exc}. Choose others with --host and --port."


def _way_out(source: str) -> str:
    foreign = (
        " Shells and conda set HOST to names of their own: unset it." if source == "environment variable HOST" else ""
    )
    return f"Give --host 0.0.0.0 for all interfaces, or 127.0.0.1 for this machine alone.{foreign}"


def page_url(address: tuple[str, int] | str | bytes) -> str:
    """What a browser on this machine is to open."""
    return url_of(address).partition(" ")[0]


def url_of(address: tuple[str, int] | str | bytes) -> str:
    """Where one can call; of all interfaces the one that every program on this machine has."""
    if not isinstance(address, tuple):
        return f"unix:{os.fsdecode(address)}"
    host, port = address[:2]
    with suppress(ValueError):
        if ip_address(host.partition("%")[0]).is_unspecified:
            return f"http://localhost:{port}/ (on all {'IPv6 ' if ':' in host else ''}interfaces)"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

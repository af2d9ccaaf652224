"""Who is behind a proxy: what forwarded headers say, believed only from proxies in `server.trusted_proxies`.

Every proxy appends whom it heard the request from, so the list is read from its right end: what trusted proxies wrote
is skipped, and the first address that is none of theirs is the caller. What stands left of it the caller may have
written himself. (MDN, X-Forwarded-For, "Selecting an IP address"; RFC 7239, section 8.1.)
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from aiohttp import hdrs, web

Address = IPv4Address | IPv6Address

_FOR = "X-Forwarded-For"
_PROTO = "X-Forwarded-Proto"
_MARKS = (_FOR, hdrs.FORWARDED, "X-Real-IP", hdrs.VIA)
"""A request with one of these came through a proxy."""


class Source(NamedTuple):
    """Where a request comes from.

    Attributes:
        address: the caller's, or that of the last machine before this one that can be vouched for.
        is_this_machine: whether the caller certainly runs on this machine.
        proxy_mark: the header that tells of a proxy; None when none does.
        scheme: `http` or `https` where a trusted proxy said so.
    """

    address: str
    is_this_machine: bool
    proxy_mark: str | None = None
    scheme: str | None = None


def source_of(request: web.Request, trusted_proxies: tuple[str, ...]) -> Source:
    """Where a request comes from; a peer that is no trusted proxy is the caller, whatever its headers say."""
    headers, peer = request.headers, request.remote
    mark = next((name for name in _MARKS if name in headers), None)
    if not _is_trusted(peer, trusted_proxies):
        is_local = is_loopback(peer) or _is_by_unix_socket(request)
        return Source(peer or "unix", mark is None and is_local, mark)
    listed = headers.getall(_FOR, [])
    hops = [_caller_of(",".join(listed).split(","), trusted_proxies)] if listed else []
    if hdrs.FORWARDED in headers:
        hops.append(_caller_of((element.get("for", "") for element in request.forwarded), trusted_proxies))
    # A proxy writes one of the two headers and may pass the other one on as the caller wrote it: both must agree.
    is_local = bool(hops) and all(hop is not None and hop.is_loopback for hop in hops)
    first = hops[0] if hops else None
    proto = headers.getall(_PROTO, [""])[-1].rpartition(",")[2].strip().lower()
    scheme = proto if proto in ("http", "https") else None
    return Source(str(first or peer), is_local, mark or "server.trusted_proxies", scheme)


@lru_cache(maxsize=1024)
def is_loopback(host: str | None) -> bool:
    """Whether an address is this machine's own; None (a UNIX socket) is."""
    if host is None:
        return True
    address = _parse(host)
    return address is not None and address.is_loopback


def _is_by_unix_socket(request: web.Request) -> bool:
    """Whether the caller came by a UNIX socket, which only this machine can reach; its address says nothing."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    return sock is not None and sock.family == getattr(socket, "AF_UNIX", None)


def is_trusted_proxy(request: web.Request, trusted_proxies: tuple[str, ...]) -> bool:
    """Whether a request comes from a proxy whose headers are believed."""
    return _is_trusted(request.remote, trusted_proxies)


def _is_trusted(peer: str | None, trusted_proxies: tuple[str, ...]) -> bool:
    if not trusted_proxies or peer is None:
        return False
    address = _parse(peer)
    return address is not None and _is_in(address, trusted_proxies)


def _caller_of(hops: Iterable[str], trusted_proxies: tuple[str, ...]) -> Address | None:
    """The right-most address that is no trusted proxy's, else the left-most; None when it cannot be read."""
    address: Address | None = None
    for hop in reversed(list(hops)):
        address = _parse_hop(hop)
        if address is None or not _is_in(address, trusted_proxies):
            break
    return address


def _parse_hop(hop: str) -> Address | None:
    """An address, maybe with a port; an IPv6 address with one is in brackets."""
    hop = hop.strip()
    if hop.startswith("["):
        host, bracket, _ = hop[1:].partition("]")
        return _parse(host) if bracket else None
    return _parse(hop.partition(":")[0] if hop.count(":") == 1 else hop)


@lru_cache(maxsize=1024)
def _parse(host: str) -> Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: tuple[str, ...]) -> bool:
    return any(address in network for network in _networks(networks))


@lru_cache(maxsize=4)
def _networks(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, networks))

"""Addresses of a shared store: what a `redis.url` says, and what may be shown of it. Connects to nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_TLS: Final = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
_SENTINEL: Final = "+sentinel"
_FORMS: Final = "must be redis://host:6379/0, rediss://… with TLS, unix:///path/of.sock, or redis+sentinel://host:26379,host:26379/service"
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
HIDDEN: Final = "********"


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the engine is.

    Attributes:
        hosts: name and port of the engine, or of its sentinels; empty for a UNIX socket.
        path: of the UNIX socket; None: TCP.
        service: by which name its sentinels know it; None: there are none.
        database: number of the database.
        username, password: None where there is none.
        uses_tls: for the engine and its sentinels.
    """

    hosts: tuple[tuple[str, int], ...]
    path: str | None
    service: str | None
    database: int
    username: str | None
    password: str | None
    uses_tls: bool


def parse_url(url: str) -> Engine:
    """What an address says.

    Raises:
        ValueError: it is none; the text says what would be right and repeats nothing of it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(_FORMS) from None
    if parts.query or parts.fragment:
        raise ValueError("must have no query: everything else is a setting of its own")
    if parts.scheme == "unix":
        return _unix(parts)
    scheme = parts.scheme.removesuffix(_SENTINEL)
    has_sentinels = scheme != parts.scheme
    if scheme not in _TLS or not parts.netloc:
        raise ValueError(_FORMS)
    login, _, hosts = parts.netloc.rpartition("@")
    username, password = _login(login)
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    service = path.pop(0) if has_sentinels and path else None
    if has_sentinels and service is None:
        raise ValueError(f"must name the service that the sentinels watch; {_FORMS}")
    return Engine(
        hosts=_hosts(hosts, _SENTINEL_PORT if has_sentinels else _PORT, several=has_sentinels),
        path=None,
        service=service,
        database=_database(path),
        username=username,
        password=password,
        uses_tls=_TLS[scheme],
    )


def _unix(parts: SplitResult) -> Engine:
    login, _, host = parts.netloc.rpartition("@")
    if host or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError(_FORMS)
    username, password = _login(login)
    return Engine((), unquote(parts.path), None, 0, username, password, uses_tls=False)


def _login(login: str) -> tuple[str | None, str | None]:
    username, _, password = login.partition(":")
    return unquote(username) or None, unquote(password) or None


def _hosts(text: str, port: int, *, several: bool) -> tuple[tuple[str, int], ...]:
    found = [_HOST.fullmatch(part.strip()) for part in text.split(",")]
    if any(match is None or int(match[2] or port) > 65535 for match in found) or (len(found) > 1 and not several):
        raise ValueError(_FORMS)
    return tuple((match[1].strip("[]"), int(match[2] or port)) for match in found if match is not None)


def _database(path: list[str]) -> int:
    if not path:
        return 0
    if len(path) > 1 or not re.fullmatch(r"[0-9]{1,5}", path[0]):
        raise ValueError("must end with the number of a database, such as /0, or with nothing")
    return int(path[0])


def holds_password(url: str) -> bool:
    """Whether an address holds what must not be shown; True for one that cannot be read."""
    try:
        return parse_url(url).password is not None
    except ValueError:
        return "@" in url


def shown_url(url: str) -> str:
    """An address without its password."""
    head, at, tail = url.rpartition("@")
    scheme, _, login = head.partition("://")
    username, colon, _ = login.partition(":")
    return f"{scheme}://{username}{colon and ':' + HIDDEN}@{tail}" if at else url

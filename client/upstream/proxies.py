"""Which proxy stands between this process and upstream, as the environment says. Pure module.

The variables are those that curl, Python and the SDKs know: `https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, and
the same in capitals; lower case counts first, and one that is set to nothing means none. Loopback is never reached
through a proxy.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCHEMES = frozenset({"http", "https"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UnusableProxy(Exception):
    """A variable names a proxy that cannot be used; the text says why, without the value.

    Attributes:
        variable: its name.
    """

    def __init__(self, variable: str, why: str) -> None:
        super().__init__(why)
        self.variable = variable


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: without user and password: fit to be shown.
        variable: which named it.
        user, password: None without any.
    """

    url: str
    variable: str
    user: str | None = None
    password: str | None = None

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization`."""
        if self.user is None:
            return None
        return "Basic " + b64encode(f"{self.user}:{self.password or ''}".encode()).decode()

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}, {self.variable!r})"


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for requests to `url`; None for none.

    Raises:
        UnusableProxy: the one that is named cannot be used.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if _is_loopback(host) or _is_excepted(host, port, environ):
        return None
    found = _variable(parts.scheme, environ)
    return None if found is None else _parsed(*found)


def _variable(scheme: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and value of the variable that counts."""
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue  # a web server's CGI makes it of a header that anybody can send
        value = environ.get(name)
        if value is not None:
            return (name, value.strip()) if value.strip() else None
    return None


def _parsed(variable: str, value: str) -> Proxy:
    if "://" not in value:
        value = f"http://{value}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise UnusableProxy(variable, "must be a URL such as http://proxy.example:3128") from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise UnusableProxy(variable, "must be an http:// or https:// proxy; no_proxy names what is reached without")
    host = parts.hostname or ""
    if not host or re.search(r"[\s\x00-\x1f]", value):
        raise UnusableProxy(variable, "must be a URL such as http://proxy.example:3128")
    shown = f"[{host}]" if ":" in host else host
    return Proxy(
        f"{scheme}://{shown}:{port or _DEFAULT_PORTS[scheme]}",
        variable,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether `no_proxy` names the host: `*`, a name with all below it, an address, a network, each maybe with a
    port."""
    listed = environ.get("no_proxy")
    if listed is None:
        listed = environ.get("NO_PROXY", "")
    return any(_names(entry, host, port) for entry in re.split(r"[,\s]+", listed) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_in_network(host, entry)
    name, entry_port = _split_port(entry.lower())
    if entry_port is not None and entry_port != port:
        return False
    address = _address(host)
    if address is not None:  # of which the end is no domain
        return _address(name) == address
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?", entry, re.ASCII)
    if found is None:  # an IPv6 address without brackets
        return entry, None
    return found[1] if found[1] is not None else found[2], None if found[3] is None else int(found[3])


def _is_in_network(host: str, network: str) -> bool:
    address = _address(host)
    try:
        return address is not None and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None

"""Who may call.

No token configured: callers on this machine only. Tokens configured: every caller needs one. Browsers are held to the
origins in the settings whether they have a token or not, and without tokens the `Host` must name this machine, or
a page anywhere could reach the server through a name of its own (DNS rebinding).
"""

from __future__ import annotations

import hmac
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from server.callers import ANYONE, LOCAL, Caller
from server.errors import Handler, refuse
from server.keys import CALLER, SETTINGS
from server.tokens import hash_token

OPEN_PATHS = frozenset({"/health", "/ready", "/docs"})
"""`/docs` is the bare page: it asks for a token itself before it can show the document."""

_PREFLIGHT_MAX_AGE_S = "600"
_EXPOSED = "Location, Retry-After, X-Generation-Id, X-Stream-Id"


@web.middleware
async def access_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses whoever may not call; names the caller for everything behind it."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None:
        _check_origin(request, origin)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return _preflight(request)
    request[CALLER] = ANYONE if request.path in OPEN_PATHS else _caller(request)
    return await handler(request)


async def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """An `on_response_prepare` signal: streams send their head before any middleware sees them again."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin in request.app[SETTINGS].current.server.cors_origins:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)


def _check_origin(request: web.Request, origin: str) -> None:
    own = origin.partition("://")[2]
    if origin in request.app[SETTINGS].current.server.cors_origins or (own and own == request.host):
        return
    raise refuse(
        "forbidden", 403, f"Pages of {origin[:200]} may not call this server; list it in server.cors_origins."
    )


def _preflight(request: web.Request) -> web.Response:
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, DELETE",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "authorization, content-type, last-event-id",
        hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_MAX_AGE_S,
    }
    return web.Response(status=204, headers=headers)


def _caller(request: web.Request) -> Caller:
    callers = request.app[SETTINGS].current.callers
    if not callers:
        _check_is_local(request)
        return LOCAL
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    caller = _owner_of(token.strip(), callers)
    if scheme.lower() != "bearer" or caller is None:
        refusal = refuse("unauthorized", 401, "Send a token of this server as Authorization: Bearer <token>.")
        refusal.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        raise refusal
    return caller


def _owner_of(token: str, callers: tuple[Caller, ...]) -> Caller | None:
    """Whose token it is, in a time that depends on neither the token nor its owner."""
    given = hash_token(token)
    owner: Caller | None = None
    for caller in callers:
        if hmac.compare_digest(given, caller.token_sha256 or ""):
            owner = caller
    return owner


def _check_is_local(request: web.Request) -> None:
    if not (is_loopback(request.remote) or _is_by_unix_socket(request)):
        refusal = refuse(
            "unauthorized",
            401,
            "Without tokens only callers on the server's own machine may call; set SERVER_TOKENS on the server and "
            "send one as Authorization: Bearer <token>.",
        )
        refusal.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        raise refusal
    name = _host_name(request.host)
    if name is None or (name != "localhost" and not is_loopback(name)):
        raise refuse(
            "forbidden",
            403,
            f"The Host {request.host[:200]} is not this machine's; call it as localhost or 127.0.0.1.",
        )


def _is_by_unix_socket(request: web.Request) -> bool:
    """Whether the caller came by a UNIX socket, which only this machine can reach; its address says nothing."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    return sock is not None and sock.family == getattr(socket, "AF_UNIX", None)


def _host_name(host: str) -> str | None:
    """The name in a `Host` header, without the port; None when there is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for `localhost:1.evil.example`, whose name would pass
        return parts.hostname
    except ValueError:  # a port that is no number, a bracket that is not closed
        return None


def is_loopback(host: str | None) -> bool:
    """Whether an address is this machine's own; None (a UNIX socket) is."""
    if host is None:
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

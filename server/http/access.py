"""Who may call.

No token configured: callers on this machine only, and none whose request came through a proxy, since that may come
from anywhere. Tokens configured: every caller needs one. Browsers are held to the origins in the settings whether
they have a token or not, and without tokens the `Host` must name this machine, or a page anywhere could reach the
server through a name of its own (DNS rebinding).
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Awaitable
from functools import lru_cache

from aiohttp import HttpVersion11, hdrs, web

from server.access.attempts import ATTEMPTS
from server.access.callers import ANYONE, LOCAL, Caller
from server.access.forwarded import is_loopback, source_of
from server.access.tokens import hash_token
from server.errors import ApiError, Handler, refuse
from server.http.malformed import check_head, check_host, host_name
from server.keys import CALLER, SETTINGS

OPEN_PATHS = frozenset({"/health", "/ready", "/docs"})
"""`/docs` is the bare page: it asks for a token itself before it can show the document."""
_PAGE_PATHS = frozenset({"/", "/client.js", "/favicon.ico"})
"""The web page is open in the same way, where there is one, with all that is below `/assets/`."""

_WAY_OUT = (
    "set SERVER_TOKENS on the server, or [[callers]] in its config.toml, "
    "and send a token as Authorization: Bearer <token>."
)
_API_KEY = "x-api-key"
_UNSPECIFIED = ("0.0.0.0", "::")
_OAUTH_PATHS = frozenset({"/register", "/authorize", "/token"})
_ALLOWED = (
    "authorization, content-encoding, content-type, idempotency-key, if-none-match, last-event-id, traceparent, "
    "tracestate, x-stream-grace"
)
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,2000}")
_PREFLIGHT_MAX_AGE_S = "600"
_EXPOSED = (
    "Allow, ETag, Location, Request-Id, Retry-After, X-Generation-Id, X-Request-Id, X-Stream-Id, "
    "X-Vercel-AI-UI-Message-Stream"
)


@web.middleware
def access_middleware(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Refuses whoever may not call; names the caller for everything behind it.

    It is no coroutine, which would be resumed whenever the handler is.
    """
    check_head(request)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None:
        _check_origin(request, origin)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return _at_once(_preflight(request))
    request[CALLER] = ANYONE if _is_open(request) or _is_known_absence(request) else _caller(request)
    check_host(request)
    if request.path == "*":  # asks of the server as a whole, and only whether it is there
        return _at_once(web.Response(status=204, headers={hdrs.ALLOW: "GET, HEAD, POST, DELETE, OPTIONS"}))
    return handler(request)


async def _at_once(response: web.Response) -> web.StreamResponse:
    return response


async def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """An `on_response_prepare` signal: streams send their head before any middleware sees them again."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin in request.app[SETTINGS].current.server.cors_origins:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)


def _is_open(request: web.Request) -> bool:
    path = request.path
    if path in OPEN_PATHS:
        return True
    return is_of_page(path) and request.app[SETTINGS].current.page.enabled


def is_of_page(path: str) -> bool:
    """Whether the web page, or a file of it, is there."""
    return path in _PAGE_PATHS or path.startswith("/assets/")


def _is_known_absence(request: web.Request) -> bool:
    """Whether a client looks for OAuth, which is not there. It is told so without a token: it looks for a way to get
    one (RFC 9728, 3)."""
    looks_for_oauth = request.path in _OAUTH_PATHS or request.path.startswith("/.well-known/")
    return looks_for_oauth and isinstance(request.match_info.http_exception, web.HTTPNotFound)


def _check_origin(request: web.Request, origin: str) -> None:
    config = request.app[SETTINGS].current.server
    if origin in config.cors_origins or _is_own_origin(request, origin, config.trusted_proxies):
        return
    raise refuse(
        "forbidden", 403, f"Pages of {origin[:200]} may not call this server; list it in server.cors_origins."
    )


def _is_own_origin(request: web.Request, origin: str, trusted_proxies: tuple[str, ...]) -> bool:
    """Whether a page of this server itself asks; the scheme counts where a trusted proxy names it."""
    scheme, _, host = origin.partition("://")
    if not host or host != request.host:
        return False
    return source_of(request, trusted_proxies).scheme in (None, scheme)


def _preflight(request: web.Request) -> web.Response:
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, DELETE",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _allowed_headers(request),
        hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_MAX_AGE_S,
    }
    return web.Response(status=204, headers=headers)


def _allowed_headers(request: web.Request) -> str:
    """What is asked for: the SDKs of other protocols send headers of their own, and none of them opens anything."""
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return asked if _HEADER_NAMES.fullmatch(asked) else _ALLOWED


def _caller(request: web.Request) -> Caller:
    callers = request.app[SETTINGS].current.callers
    if not callers:
        _check_is_local(request)
        return LOCAL
    token = _token_of(request)
    caller = _owner_of(token, callers)
    if token and caller is not None:
        return caller
    if token or request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")[2]:
        _count_wrong_token(request)
    raise _unauthorized("Send a token of this server as Authorization: Bearer <token>, or as x-api-key.")


def _token_of(request: web.Request) -> str:
    """The token that is sent, as Anthropic's clients send it too; nothing where there is none.

    Raises:
        ApiError: two that differ.
    """
    scheme, _, sent = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    bearer = sent.strip() if scheme.lower() == "bearer" else ""
    key = request.headers.get(_API_KEY, "").strip()
    if bearer and key and bearer != key:
        raise _unauthorized("Authorization and x-api-key hold different tokens; send one of them.")
    return bearer or key


def _count_wrong_token(request: web.Request) -> None:
    source = source_of(request, request.app[SETTINGS].current.server.trusted_proxies)
    wait_s = request.app[ATTEMPTS].note(source.address)
    if wait_s is not None:
        error = "Too many wrong tokens came from this address; a right one is always taken."
        raise refuse("too_many_requests", 429, error, retry_after_s=math.ceil(wait_s))


def _unauthorized(error: str) -> ApiError:
    refusal = refuse("unauthorized", 401, error)
    refusal.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return refusal


def _owner_of(token: str, callers: tuple[Caller, ...]) -> Caller | None:
    """Whose token it is, in a time that depends on neither the token nor its owner."""
    given = hash_token(token)
    owner: Caller | None = None
    for caller in callers:
        if hmac.compare_digest(given, caller.token_sha256 or ""):
            owner = caller
    return owner


def _check_is_local(request: web.Request) -> None:
    source = source_of(request, request.app[SETTINGS].current.server.trusted_proxies)
    if not source.is_this_machine:
        through = f" and this request came through a proxy ({source.proxy_mark})" if source.proxy_mark else ""
        raise _unauthorized(f"Without tokens only callers on the server's own machine may call{through}; {_WAY_OUT}")
    if hdrs.HOST not in request.headers and request.version < HttpVersion11:
        return  # no browser is as old as that
    if not _names_this_machine(request.host):
        raise refuse(
            "forbidden",
            403,
            f"The Host {request.host[:200]} is not this machine's: without tokens the server is called as localhost "
            f"or 127.0.0.1. To call it by another name, as from a container: {_WAY_OUT}",
        )


@lru_cache(maxsize=64)
def _names_this_machine(host: str) -> bool:
    """Whether the name in a `Host` header, without its port, is this machine's.

    `0.0.0.0`, which programs print, is: nobody can own it as a name and have it point here. The machine's own name is
    not: the network that gave it may answer for it, first with a page, then with this machine's address.
    """
    name = host_name(host)
    if name is None or host.endswith(":"):  # what no program sends
        return False
    return name == "localhost" or is_loopback(name) or name in _UNSPECIFIED

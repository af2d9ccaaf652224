"""Requests that are no proper HTTP, in the one error shape, with the status that RFC 9110 and RFC 9112 ask for.

What aiohttp's parser refuses never reaches a handler: `failure_of_parser` puts it into our words, which quote nothing
of the request. What the parser lets pass, though it should not, is refused by `check_head`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import BadHttpMethod, BadStatusLine, InvalidHeader, InvalidURLError, LineTooLong

from client.errors import Failure
from server.errors import ApiError, refuse
from server.keys import EXPECTATION, WRONG_VERSION

MAX_LINE_BYTES: Final = 8190
MAX_FIELD_BYTES: Final = 8192
"""A parser's exception only names the limit that was passed, so the two differ."""

_UNKNOWN_METHOD: Final = re.compile(rb"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+) [!-~\x80-\xff]+ HTTP/[0-9]\.[0-9]\r\n")
_UNKNOWN_VERSION: Final = re.compile(rb"\s*[A-Za-z]+ [!-~\x80-\xff]+ HTTP/(?!1\.[01])[0-9]\.[0-9]\r\n")
_HOST: Final = re.compile(
    r"((?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"  # RFC 3986, section 3.2
)
_QUOTED: Final = ":\n"


def failure_of_parser(exc: BaseException, message: str, received: bytes) -> Failure:
    """What a caller is told.

    Args:
        exc: the parser's exception.
        message: its message.
        received: the bytes among which the fault is.
    """
    match exc:
        case LineTooLong(args=(_, limit, *_)) if limit == MAX_LINE_BYTES:
            return bad_http(414, f"The address of the request is longer than {MAX_LINE_BYTES} bytes.")
        case LineTooLong():
            return bad_http(431, f"A header of the request is longer than {MAX_FIELD_BYTES} bytes.")
        case BadHttpMethod() if received.startswith(b"\x16\x03"):
            return bad_http(400, "This is a TLS connection, and the server speaks plain HTTP here.")
        case BadHttpMethod() if _UNKNOWN_METHOD.match(received):
            return bad_http(501, "There is no such method here.")
        case BadStatusLine() if _UNKNOWN_VERSION.match(received):
            return bad_http(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        case BadStatusLine():
            return bad_http(400, "This is no HTTP/1.1 request: its first line is not well-formed.")
        case InvalidURLError():
            return bad_http(400, "This is no HTTP/1.1 request: its address is not well-formed.")
        case InvalidHeader():
            return bad_http(400, "This is no HTTP/1.1 request: a header is not well-formed.")
    if message.startswith("Too many headers"):
        return bad_http(431, "The request has too many headers.")
    if "PRI" in message.partition(_QUOTED)[0]:  # how HTTP/2 begins
        return bad_http(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    return bad_http(400, f"This is no HTTP/1.1 request: {_reason(message)}.")


def bad_http(status: int, error: str, *, retryable: bool = False) -> Failure:
    """A refusal for a request that cannot be taken as HTTP."""
    return Failure(error=error, type="invalid_request", status=status, retryable=retryable)


def check_head(request: web.Request) -> None:
    """Refuses what the parser lets pass.

    Raises:
        ApiError: with `closes`, where it cannot be told any more where the next request begins.
    """
    coding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None:
        _check_coding(request, coding)
    if len(request):  # something was noted of it: to ask an empty one for a key costs an exception
        if WRONG_VERSION in request:
            raise _refuse_head(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        expectation = request.get(EXPECTATION)
        if expectation is not None and expectation.lower() != "100-continue":
            raise _refuse_head(417, "Only 100-continue can be expected of this server.")
    if request.method == hdrs.METH_CONNECT:
        raise _refuse_head(501, "This server is no proxy.")
    path = request._message.path
    if "#" in path or (not path.startswith("/") and "@" in path.partition("?")[0]):
        raise _refuse_head(400, "The address of the request has a part that is not sent to servers.")


def check_host(request: web.Request) -> None:
    """Refuses a `Host` that is no host and port.

    Raises:
        ApiError: `invalid_request` 400.
    """
    host = request.headers.get(hdrs.HOST)
    if host is not None and host_name(host) is None:
        raise refuse("invalid_request", 400, "The Host header is not a host with or without a port.")


@lru_cache(maxsize=64)
def host_name(host: str) -> str | None:
    """The name in a `Host` header, in small letters, without port and brackets; None when it is no host."""
    match = _HOST.fullmatch(host)
    return None if match is None else match[1].strip("[]").lower()


def _check_coding(request: web.Request, coding: str) -> None:
    if request.version < HttpVersion11:
        raise _refuse_head(400, "HTTP/1.0 has no Transfer-Encoding.")
    names = [name.strip().lower() for name in coding.split(",")]
    if names != ["chunked"]:
        is_known = set(names) == {"chunked"}  # but more than once
        error = "The Transfer-Encoding of a request can only be chunked, once."
        raise _refuse_head(400 if is_known else 501, error)


def _refuse_head(status: int, error: str) -> ApiError:
    return ApiError(bad_http(status, error), closes=True)


def _reason(message: str) -> str:
    """The parser's own words without the bytes that it quotes."""
    first = message.partition(_QUOTED)[0].strip()
    return first.rstrip(".") or "it is not well-formed"

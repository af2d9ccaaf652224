"""What aiohttp keeps of a request and of a response's head for as long as a response is open, and nobody asks for.

An answer may be open for minutes, and there may be a thousand of them: 5 kB each are worth some private names of
aiohttp. A test fails when it has others.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.web_protocol import ERROR
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from server.http.connection import Connection

_SPENT: Final = ERROR
_NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())


def spare(request: BaseRequest, response: web.StreamResponse) -> None:
    """Lets go of the heads of both, and of what held the request's body, once nothing of them will be looked at: the
    response's head has been sent, and its handler looks at events only."""
    response._headers = _NO_HEADERS  # type: ignore[assignment]
    content, connection = request.content, request.protocol
    if content.at_eof():
        content._buffer = ()  # type: ignore[assignment]
        if isinstance(connection, Connection) and request.keep_alive:
            connection.spare_parser()
    request._message, request._headers = _SPENT, _NO_HEADERS
    request._cache.clear()
    request._transport_peername = request._transport_sockname = None
    if isinstance(connection, Connection):
        connection._cache.clear()
    connection.keep_alive(True)  # stops the timer of an idle connection; it is set anew when the answer is out

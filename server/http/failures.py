"""The middleware that turns every failure into the one error shape.

ApiError          carries a `client.errors.Failure`; raised anywhere below a handler
OpenRouterError   from `client`; carries a `Failure` already
StreamsFull       `overloaded` 503
anything else     `internal` 500; the trace goes to the log, never to the caller
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping

from aiohttp import web

from client.errors import Failure, OpenRouterError, Refusal
from client.streams.readable import StreamsFull
from server.errors import INTERNAL, ApiError, Handler, failure_response, overloaded, refuse
from server.http.prefix import prefix_of, prefixed
from server.keys import REQUEST_ID

logger = logging.getLogger(__name__)

Respond = Callable[[Failure, Mapping[str, str] | None], web.Response]
"""Makes the reply of a failure, with further headers."""


class Shapes:
    """In which shape a refusal goes out: ours, or that of the protocol whose path was asked for."""

    def __init__(self) -> None:
        self._by_prefix: list[tuple[str, Callable[[web.Request], Respond]]] = []

    def add(self, prefix: str, respond: Respond) -> None:
        """Everything at `prefix` and below it is refused so; what was added first goes first."""
        self.add_choice(prefix, lambda _: respond)

    def add_choice(self, prefix: str, choose: Callable[[web.Request], Respond]) -> None:
        """The same for a path that more than one protocol has: the request tells which it is."""
        self._by_prefix.append((prefix, choose))

    def of(self, request: web.Request) -> Respond:
        """How a request is refused."""
        for prefix, choose in self._by_prefix:
            if request.path == prefix or request.path.startswith(prefix + "/"):
                return choose(request)
        return failure_response


SHAPES = web.AppKey("SHAPES", Shapes)

_HTTP_TYPES = {
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


def _http_failure(exc: web.HTTPException, request: web.Request, prefix: str) -> ApiError:
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(exc.allowed_methods))
        error = f"{request.method} is not possible on {prefix}{request.path}; use {allowed}."
        refusal = refuse("method_not_allowed", 405, error)
        refusal.headers["Allow"] = allowed
        return refusal
    if exc.status == 404:
        error = f"There is nothing at {prefix}{request.path}; GET {prefix}/docs shows what there is."
        return refuse("not_found", 404, error)
    type_ = _HTTP_TYPES.get(exc.status, "invalid_request")
    return refuse(type_, exc.status, exc.text or exc.reason)


def _shape_of(request: web.Request) -> Respond:
    shapes = request.app.get(SHAPES)
    return failure_response if shapes is None else shapes.of(request)


def _respond(request: web.Request, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
    """The refusal, in the shape of the path. SDKs of other protocols show an id in their exceptions: there is no
    stream yet that could give it, so one is made, and stands in the log."""
    respond = _shape_of(request)
    if respond is failure_response:
        return respond(failure, headers)
    request_id = request[REQUEST_ID] = f"req_{secrets.token_urlsafe(16)}"
    return respond(failure, {"X-Request-Id": request_id, "Request-Id": request_id, **(headers or {})})


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost edge: one error shape for everything that a handler raises."""
    try:
        return await handler(request)
    except (Refusal, OpenRouterError, web.HTTPException) as exc:
        if request.writer.output_size > 0:  # aiohttp would write a second head into the open stream
            raise
        if isinstance(exc, web.HTTPException):
            if exc.status < 400:
                raise
            refusal = _http_failure(exc, request, prefix_of(request))
            return _respond(request, refusal.failure, refusal.headers)
        failure = prefixed(exc.failure, prefix_of(request))
        if not isinstance(exc, ApiError):
            return _respond(request, failure)
        response = _respond(request, failure, exc.headers)
        if exc.closes:
            response.force_close()
        return response
    except StreamsFull as exc:
        if request.writer.output_size > 0:
            raise
        refused = overloaded(exc)
        return _respond(request, refused.failure, refused.headers)
    except ConnectionError:  # the caller's: upstream's never get here
        return web.Response(status=499, reason="Client Closed Request")
    except Exception:
        if request.writer.output_size > 0:
            raise
        logger.exception("%s %s failed", request.method, request.path)
        return _respond(request, INTERNAL)

"""The middleware that turns every failure into the one error shape.

ApiError          carries a `client.errors.Failure`; raised anywhere below a handler
OpenRouterError   from `client`; carries a `Failure` already
anything else     `internal` 500; the trace goes to the log, never to the caller
"""

from __future__ import annotations

import logging

from aiohttp import web

from client.errors import OpenRouterError, Refusal
from server.errors import INTERNAL, ApiError, Handler, failure_response, refuse
from server.http.prefix import prefix_of, prefixed

logger = logging.getLogger(__name__)

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
            return failure_response(refusal.failure, refusal.headers)
        failure = prefixed(exc.failure, prefix_of(request))
        if not isinstance(exc, ApiError):
            return failure_response(failure)
        response = failure_response(failure, exc.headers)
        if exc.closes:
            response.force_close()
        return response
    except ConnectionError:  # the caller's: upstream's never get here
        return web.Response(status=499, reason="Client Closed Request")
    except Exception:
        if request.writer.output_size > 0:
            raise
        logger.exception("%s %s failed", request.method, request.path)
        return failure_response(INTERNAL)

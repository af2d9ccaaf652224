"""Our own refusals, and the middleware that turns every failure into the one error shape.

ApiError          carries a `client.errors.Failure`; raised anywhere below a handler
OpenRouterError   from `client`; carries a `Failure` already
anything else     `internal` 500; the trace goes to the log, never to the caller
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import hdrs, web

from client.border.details import bounded, summary
from client.border.json_codec import encode_json
from client.errors import Detail, Failure, OpenRouterError, Refusal

logger = logging.getLogger(__name__)

FAILURE = web.ResponseKey("FAILURE", Failure)
"""What a reply tells of, for those who log it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


NOSNIFF = "X-Content-Type-Options"
INTERNAL = Failure(
    error="The server failed to handle this request; its log has the details.",
    type="internal",
    status=500,
    retryable=False,
)


class ApiError(Refusal):
    """A refusal with the headers that go out with it.

    Attributes:
        closes: whether the connection ends with it, since nobody knows where the next request would begin.
    """

    def __init__(self, failure: Failure, *, headers: dict[str, str] | None = None, closes: bool = False) -> None:
        super().__init__(failure)
        self.headers = headers or {}
        self.closes = closes


def refuse(type_: str, status: int, error: str, *, retry_after_s: float | None = None) -> ApiError:
    """An `ApiError` of the given type; one with `retry_after_s` is retryable."""
    return ApiError(
        Failure(
            error=error,
            type=type_,
            status=status,
            retryable=retry_after_s is not None,
            retry_after_s=retry_after_s,
        )
    )


def overloaded(limit: object) -> ApiError:
    """A 503 for what goes beyond a limit of this server's size; `limit` says which one."""
    error = f"The server is at its limit: {limit}. Try again later."
    return refuse("overloaded", 503, error, retry_after_s=5.0)


def invalid_request(details: Iterable[Detail]) -> ApiError:
    """A 422 that names every field and what is wrong with it; of a great many, the first."""
    listed = bounded(list(details))
    failure = Failure(error=summary(listed), type="invalid_request", status=422, retryable=False, details=listed)
    return ApiError(failure)


def failure_response(failure: Failure, headers: dict[str, str] | None = None) -> web.Response:
    """The JSON answer for a failure, with `Retry-After` where there is something to wait for."""
    response = web.Response(
        body=encode_json(failure),
        status=failure.status,
        content_type="application/json",
        headers=headers,
    )
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    response.headers[NOSNIFF] = "nosniff"  # here too: what the parser refused has no application that adds them
    response[FAILURE] = failure
    if failure.retry_after_s is not None:
        response.headers.setdefault("Retry-After", str(max(1, round(failure.retry_after_s))))
    return response


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
        from server.routes.prefix import prefix_of, prefixed  # it needs the keys, which need this module

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

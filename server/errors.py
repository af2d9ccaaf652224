"""Our own refusals, and how a failure is written: the one error shape. `server.http.failures` catches them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from aiohttp import hdrs, web

from client.border.details import bounded, summary
from client.border.json_codec import encode_json
from client.errors import Detail, Failure, Refusal

FAILURE = web.ResponseKey("FAILURE", Failure)
"""What a reply tells of, for those who log it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


_HOPELESS_WITHIN_S = 30.0
"""A client that tries again by itself gives up sooner than this."""
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


def failure_response(failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
    """The JSON answer for a failure, with `Retry-After` where there is something to wait for."""
    return told_as(failure, failure.status, failure, headers)


def told_as(body: Any, status: int, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
    """The same with another body and status: that of another protocol."""
    return reply_of(encode_json(body), "application/json", status, failure, headers)


def reply_of(
    body: bytes, content_type: str, status: int, failure: Failure, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The same with a body that is no JSON."""
    charset = "utf-8" if content_type.startswith("text/") else None
    response = web.Response(body=body, status=status, content_type=content_type, charset=charset, headers=headers)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    response.headers[NOSNIFF] = "nosniff"  # here too: what the parser refused has no application that adds them
    response[FAILURE] = failure
    note_retry(response.headers, failure.retry_after_s)
    return response


def note_retry(headers: MutableMapping[str, str], retry_after_s: float | None) -> None:
    """Says when to come back; the SDKs that try again by themselves, and give up sooner, are told not to try."""
    if retry_after_s is None:
        return
    headers.setdefault("Retry-After", str(max(1, round(retry_after_s))))
    if retry_after_s > _HOPELESS_WITHIN_S:
        headers["x-should-retry"] = "false"

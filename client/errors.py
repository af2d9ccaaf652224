"""What can go wrong between us and OpenRouter, and the one shape in which a caller is told.

    OpenRouterError                 carries a `Failure`, safe to show; never holds the key
    ├── UpstreamConnectionError     DNS, refused, TLS, reset
    ├── UpstreamTimeout             connect, silence on the wire, no event for too long
    ├── UpstreamStatusError         a refusal before the stream (status >= 400)
    ├── UpstreamStreamError         an `error` inside a stream that began with 200
    └── UpstreamProtocolError       not SSE, not JSON, an empty or an oversized reply

Pure module: no I/O, no clock. What upstream says is read by `client.translation.errors.failures`.
"""

from __future__ import annotations

from typing import Any

import msgspec

FAILURE_TYPES = (
    "invalid_json",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "payload_too_large",
    "unsupported_media_type",
    "invalid_request",
    "too_many_requests",
    "overloaded",
    "shutting_down",
    "upstream_rejected",
    "upstream_auth",
    "insufficient_credits",
    "moderation",
    "model_not_found",
    "context_length_exceeded",
    "rate_limited",
    "upstream_unavailable",
    "upstream_timeout",
    "upstream_protocol",
    "stream_interrupted",
    "store_unavailable",
    "internal",
)
"""Every `Failure.type` there is."""


class Detail(msgspec.Struct, frozen=True):
    """One thing wrong with a request: where, and what.

    Attributes:
        where: path of the field, in dots: `provider.sort`, `messages.2.role`; `query.limit` for a query parameter.
        what: what is wrong with it.
    """

    where: str
    what: str


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, and the way out: the one error shape, for JSON bodies and for the `error` event alike.

    Attributes:
        error: what happened and what to do, for a person.
        type: a stable word; programs branch on it.
        status: HTTP status that belongs to it, also where the stream had begun with 200.
        retryable: true when the same request may succeed later without any change.
        retry_after_s: seconds to wait before that.
        details: every field that is wrong, and what is wrong with it (`invalid_request`).
        upstream: what OpenRouter said: `code`, `provider`, `metadata`.
        suggestions: model ids near the one asked for (`model_not_found`, `not_found` of a model).
    """

    error: str
    type: str
    status: int
    retryable: bool
    retry_after_s: float | None = None
    details: list[Detail] = []
    upstream: dict[str, Any] = {}
    suggestions: list[str] = []


# omit_defaults would drop a required field only if it had a default: the first four are always present.


class Refusal(Exception):
    """A request that this server itself does not take."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class OpenRouterError(Exception):
    """Base of everything that goes wrong on OpenRouter's side.

    Attributes:
        failure: what a caller is told.
        upstream_status: HTTP status or error code as OpenRouter gave it; None when there was no answer.
        usage: what OpenRouter said beside it that was used up; None when it said nothing.
    """

    def __init__(
        self, failure: Failure, *, upstream_status: int | None = None, usage: dict[str, Any] | None = None
    ) -> None:
        super().__init__(failure.error)
        self.failure = failure
        self.upstream_status = upstream_status
        self.usage = usage


class UpstreamConnectionError(OpenRouterError):
    """No connection, or one that broke."""


class UpstreamTimeout(OpenRouterError):
    """Upstream took longer than the settings allow."""


class UpstreamStatusError(OpenRouterError):
    """Upstream refused the request before any event.

    Attributes:
        body: what it said, as it came, or the beginning of it.
    """

    body: bytes = b""


class UpstreamStreamError(OpenRouterError):
    """Upstream reported an error inside a stream."""


class UpstreamProtocolError(OpenRouterError):
    """Upstream answered something that is not its protocol."""

"""What goes wrong, as one exception. Pure module.

`ChatError.type` is a word of the server (`rate_limited`, `not_found`, …) or one of these three of our own:

- `connection_lost`: the server could not be reached, or not any more, however often it was tried.
- `http_error`: what answered is not this server, or does not speak its protocol.
- the finish reason (`abandoned`, `interrupted`, `shutting_down`) of an answer that ended without an `error` event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openrouter_sse_client.wire.events import Error, event_of

CONNECTION_LOST = "connection_lost"
HTTP_ERROR = "http_error"
_SHOWN_CHARACTERS = 200


class ChatError(Exception):
    """The server refused, the answer failed, or nobody answered. Its text is for a person.

    Attributes:
        type: what it is, see above.
        status: of HTTP; None where there was no reply.
        retryable: whether the same request may do later.
        retry_after_s: seconds after which to try again; None when nobody said.
        details: of a request that cannot be taken: `{"where", "what"}` each.
        upstream: what OpenRouter said, in short; None when it was not asked.
        data: the whole error object as it came.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str,
        status: int | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        details: tuple[Mapping[str, Any], ...] = (),
        upstream: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.details = details
        self.upstream = upstream
        self.data: Mapping[str, Any] = data or {}


def error_from(event: Error, status: int | None = None, retry_after_s: float | None = None) -> ChatError:
    """The exception of a failure; `status` and `retry_after_s` are those of the reply that told it."""
    return ChatError(
        event.error,
        type=event.type,
        status=event.status if status is None else status,
        retryable=event.retryable,
        retry_after_s=retry_after_s if event.retry_after_s is None else event.retry_after_s,
        details=event.details,
        upstream=event.upstream,
        data=event.data,
    )


def error_of_json(text: str) -> Error | None:
    """The failure that a JSON body in the shape of errors tells; None when it is anything else."""
    event = event_of("error", text)
    return event if isinstance(event, Error) and "type" in event.data else None


def unexpected(status: int, content_type: str, text: str, location: str | None = None) -> ChatError:
    """For a reply that this server would not make: a proxy's page, another program's, a redirect."""
    if location is not None:
        message = f"The server answered {status} and points to {location[:_SHOWN_CHARACTERS]}: use that address."
    else:
        said = " ".join(text[:_SHOWN_CHARACTERS].split())
        said = json.dumps(said, ensure_ascii=False) if said else "nothing"
        message = f"What answered does not speak this protocol: status {status}, {content_type or 'no type'}, {said}."
    return ChatError(message, type=HTTP_ERROR, status=status)

"""A reply of the SDK's, collected: the answer alone, without what was reported before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from client.border.json_codec import decode_json
from client.translation.sse import SSEDecoder
from server.mcp_http.asgi import AsgiApp, Message, Scope

_KEPT_HEADERS = frozenset({b"mcp-session-id", b"allow", b"retry-after", b"www-authenticate"})
_STATUS_WITHOUT_ANSWER = 202


@dataclass
class Collected:
    """A whole reply.

    Attributes:
        body: one JSON value, or nothing.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def collect(
    app: AsgiApp, scope: Scope, receive: Callable[[], Awaitable[Message]], request_id: int | str | None
) -> Collected:
    """Asks the application; of an event stream only the answer to the request is kept.

    A request that ends without an answer, as a cancelled one does, is a 202 without a body.
    """
    reply = _Reply(request_id)
    await app(scope, receive, reply.send)
    return reply.collected


class _Reply:
    """Takes what an application sends."""

    def __init__(self, request_id: int | str | None) -> None:
        self.collected = Collected(500)
        self._request_id = request_id
        self._events: SSEDecoder | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start(message)
        elif message["type"] == "http.response.body":
            self._take(message.get("body", b""))

    def _start(self, message: Message) -> None:
        headers = list(message.get("headers", ()))
        self.collected.status = message["status"]
        for name, value in headers:
            if name in _KEPT_HEADERS:
                self.collected.headers[name.decode("latin-1")] = value.decode("latin-1")
        if any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers):
            self._events = SSEDecoder()
            self.collected.status = _STATUS_WITHOUT_ANSWER

    def _take(self, body: bytes) -> None:
        if self._events is None:
            self.collected.body += body
            return
        for data in self._events.receive_data(body):
            if self._is_answer(decode_json(data)):
                self.collected.body = data
                self.collected.status = 200

    def _is_answer(self, content: Any) -> bool:
        if not isinstance(content, dict) or "method" in content:
            return False
        return content.get("id") == self._request_id

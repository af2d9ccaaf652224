"""In front of the SDK's handling of HTTP: the rules for what a POST may be, the same as on stdin, and the form of the
reply that its client takes.

The SDK wants both forms of a reply to be accepted, picks the era by a header also where the body decides, and knows
no batches. So it is asked in the way that it wants, and what it says is put into the form that was asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import PROTOCOL_VERSION_META_KEY, UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    KNOWN_PROTOCOL_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
)
from starlette.datastructures import Headers, MutableHeaders

from client.border.json_codec import decode_json, encode_json, escape_line_ends
from mcp_app.stdio.jsonrpc import (
    BATCH_REVISIONS,
    INVALID_REQUEST,
    NO_BATCH,
    Batch,
    Judged,
    Message,
    Refused,
    read_message,
)
from server.mcp_http.accept import EVENTS, JSON, Accepted, accepted
from server.mcp_http.asgi import AsgiApp, Scope
from server.mcp_http.asgi import Message as AsgiMessage
from server.mcp_http.collect import Collected, collect

Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]

SESSION_HEADER: Final = "mcp-session-id"
_RETRY_AFTER_S: Final = b"5"
_LARGE_BYTES: Final = 256 * 1024
"""A body from which on it is parsed on a thread."""
_ID_IN_USE: Final = Refused(INVALID_REQUEST, "Invalid request: the id is in use.")
_BOTH: Final = f"{JSON}, {EVENTS}"


class Revisions(Protocol):
    """Remembers what each session has agreed to."""

    def agreed(self, session_id: str) -> str | None:
        """The revision; None for no known session."""

    def note(self, session_id: str, revision: str) -> None:
        """A session has agreed to a revision."""


class McpFront:
    """An ASGI application around the SDK's."""

    def __init__(self, app: AsgiApp, revisions: Revisions, *, max_body_bytes: int) -> None:
        self._app = app
        self._revisions = revisions
        self._max_body_bytes = max_body_bytes
        self._in_use: set[tuple[str, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        send = partial(_send_fit, send)
        method, headers = scope["method"], Headers(scope=scope)
        takes = accepted(headers.getlist("accept"))
        if method == "POST":
            await self._post(scope, headers, takes, receive, send)
        elif SESSION_HEADER not in headers and _is_handshake(headers):  # the SDK would open a session to refuse it
            await _refuse_without_session(method, send)
        elif method == "GET" and takes.events:
            await self._app(_scope_with(scope, accept=EVENTS), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _post(self, scope: Scope, headers: Headers, takes: Accepted, receive: Receive, send: Send) -> None:
        if not any(takes):
            await _refuse(send, 406, f"The reply is {JSON} or {EVENTS}; the Accept header takes neither.")
            return
        if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            await _refuse(send, 415, f"The body must be sent as Content-Type: {JSON}.")
            return
        body = await self._read(headers, receive)
        if body is None:
            await _refuse(send, 413, f"The body is larger than {self._max_body_bytes} bytes (server.max_body_bytes).")
            return
        judged = await asyncio.to_thread(read_message, body) if len(body) > _LARGE_BYTES else read_message(body)
        judged = self._judge(judged, headers)
        scope = _scope_with(scope, accept=_BOTH, content_type=JSON)
        if isinstance(judged, Refused):
            await _reply(send, 400, judged.answer())
        elif isinstance(judged, Batch):
            await self._post_batch(judged, scope, takes, receive, send)
        else:
            if judged.is_changed:
                body = _spelled(judged)
            await self._post_message(judged, body, scope, takes, receive, send)

    def _judge(self, judged: Judged, headers: Headers) -> Judged:
        """What HTTP adds to the rules of JSON-RPC: the headers."""
        if isinstance(judged, Refused):
            return judged
        if isinstance(judged, Batch):
            revision = self._revisions.agreed(headers.get(SESSION_HEADER, ""))
            allowed = revision in BATCH_REVISIONS and _is_handshake(headers)
            return judged if allowed else Refused(INVALID_REQUEST, f"Invalid request: {NO_BATCH}")
        if _is_opening(judged):
            return judged
        if _is_handshake(headers):
            if SESSION_HEADER in headers:
                return judged
            return Refused(INVALID_REQUEST, "Bad Request: Missing session ID", _id_of(judged))
        requested = headers[MCP_PROTOCOL_VERSION_HEADER]
        if requested not in KNOWN_PROTOCOL_VERSIONS and judged.is_request and not _has_envelope(judged):
            data = {"supported": list(KNOWN_PROTOCOL_VERSIONS), "requested": requested[:100]}
            return Refused(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", _id_of(judged), data)
        return judged

    async def _post_message(
        self, message: Message, body: bytes, scope: Scope, takes: Accepted, receive: Receive, send: Send
    ) -> None:
        if _is_opening(message):
            scope = _scope_with(scope, mcp_protocol_version=None)  # the body decides in the handshake
            send = partial(self._send_opening, message, send)
        receive = _receive_first(body, receive)
        if message.method == "subscriptions/listen":  # the reply is a stream, or none
            await self._app(scope if takes.events else _scope_with(scope, accept=JSON), receive, send)
        elif not message.is_request:
            await self._app(scope, receive, send)
        elif not self._claim(scope, message):
            await _reply(send, 400, _ID_IN_USE.answer())
        else:
            try:
                await self._post_request(message, scope, takes, receive, send)
            finally:
                self._release(scope, message)

    async def _post_request(
        self, message: Message, scope: Scope, takes: Accepted, receive: Receive, send: Send
    ) -> None:
        if all(takes):
            await self._app(scope, receive, send)
        else:
            await _reply_collected(await collect(self._app, scope, receive, message.id), takes, send)

    def _claim(self, scope: Scope, message: Message) -> bool:
        """Whether a request may use its id: the SDK gives the answer of one to another of the same id and session,
        and none to the first."""
        session_id = Headers(scope=scope).get(SESSION_HEADER)
        if session_id is None:
            return True
        key = (session_id, str(message.id))
        if key in self._in_use:
            return False
        self._in_use.add(key)
        return True

    def _release(self, scope: Scope, message: Message) -> None:
        self._in_use.discard((Headers(scope=scope).get(SESSION_HEADER, ""), str(message.id)))

    async def _send_opening(self, message: Message, send: Send, out: AsgiMessage) -> None:
        """Notes which revision a session agrees to: the asked one, or the newest that has a handshake."""
        if out["type"] == "http.response.start" and out["status"] == 200:
            session_id = Headers(raw=list(out.get("headers", ()))).get(SESSION_HEADER)
            asked = (message.content.get("params") or {}).get("protocolVersion")
            if session_id is not None:
                known = [each for each in HANDSHAKE_PROTOCOL_VERSIONS if each == asked]
                self._revisions.note(session_id, known[0] if known else LATEST_HANDSHAKE_VERSION)
        await send(out)

    async def _post_batch(self, batch: Batch, scope: Scope, takes: Accepted, receive: Receive, send: Send) -> None:
        """Each message by itself, and the answers as one."""
        answers: list[Any] = [item.answer() for item in batch.items if isinstance(item, Refused)]
        messages = [item for item in batch.items if isinstance(item, Message)]
        for each in messages:
            if not each.is_request:
                await collect(self._app, scope, _receive_first(_spelled(each), receive), None)
        asked = [each for each in messages if each.is_request]
        requests = [each for each in asked if self._claim(scope, each)]
        answers += [_ID_IN_USE.answer()] * (len(asked) - len(requests))
        try:
            collected = await asyncio.gather(
                *(collect(self._app, scope, _receive_first(_spelled(each), receive), each.id) for each in requests)
            )
        finally:
            for each in requests:
                self._release(scope, each)
        failed = next((each for each in collected if each.status >= 400), None)
        if failed is not None:
            await _reply_collected(failed, takes, send)
            return
        answers += [decode_json(each.body) for each in collected if each.body]
        await _reply_collected(
            Collected(200 if answers else 202, {}, encode_json(answers) if answers else b""), takes, send
        )

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body; None when it is too large."""
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated[:20]) > self._max_body_bytes:
            return None
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ConnectionResetError("the client has gone")
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                return None
            if not message.get("more_body"):
                return bytes(body)


def _is_handshake(headers: Headers) -> bool:
    """Whether the SDK takes the request as one of the revisions that have sessions."""
    revision = headers.get(MCP_PROTOCOL_VERSION_HEADER)
    return revision is None or revision in HANDSHAKE_PROTOCOL_VERSIONS


def _is_opening(message: Message) -> bool:
    """Whether the message opens a session. One that says itself to be of a revision without a handshake does not."""
    return message.method == "initialize" and message.is_request and not _has_envelope(message)


def _has_envelope(message: Message) -> bool:
    meta = (message.content.get("params") or {}).get("_meta")
    return isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta


def _id_of(message: Message) -> int | str | None:
    return message.id if message.is_request else None


def _spelled(message: Message) -> bytes:
    return json.dumps(message.content).encode()


def _scope_with(scope: Scope, **changes: str | None) -> Scope:
    """The scope with other headers; None takes one away."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    for name, value in changes.items():
        del headers[name.replace("_", "-")]
        if value is not None:
            headers[name.replace("_", "-")] = value
    return {**scope, "headers": headers.raw}


def _receive_first(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and then what comes after it."""
    pending: list[AsgiMessage] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> AsgiMessage:
        return pending.pop() if pending else await receive()

    return give


async def _send_fit(send: Send, message: AsgiMessage) -> None:
    """Escapes the characters at which some readers cut lines, and tells when to come again."""
    if message["type"] == "http.response.body" and not (body := message.get("body", b"")).isascii():
        message = {**message, "body": escape_line_ends(body)}
    elif message["type"] == "http.response.start" and message["status"] == 503:
        message = {**message, "headers": [*message.get("headers", ()), (b"retry-after", _RETRY_AFTER_S)]}
    await send(message)


async def _refuse(send: Send, status: int, message: str) -> None:
    await _reply(send, status, Refused(INVALID_REQUEST, message).answer())


async def _refuse_without_session(method: str, send: Send) -> None:
    if method == "DELETE":
        await _refuse(send, 400, "Bad Request: Missing session ID")
        return
    message = "There is no event stream without a session; POST `initialize` first." if method == "GET" else method
    await _reply(send, 405, Refused(INVALID_REQUEST, f"Method Not Allowed: {message}").answer(), allow="POST")


async def _reply(send: Send, status: int, content: dict[str, Any], **headers: str) -> None:
    await _reply_collected(Collected(status, headers, encode_json(content)), Accepted(True, True), send)


async def _reply_collected(collected: Collected, takes: Accepted, send: Send) -> None:
    """Sends a reply whole, in the form that is taken; an error is JSON in any case."""
    body, headers = collected.body, dict(collected.headers)
    if collected.status == 200 and not takes.json:
        body = b"event: message\r\ndata: " + escape_line_ends(body) + b"\r\n\r\n"
        headers["content-type"] = EVENTS
    elif body:
        headers["content-type"] = JSON
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": collected.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})

"""`POST /api/chat` as `useChat` posts it, and reading a chat's answer again or stopping it by the chat's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from client.errors import Failure
from client.streams.log_events import log_events_of
from client.streams.readable import Readable
from client.upstream.request import InvalidRequest
from server.errors import invalid_request, reply_of
from server.http.json_body import read_json_object
from server.keys import CALLER, SETTINGS, STREAMS
from server.protocols.answering import begin, read
from server.protocols.ui_stream.request import UiRequest, ui_call_of
from server.protocols.ui_stream.text_view import TextView
from server.protocols.ui_stream.view import UiView
from server.routes.readers import View
from server.routes.sending import Form
from server.routes.starting import stream_grace_s

CHAT = "chat"
"""What the ids name that clients choose."""
PLAIN = "text/plain"


def respond(failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
    """The reply that refuses a request: clients show its whole body, so that is one sentence and nothing else."""
    status = 400 if failure.status == 422 else failure.status
    return reply_of(failure.error.encode(errors="replace"), PLAIN, status, failure, headers)


class UiStream:
    """The two dialects (`server.protocols.answering.Dialect`): a stream of parts, or of the text alone."""

    def __init__(self, name: str, form: Form, *, is_text: bool) -> None:
        self.name = name
        self.form = form
        self._is_text = is_text

    def view(self, stream: Readable) -> View:
        """A new reader's view of the stream's log."""
        events = log_events_of(stream)
        if self._is_text:
            return TextView(events)
        asked = stream.asked
        known_id = asked.message_id if isinstance(asked, UiRequest) and asked.continues else f"msg-{stream.id}"
        return UiView(events, message_id=known_id, facts={"stream_id": stream.id})

    def whole(self, result: dict[str, Any], stream: Readable) -> Any:
        """Never asked for: answers of this protocol are always streamed."""
        return result

    def failed(self, failure: Failure) -> tuple[int, Any]:
        """Never asked for, either."""
        return failure.status, failure

    def respond(self, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
        """The reply that refuses a request."""
        return respond(failure, headers)


PARTS = UiStream("ui", Form(headers={"x-vercel-ai-ui-message-stream": "v1"}), is_text=False)
_BARE = Form(content_type=PLAIN, ping=b"", probe=b"", charset="utf-8", tells_failures=False)
TEXT = UiStream("ui.text", _BARE, is_text=True)


async def start_asked(request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
    """Starts an answer, in parts unless plain text is asked for."""
    return await start(request, body, _asked_dialect(request))


async def post_text(request: web.Request) -> web.StreamResponse:
    """Starts an answer in plain text."""
    return await start(request, await read_json_object(request), TEXT)


async def start(request: web.Request, body: Mapping[str, Any], dialect: UiStream) -> web.StreamResponse:
    """Starts an answer, by which its chat is called from now on; the one before it keeps no grace, since no client
    finds it any more."""
    config = request.app[SETTINGS].current
    try:
        call = ui_call_of(body, default_model=config.upstream.model, max_grace_s=config.streams.max_grace_s)
    except InvalidRequest as exc:
        raise invalid_request(exc.details) from exc
    chat_id = call.asked.chat_id if isinstance(call.asked, UiRequest) else None
    grace_s = stream_grace_s(request, call.grace_s)
    if chat_id is None and grace_s is None:
        grace_s = 0.0  # nobody could come back to it
    before = None if chat_id is None else await _find(request, chat_id)
    stream = await begin(request, dialect, call._replace(grace_s=grace_s))
    if chat_id is not None:
        request.app[STREAMS].give_name(stream, CHAT, chat_id)
    if before is not None and before is not stream:
        before.abandon()
    return await read(request, dialect, stream)


async def get_chat(request: web.Request) -> web.StreamResponse:
    """The chat's running answer, from its beginning and on; 204 when none runs."""
    return await _read_again(request, _asked_dialect(request))


async def get_text(request: web.Request) -> web.StreamResponse:
    """The same in plain text."""
    return await _read_again(request, TEXT)


async def _read_again(request: web.Request, dialect: UiStream) -> web.StreamResponse:
    stream = await _find(request, request.match_info["chat_id"])
    if stream is None or not stream.is_running:
        return web.Response(status=204)
    request.app[STREAMS].figures.resumes += 1
    return await read(request, dialect, stream)


async def stop_chat(request: web.Request) -> web.Response:
    """Stops the chat's answer; again is fine, and so is one that has ended."""
    stream = await _find(request, request.match_info["chat_id"])
    if stream is not None:
        await stream.end("cancelled")
    return web.Response(status=204)


async def _find(request: web.Request, chat_id: str) -> Readable | None:
    return await request.app[STREAMS].find_named(request[CALLER].name, CHAT, chat_id)


def _asked_dialect(request: web.Request) -> UiStream:
    """Plain text for whoever asks for that, and not for events too."""
    accepted = request.headers.get(hdrs.ACCEPT, "").lower()
    return TEXT if PLAIN in accepted and "text/event-stream" not in accepted else PARTS

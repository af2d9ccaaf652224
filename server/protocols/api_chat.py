"""`POST /api/chat`, which two protocols have: the AI SDK's `useChat`, and Ollama's. The body says which it is."""

from __future__ import annotations

from aiohttp import hdrs, web

from server.http.failures import Respond
from server.http.json_body import read_json_object
from server.protocols.ollama import routes as ollama
from server.protocols.ui_stream import routes as ui
from server.protocols.ui_stream.request import is_ui_request

_IS_UI = web.RequestKey("_IS_UI", bool)
_PATH = "/api/chat"
_BROWSERS = "Sec-Fetch-Mode"


async def post_chat(request: web.Request) -> web.StreamResponse:
    """Starts an answer in the words of whoever asks."""
    body = await read_json_object(request, may_be_unsaid=True)
    request[_IS_UI] = is_ui_request(body)
    return await (ui.start_asked if request[_IS_UI] else ollama.CHAT.start)(request, body)


def shape_of(request: web.Request) -> Respond:
    """In whose words a request for this path, or one below it, is refused. Before a body is read that is a guess:
    `useChat` asks from where `fetch` says so, and unlike Ollama's clients does not name the type that it takes."""
    is_ui = request.get(_IS_UI, request.path != _PATH or None)
    if is_ui is None:
        is_ui = _BROWSERS in request.headers and "json" not in request.headers.get(hdrs.ACCEPT, "")
    return ui.respond if is_ui else ollama.respond

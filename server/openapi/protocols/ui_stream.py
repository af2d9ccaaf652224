"""The operations of the AI SDK's message stream. What its parts say is described there: here stand the routes."""

from __future__ import annotations

from server.openapi.parts import GRACE, IDEMPOTENCY_KEY, Operation, Response, headers, in_path, response
from server.openapi.schemas import Schema

_TAG = "The AI SDK's protocol"
_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")
_REFUSED_HEADERS = _STREAM_HEADERS | headers("Retry-After")
_TEXT: Schema = {"type": "string"}
_EVENT: Schema = {
    "type": "object",
    "description": "An event: its `data:` line is the JSON of a part, or `[DONE]`, last.",
    "required": ["data"],
    "properties": {"data": _TEXT},
}
_CHAT_ID = in_path("chat_id", "What the client calls the conversation: `id` of the request.", "chat-1")
MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "parts"],
    "properties": {
        "id": _TEXT,
        "role": {"enum": ["system", "user", "assistant"]},
        "parts": {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": True,
}
REQUEST: Schema = {
    "type": "object",
    "description": "What `useChat` posts. Fields of `POST /chat` may stand beside: `model`, `tools`, `reasoning` …",
    "required": ["messages", "trigger"],
    "properties": {
        "id": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": 256,
            "description": "What the client calls the conversation.",
        },
        "trigger": {"enum": ["submit-message", "regenerate-message"]},
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
    },
    "additionalProperties": True,
}
EXAMPLE = {
    "id": "chat-1",
    "trigger": "submit-message",
    "model": "sandbox/echo",
    "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}],
}


def refused(description: str) -> Response:
    """A refusal: one sentence for people."""
    return response(description, {"text/plain": {"schema": _TEXT}}, headers=_REFUSED_HEADERS)


REFUSALS: dict[str, Response] = {
    "400": refused("No JSON object, a field that is wrong, or a conversation longer than the model's context."),
    "402": refused("OpenRouter refused for lack of credit."),
    "403": refused("An origin, `Host` or caller that may not, or moderation."),
    "404": refused("No such model, or the beginning of the stream was dropped."),
    "408": refused("The request came too slowly (`server.request_timeout_s`)."),
    "413": refused("The body is larger than `server.max_body_bytes`."),
    "415": refused("The body is not `application/json`, or in another coding than gzip or deflate."),
    "429": refused("A limit of this server, of OpenRouter or of the provider."),
    "4XX": refused("OpenRouter refused with this status."),
    "502": refused("OpenRouter failed, did not accept this server's key, or broke off."),
    "503": refused("This server is full or stops, or OpenRouter is not available."),
    "504": refused("OpenRouter took too long."),
}
_PARTS = {"text/event-stream": {"schema": _EVENT}}
_PLAIN = {"text/plain": {"schema": _TEXT}}
STREAMED = response(
    "Parts; plain text for whoever accepts `text/plain`.", {**_PARTS, **_PLAIN}, headers=_STREAM_HEADERS
)
_NOTHING = response("No answer of this chat runs.")


def _operations(mount: str, prefix: str, what: str, streamed: Response) -> tuple[Operation, ...]:
    read = Operation(
        "get",
        f"{mount}/{{chat_id}}/stream",
        f"{prefix}Resume",
        _TAG,
        f"Read a chat's running answer{what}, from its beginning and on",
        {"200": streamed, "204": _NOTHING, "404": refused("The beginning of the stream was dropped.")},
        parameters=(_CHAT_ID,),
        shape="text",
    )
    stops = (
        Operation(
            method,
            f"{mount}/{{chat_id}}/stop",
            f"{prefix}Stop{method.capitalize()}",
            _TAG,
            "Stop a chat's answer",
            {"204": response("It does not run, or no longer.")},
            parameters=(_CHAT_ID,),
            shape="text",
        )
        for method in ("post", "delete")
    )
    return (read, *stops)


CHAT = Operation(
    "post",
    "/api/chat",
    "uiChat",
    _TAG,
    "Start an answer as the AI SDK's `useChat` asks for it",
    {"200": STREAMED, **REFUSALS},
    description=(
        "The answer goes on for the configured grace when its reader leaves; by the chat's id it can be read again "
        "or stopped. `GET /chat/{stream_id}` reads it as typed events."
    ),
    parameters=(IDEMPOTENCY_KEY, GRACE),
    body={"required": True, "content": {"application/json": {"schema": REQUEST, "example": EXAMPLE}}},
    shape="text",
)
_WITH_TEXT = response("The answer's text, and nothing else.", _PLAIN, headers=_STREAM_HEADERS)
_TEXT_CHAT = Operation(
    "post",
    "/api/chat/text",
    "uiText",
    _TAG,
    "Start an answer that comes as plain text",
    {"200": _WITH_TEXT, **REFUSALS},
    description="For `TextStreamChatTransport`. Text has no word for a failure: the connection of an answer that "
    "breaks off breaks off, too.",
    parameters=(IDEMPOTENCY_KEY, GRACE),
    body={"required": True, "content": {"application/json": {"schema": REQUEST, "example": EXAMPLE}}},
    shape="text",
)
OPERATIONS: tuple[Operation, ...] = (
    *_operations("/api/chat", "ui", "", STREAMED),
    _TEXT_CHAT,
    *_operations("/api/chat/text", "uiText", " as plain text", _WITH_TEXT),
)

"""The operations of Anthropic's Messages. What bodies and events say is described there: here stand the routes."""

from __future__ import annotations

from server.openapi.parts import (
    GRACE,
    IDEMPOTENCY_KEY,
    Operation,
    Response,
    headers,
    in_path,
    json_response,
    query,
    response,
)
from server.openapi.schemas import Schema, ref

_TAG = "Anthropic's protocol"
_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")
_TEXT: Schema = {"type": "string"}
_ANY_OBJECT: Schema = {"type": "object"}

ERROR: Schema = {
    "type": "object",
    "description": "A refusal in Anthropic's words; as it came, where OpenRouter refused in them.",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": _TEXT,
                "message": _TEXT,
                "metadata": {**_ANY_OBJECT, "description": "`type` is our own word, `retryable` beside it."},
            },
            "additionalProperties": True,
        },
        "request_id": {"type": ["string", "null"]},
    },
    "additionalProperties": True,
}
SCHEMAS: dict[str, Schema] = {"AnthropicError": ERROR}

_MESSAGES: Schema = {"type": "array", "minItems": 1, "items": {}}
_REQUEST: Schema = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": ["string", "null"], "minLength": 1, "description": "The server's default without."},
        "max_tokens": {"description": "OpenRouter wants it."},
        "messages": _MESSAGES,
        "stream": {"type": ["boolean", "null"], "description": "Whether the answer shall come in events."},
        "grace_s": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Seconds that the answer goes on with no reader; not sent on. 0 without.",
        },
    },
    "additionalProperties": True,
}
_COUNTED: Schema = {
    "type": "object",
    "required": ["messages"],
    "properties": {"messages": _MESSAGES},
    "additionalProperties": True,
}
_MESSAGE: Schema = {
    "type": "object",
    "description": "A message. A call that was cut off is left out of it.",
    "required": ["content"],
    "properties": {"content": {"type": "array", "items": _ANY_OBJECT}},
    "additionalProperties": True,
}
_COUNT: Schema = {
    "type": "object",
    "required": ["input_tokens"],
    "properties": {"input_tokens": {"type": "integer", "minimum": 1}},
}
_EVENT: Schema = {
    "type": "object",
    "description": "An event: its name is also the `type` of its data, which is the JSON of one line.",
    "required": ["event", "data"],
    "properties": {"event": _TEXT, "data": _TEXT},
}
_HI = {
    "model": "sandbox/echo",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": True,
}
_ID = in_path("stream_id", "As in `X-Stream-Id`; with or without `msg_` in front.", "kWkqzq9Qm6ZkZ0Qe2QJ1Uw")


def _refused(description: str) -> Response:
    return json_response(description, ref("AnthropicError"), headers=_STREAM_HEADERS | headers("Retry-After"))


_EVENTS = {"text/event-stream": {"schema": _EVENT}}
_REFUSALS: dict[str, Response] = {
    "400": _refused("No JSON object, a field that is wrong or cannot be translated, or a conversation too long."),
    "402": _refused("OpenRouter refused for lack of credit."),
    "403": _refused("An origin, `Host` or caller that may not, or moderation."),
    "404": _refused("No such model."),
    "408": _refused("The request came too slowly (`server.request_timeout_s`)."),
    "413": _refused("The body is larger than `server.max_body_bytes`."),
    "415": _refused("The body is not `application/json`, or in another coding than gzip or deflate."),
    "429": _refused("A limit of this server, of OpenRouter or of the provider."),
    "4XX": _refused("OpenRouter refused with this status, or somebody stopped the answer (499)."),
    "502": _refused("OpenRouter failed, did not accept this server's key, or broke off."),
    "503": _refused("This server is full or stops, or OpenRouter is not available."),
    "504": _refused("OpenRouter took too long."),
    "5XX": _refused("OpenRouter refused with this status."),
}


def _operations(mount: str, prefix: str) -> tuple[Operation, ...]:
    post = Operation(
        "post",
        f"{mount}/messages",
        f"{prefix}Messages",
        _TAG,
        "Start an answer in the words of Anthropic's Messages",
        {
            "200": response(
                "Events, or without `stream` one message.",
                {**_EVENTS, "application/json": {"schema": _MESSAGE}},
                headers=_STREAM_HEADERS,
            ),
            **_REFUSALS,
        },
        description=(
            "The body goes to OpenRouter's own route as it is, unknown fields too, and its events come back; where "
            "upstream has none (`upstream.protocols`), both are translated. Whoever leaves ends the answer, unless a "
            "grace is asked for; `GET /chat/{stream_id}` reads it as typed events."
        ),
        parameters=(IDEMPOTENCY_KEY, GRACE),
        body={"required": True, "content": {"application/json": {"schema": _REQUEST, "example": _HI}}},
        shape="AnthropicError",
    )
    count = Operation(
        "post",
        f"{mount}/messages/count_tokens",
        f"{prefix}CountTokens",
        _TAG,
        "Estimate how many tokens a request has",
        {
            "200": json_response("An estimate: a quarter of the bytes of its text.", _COUNT),
            **{status: _REFUSALS[status] for status in ("400", "403", "408", "413", "415")},
        },
        description="OpenRouter is not asked.",
        body={"required": True, "content": {"application/json": {"schema": _COUNTED, "example": _HI}}},
        shape="AnthropicError",
    )
    get = Operation(
        "get",
        f"{mount}/messages/{{stream_id}}",
        f"{prefix}GetMessage",
        _TAG,
        "Get any answer as a message",
        {
            "200": response(
                "A message, or with `stream` its events.",
                {"application/json": {"schema": _MESSAGE}, **_EVENTS},
                headers=_STREAM_HEADERS,
            ),
            "400": _refused("OpenRouter refused with this status."),
            "404": _refused("No such answer of this caller, or its beginning was dropped."),
            "4XX": _refused("OpenRouter refused with this status, or somebody stopped the answer (499)."),
            "5XX": _refused("OpenRouter refused with this status, failed, or took too long."),
        },
        description="One that runs is waited for, or read along.",
        parameters=(_ID, query("stream", _TEXT, "`true`: events in place of a message.")),
        shape="AnthropicError",
    )
    return post, count, get


OPERATIONS = (*_operations("/v1", "anthropic"), *_operations("/api/v1", "openrouter"))

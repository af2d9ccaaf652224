"""The operations of OpenAI's Responses. What bodies and events say is described there: here stand the routes."""

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

_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")
_TEXT: Schema = {"type": "string"}
_EVENT: Schema = {
    "type": "object",
    "description": "An event; its `data:` line is the JSON of an object with `type` and `sequence_number`.",
    "required": ["event", "data"],
    "properties": {"event": _TEXT, "data": _TEXT},
}
RESPONSE: Schema = {
    "type": "object",
    "description": "OpenAI's Response object.",
    "required": ["id", "object", "created_at", "status", "model", "output", "usage", "error", "incomplete_details"],
    "properties": {
        "id": _TEXT,
        "object": {"const": "response"},
        "created_at": {"type": "integer"},
        "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        "model": _TEXT,
        "output": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": ["object", "null"], "description": "With `cost`, in USD."},
        "error": {"type": ["object", "null"]},
        "incomplete_details": {"type": ["object", "null"]},
    },
    "additionalProperties": True,
}
REQUEST: Schema = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model": {"type": ["string", "null"], "minLength": 1, "description": "The server's default without."},
        "input": {
            "anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": {"type": "object"}}],
            "description": "Text, or items: messages, calls and their outputs, thinking.",
        },
        "instructions": {"type": ["string", "null"]},
        "tools": {
            "type": ["array", "null"],
            "items": {"type": "object"},
            "description": "Functions and `web_search`; others only where OpenRouter's own Responses are used.",
        },
        "stream": {"type": ["boolean", "null"], "description": "Whether the answer shall come as events."},
        "background": {
            "type": ["boolean", "null"],
            "description": "The answer goes on without its caller (`streams.grace_s`), who may come back to it.",
        },
        "store": {"type": ["boolean", "null"], "description": "Repeated in the answer; nothing is stored."},
        "previous_response_id": {"type": "null", "description": "No turns are stored: send the whole conversation."},
        "conversation": {"type": "null", "description": "As `previous_response_id`."},
        "grace_s": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Seconds that the answer goes on with no reader; not sent on. 0 without `background`.",
        },
    },
    "additionalProperties": True,
}
SCHEMAS: dict[str, Schema] = {"OpenAiResponse": RESPONSE}
_EXAMPLE = {"model": "sandbox/echo", "input": "Hello", "stream": True}
_ID = in_path("response_id", "`id` of the answer, or `X-Stream-Id` of any.", "resp_Jq3nVx0yQ2mB7cKp4sLw9A")
_STREAM = {"text/event-stream": {"schema": _EVENT}, "application/json": {"schema": ref("OpenAiResponse")}}


def _refused(shape: str, description: str) -> Response:
    return json_response(description, ref(shape), headers=_STREAM_HEADERS | headers("Retry-After"))


def _post_responses(shape: str) -> dict[str, Response]:
    told = {
        "400": "No JSON object, a field that is wrong or cannot be had, or a conversation longer than the context.",
        "402": "OpenRouter refused for lack of credit.",
        "403": "An origin, `Host` or caller that may not, or moderation.",
        "404": "No such model.",
        "408": "The request came too slowly (`server.request_timeout_s`).",
        "413": "The body is larger than `server.max_body_bytes`.",
        "415": "The body is not `application/json`, or in another coding than gzip or deflate.",
        "429": "A limit of this server, of OpenRouter or of the provider.",
        "4XX": "OpenRouter refused with this status, or somebody stopped the answer (499).",
        "502": "OpenRouter failed, did not accept this server's key, or broke off.",
        "503": "This server is full or stops, or OpenRouter is not available.",
        "504": "OpenRouter took too long.",
    }
    answered = "Events; with `stream` false the Response object, whole or, with `background`, as it is so far."
    refusals = {status: _refused(shape, description) for status, description in told.items()}
    return {"200": response(answered, _STREAM, headers=_STREAM_HEADERS), **refusals}


def _operations(mount: str, prefix: str, tag: str, shape: str) -> tuple[Operation, ...]:
    one = f"{mount}/responses/{{response_id}}"
    bad = _refused(shape, "`stream` or `starting_after` is not what it must be.")
    missing = _refused(shape, "No such answer of this caller, or one that expired.")
    as_it_is = json_response("As it is now.", ref("OpenAiResponse"), headers=_STREAM_HEADERS)
    deleted: Schema = {"type": "object", "required": ["id", "object", "deleted"]}
    post = Operation(
        "post",
        f"{mount}/responses",
        f"{prefix}CreateResponse",
        tag,
        "Start an answer in the words of Responses",
        _post_responses(shape),
        description=(
            "Whoever leaves ends the answer, unless `background` is true or a grace is asked for; "
            "`GET /chat/{stream_id}` reads it as typed events."
        ),
        parameters=(IDEMPOTENCY_KEY, GRACE),
        body={"required": True, "content": {"application/json": {"schema": REQUEST, "example": _EXAMPLE}}},
        shape=shape,
    )
    get = Operation(
        "get",
        one,
        f"{prefix}GetResponse",
        tag,
        "Read an answer again, of any protocol",
        {"200": response("The object, or events.", _STREAM, headers=_STREAM_HEADERS), "400": bad, "404": missing},
        parameters=(
            _ID,
            query("stream", {"type": "string"}, "`true`: the events, live until the end."),
            query(
                "starting_after",
                {"type": "integer", "minimum": 0, "maximum": 999_999_999},
                "Number of the last event that the reader has; beside `stream=true`.",
            ),
        ),
        shape=shape,
    )
    cancel = Operation(
        "post",
        f"{one}/cancel",
        f"{prefix}CancelResponse",
        tag,
        "Stop an answer",
        {"200": as_it_is, "404": missing},
        description="Upstream is closed at once. What has ended stays as it is.",
        parameters=(_ID,),
        shape=shape,
    )
    delete = Operation(
        "delete",
        one,
        f"{prefix}DeleteResponse",
        tag,
        "Stop and forget an answer",
        {"200": json_response("It is gone.", deleted), "404": missing},
        parameters=(_ID,),
        shape=shape,
    )
    absent = (
        Operation(
            "post",
            f"{mount}/responses/{name}",
            f"{prefix}{id}",
            tag,
            f"Not served: {what}",
            {"404": _refused(shape, "Always.")},
            shape=shape,
        )
        for name, id, what in (
            ("input_tokens", "CountInputTokens", "counts of tokens"),
            ("compact", "CompactResponse", "shortened conversations"),
        )
    )
    return (post, get, cancel, delete, *absent)


OPERATIONS = (
    *_operations("/v1", "openai", "OpenAI's protocol", "OpenAiError"),
    *_operations("/api/v1", "openrouter", "OpenRouter's protocol", "OpenRouterError"),
)

"""The operations of Ollama's protocol, and `POST /api/chat`, which is the AI SDK's too."""

from __future__ import annotations

from typing import Any

from server.openapi.parts import GRACE, IDEMPOTENCY_KEY, Operation, Response, headers, json_response, response
from server.openapi.protocols import ui_stream
from server.openapi.schemas import Schema, ref

_TAG = "Ollama's protocol"
_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")
_REFUSED_HEADERS = _STREAM_HEADERS | headers("Retry-After")
_TEXT: Schema = {"type": "string"}
_ANY_OBJECT: Schema = {"type": "object"}
_SHAPE = "OllamaError"
SCHEMAS: dict[str, Schema] = {
    _SHAPE: {
        "type": "object",
        "description": "A refusal in Ollama's words, and the line that ends a broken answer.",
        "required": ["error", "type"],
        "properties": {"error": _TEXT, "type": {**_TEXT, "description": "Our own word."}},
    }
}
_COMMON: dict[str, Schema] = {
    "model": {
        "type": ["string", "null"],
        "description": "The server's default without; `:latest` behind it counts for nothing.",
    },
    "stream": {"type": ["boolean", "null"], "description": "false: one JSON."},
    "think": {"type": ["boolean", "string", "null"]},
    "format": {"type": ["string", "object", "null"], "description": "`json`, or a JSON schema."},
    "options": {"type": ["object", "null"]},
}


def _request(question: str, schema: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**_COMMON, question: schema},
        "additionalProperties": True,
    }


CHAT_REQUEST = _request("messages", {"type": ["array", "null"], "items": {"type": "object"}})
_GENERATE_REQUEST = _request("prompt", {"type": ["string", "null"]})


def _body(schema: Schema, example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _refused(description: str) -> Response:
    return json_response(description, ref(_SHAPE), headers=_REFUSED_HEADERS)


_REFUSALS = {status: _refused(each["description"]) for status, each in ui_stream.REFUSALS.items()}
_LINES = {"application/x-ndjson": {"schema": _ANY_OBJECT}, "application/json": {"schema": _ANY_OBJECT}}
_LINE_BY_LINE = response("Lines of JSON, or with `stream` false one JSON.", _LINES, headers=_STREAM_HEADERS)
_NO_MODEL = {"404": json_response("No such model.", ref(_SHAPE))}
_HI = [{"role": "user", "content": "Hello"}]


def _either(ours: Response, theirs: Response) -> Response:
    return {**ours, "content": {**ours["content"], **theirs["content"]}}


def _chat() -> Operation:
    """Both protocols' operation at one path: the body says whose it is."""
    content = ui_stream.CHAT.body["content"]["application/json"] if ui_stream.CHAT.body else {}
    examples = {
        "useChat": {"value": content["example"]},
        "ollama": {"value": {"model": "sandbox/echo", "messages": _HI}},
    }
    schema = {"anyOf": [content["schema"], CHAT_REQUEST]}
    return Operation(
        "post",
        "/api/chat",
        "apiChat",
        _TAG,
        "Start an answer as Ollama's clients ask for it, or the AI SDK's `useChat`",
        {
            "200": _either(ui_stream.STREAMED, _LINE_BY_LINE),
            **{status: _either(each, _REFUSALS[status]) for status, each in ui_stream.REFUSALS.items()},
        },
        description=(
            "A body with `trigger`, or with `parts` in its messages, is `useChat`'s: the answer is a message stream, "
            "which goes on for the configured grace when its reader leaves, and can be read again or stopped by the "
            "chat's id. Any other is Ollama's: whoever leaves ends the answer, unless a grace is asked for."
        ),
        parameters=(IDEMPOTENCY_KEY, GRACE),
        body={"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}},
        shape=f"{_SHAPE}+text",
    )


OPERATIONS: tuple[Operation, ...] = (
    _chat(),
    Operation(
        "post",
        "/api/generate",
        "ollamaGenerate",
        _TAG,
        "Start an answer to a single prompt",
        {"200": _LINE_BY_LINE, **_REFUSALS},
        description="`suffix` cannot be asked for. Without a prompt nothing is asked, and nothing costs.",
        parameters=(IDEMPOTENCY_KEY, GRACE),
        body=_body(_GENERATE_REQUEST, {"model": "sandbox/echo", "prompt": "Hello"}),
        shape=_SHAPE,
    ),
    Operation(
        "get",
        "/api/tags",
        "ollamaTags",
        _TAG,
        "List the models that the caller may use",
        {"200": json_response("The models.", _ANY_OBJECT), "502": _refused("OpenRouter failed.")},
        shape=_SHAPE,
    ),
    Operation(
        "post",
        "/api/show",
        "ollamaShow",
        _TAG,
        "Get one model's length of context, and what it can",
        {
            "200": json_response("The model.", _ANY_OBJECT),
            **_NO_MODEL,
            "4XX": _refused("The body is wrong, or too large."),
            "502": _refused("OpenRouter failed."),
        },
        body=_body(
            {"type": "object", "properties": {"model": _TEXT}, "required": ["model"], "additionalProperties": True},
            {"model": "sandbox/echo"},
        ),
        shape=_SHAPE,
    ),
    Operation(
        "get",
        "/api/ps",
        "ollamaLoaded",
        _TAG,
        "List what takes memory: nothing",
        {"200": json_response("No models.", _ANY_OBJECT)},
        shape=_SHAPE,
    ),
    Operation(
        "get",
        "/api/version",
        "ollamaVersion",
        _TAG,
        "Get the version of Ollama whose words these are",
        {"200": json_response("The version.", _ANY_OBJECT)},
        shape=_SHAPE,
    ),
    *(
        Operation(
            "post",
            f"/api/{name}",
            f"ollama{name.capitalize()}",
            _TAG,
            "Not served: embeddings",
            {"404": json_response("Always: its cost could not be counted against budgets.", ref(_SHAPE))},
            shape=_SHAPE,
        )
        for name in ("embed", "embeddings")
    ),
)

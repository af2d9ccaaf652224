"""The operations of Chat Completions, and of what its clients read.

What they say in bodies is their protocols' own, and described there: here stand the routes, statuses and headers, and
the shape in which each refuses.
"""

from __future__ import annotations

from server.openapi.examples import STREAM_ID
from server.openapi.parts import (
    GRACE,
    IDEMPOTENCY_KEY,
    Operation,
    Parameter,
    Response,
    headers,
    in_path,
    json_response,
    query,
    response,
)
from server.openapi.schemas import Schema, ref

_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")
_REFUSED_HEADERS = _STREAM_HEADERS | headers("Retry-After")
_ANY_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}

_CHAT_REQUEST: Schema = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": ["string", "null"], "minLength": 1, "description": "The server's default without."},
        "messages": {"type": "array", "minItems": 1, "items": {}},
        "stream": {"type": ["boolean", "null"], "description": "Whether the answer shall come in chunks."},
        "n": {"enum": [1, None], "description": "More than one answer a request cannot be had."},
        "grace_s": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Seconds that the answer goes on with no reader; not sent on. 0 without.",
        },
    },
    "additionalProperties": True,
}
_TEXT_REQUEST: Schema = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "model": {"type": ["string", "null"], "minLength": 1, "description": "The server's default without."},
        "prompt": {
            "type": ["string", "array"],
            "minLength": 1,
            "minItems": 1,
            "items": {},
            "description": "One text, or the numbers of its tokens.",
        },
        "stream": {"type": ["boolean", "null"], "description": "Whether the answer shall come in chunks."},
        "n": {"enum": [1, None], "description": "More than one answer a request cannot be had."},
        "grace_s": _CHAT_REQUEST["properties"]["grace_s"],
    },
    "additionalProperties": True,
}
_EMBEDDINGS_REQUEST: Schema = {
    "type": "object",
    "required": ["input", "model"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "description": "One of `/embeddings/models`."},
        "input": {
            "type": ["string", "array"],
            "minLength": 1,
            "minItems": 1,
            "items": {},
            "description": "A text, or a list of texts, of tokens' numbers or of parts.",
        },
    },
    "additionalProperties": True,
}
_HI = {"model": "sandbox/echo", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
_ONCE = {"model": "sandbox/long", "prompt": "Once upon a time", "max_tokens": 20}
_EMBED = {"model": "sandbox/embedder", "input": ["Hello", "Goodbye"]}

OPENAI_ERROR: Schema = {
    "type": "object",
    "description": "A refusal in OpenAI's words.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "metadata"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "metadata": {**_ANY_OBJECT, "description": "`type` is our own word, `retryable` beside it."},
            },
        }
    },
}
OPENROUTER_ERROR: Schema = {
    "type": "object",
    "description": "A refusal in OpenRouter's words.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "metadata"],
            "properties": {
                "code": {"type": "integer"},
                "message": _TEXT,
                "metadata": {**_ANY_OBJECT, "description": "`type` is our own word, `retryable` beside it."},
            },
        }
    },
}

SCHEMAS: dict[str, Schema] = {"OpenAiError": OPENAI_ERROR, "OpenRouterError": OPENROUTER_ERROR}


_EVENT: Schema = {
    "type": "object",
    "description": "An event: its `data:` line is the JSON of a chunk or of an error, or `[DONE]`, last.",
    "required": ["data"],
    "properties": {"data": _TEXT},
}


def _chat_responses(shape: str) -> dict[str, Response]:
    stream = {
        "text/event-stream": {"schema": _EVENT},
        "application/json": {"schema": _ANY_OBJECT},
    }

    def refused(description: str) -> Response:
        return json_response(description, ref(shape), headers=_REFUSED_HEADERS)

    return {
        "200": response("Chunks, or with `stream` false one `chat.completion`.", stream, headers=_STREAM_HEADERS),
        "400": refused("No JSON object, a field that is wrong, or a conversation longer than the model's context."),
        "402": refused("OpenRouter refused for lack of credit."),
        "403": refused("An origin, `Host` or caller that may not, or moderation."),
        "404": refused("No such model."),
        "408": refused("The request came too slowly (`server.request_timeout_s`)."),
        "413": refused("The body is larger than `server.max_body_bytes`."),
        "415": refused("The body is not `application/json`, or in another coding than gzip or deflate."),
        "429": refused("A limit of this server, of OpenRouter or of the provider."),
        "4XX": refused("OpenRouter refused with this status, or somebody stopped the answer (499)."),
        "502": refused("OpenRouter failed, did not accept this server's key, or broke off."),
        "503": refused("This server is full or stops, or OpenRouter is not available."),
        "504": refused("OpenRouter took too long."),
    }


def _passed_responses(shape: str, *, is_streamed: bool) -> dict[str, Response]:
    """Those of routes that are passed on and translated into no other."""
    responses = _chat_responses(shape)
    responses["404"] = json_response(
        "Upstream has no such route, or no such model.", ref(shape), headers=_REFUSED_HEADERS
    )
    if is_streamed:
        return responses
    said = response("OpenRouter's own reply.", {"application/json": {"schema": _ANY_OBJECT}}, headers=_STREAM_HEADERS)
    return {**responses, "200": said}


def _read_responses(shape: str, description: str) -> dict[str, Response]:
    def refused(description: str) -> Response:
        return json_response(description, ref(shape), headers=headers("Retry-After"))

    return {
        "200": json_response(description, _ANY_OBJECT),
        "4XX": refused("There is no such thing, it is not this caller's, or OpenRouter refused with this status."),
        "502": refused("OpenRouter failed, or did not accept this server's key."),
        "503": refused("OpenRouter is not available."),
        "504": refused("OpenRouter took too long."),
    }


_OF_BODIES = ("408", "413", "415")
_AUTHOR = in_path("author", "The part of a model's id before the slash.", "sandbox")
_SLUG = in_path("slug", "The part behind it.", "echo")
_READS: tuple[tuple[str, str, str, str, tuple[Parameter, ...]], ...] = (
    ("/models", "ListModels", "List the models that the caller may use", "In one body that all SDKs read.", ()),
    (
        "/models/{model_id}",
        "GetModel",
        "Get one model",
        "Not wrapped in `data`. The slash of the id may stand as it is or as `%2F`.",
        (in_path("model_id", "As listed.", "sandbox/echo"),),
    ),
    ("/models/count", "CountModels", "Count the models", "As OpenRouter says.", ()),
    ("/models/user", "ListUserModels", "List the models of the account's preferences", "As OpenRouter says.", ()),
    (
        "/models/{author}/{slug}/endpoints",
        "ListEndpoints",
        "List who serves a model",
        "As OpenRouter says.",
        (_AUTHOR, _SLUG),
    ),
    ("/model/{author}/{slug}", "GetOneModel", "Get one model, wrapped", "As OpenRouter says.", (_AUTHOR, _SLUG)),
    ("/providers", "ListProviders", "List the providers", "As OpenRouter says.", ()),
    ("/endpoints/zdr", "ListZdrEndpoints", "List the endpoints that keep nothing", "As OpenRouter says.", ()),
    ("/embeddings/models", "ListEmbeddingModels", "List the models for embeddings", "As OpenRouter says.", ()),
    ("/credits", "GetCredits", "Get the account's credits", "For callers with `admin`.", ()),
    ("/activity", "GetActivity", "Get the account's activity", "For callers with `admin`.", ()),
    (
        "/generation",
        "GetGeneration",
        "Get the record of an answer",
        "Of one that the caller started.",
        (query("id", _TEXT, "The id of its chunks."),),
    ),
    ("/key", "GetKey", "Get the caller's budget", "In the words that OpenRouter has for its key.", ()),
    ("/auth/key", "GetAuthKey", "The same, at its older place", "In the words that OpenRouter has for its key.", ()),
)


def _operations(mount: str, prefix: str, tag: str, shape: str) -> tuple[Operation, ...]:
    chat = Operation(
        "post",
        f"{mount}/chat/completions",
        f"{prefix}ChatCompletions",
        tag,
        "Start an answer in the words of Chat Completions",
        _chat_responses(shape),
        description=(
            "The body goes to OpenRouter as it is, unknown fields too, and its chunks come back. Whoever leaves ends "
            "the answer, unless a grace is asked for; `GET /chat/{stream_id}` reads it as typed events."
        ),
        parameters=(IDEMPOTENCY_KEY, GRACE),
        body={"required": True, "content": {"application/json": {"schema": _CHAT_REQUEST, "example": _HI}}},
        shape=shape,
    )
    again = Operation(
        "get",
        f"{mount}/chat/completions/{{stream_id}}",
        f"{prefix}GetChatCompletions",
        tag,
        "Read an answer again, whole or in chunks",
        {status: said for status, said in _chat_responses(shape).items() if status not in _OF_BODIES},
        description=(
            "Any answer of the caller's, in whatever protocol it was asked for; one that runs is waited for, or read "
            "along."
        ),
        parameters=(
            in_path("stream_id", "`X-Stream-Id` of the answer.", STREAM_ID),
            query("stream", {"type": "string"}, "`true`: in chunks."),
        ),
        shape=shape,
    )
    reads = (
        Operation(
            "get",
            mount + path,
            prefix + id,
            tag,
            summary,
            _read_responses(shape, description),
            parameters=parameters,
            shape=shape,
        )
        for path, id, summary, description, parameters in _READS
    )
    texts = Operation(
        "post",
        f"{mount}/completions",
        f"{prefix}Completions",
        tag,
        "Go on with a text, in the words of the older completions",
        _passed_responses(shape, is_streamed=True),
        description=(
            "Passed on where upstream has such a route (`upstream.protocols`); OpenRouter and the sandbox do. The "
            "body goes there as it is, and its chunks come back; whoever leaves ends the answer, unless a grace is "
            "asked for."
        ),
        parameters=(IDEMPOTENCY_KEY, GRACE),
        body={"required": True, "content": {"application/json": {"schema": _TEXT_REQUEST, "example": _ONCE}}},
        shape=shape,
    )
    embeddings = Operation(
        "post",
        f"{mount}/embeddings",
        f"{prefix}Embeddings",
        tag,
        "Make embeddings of texts",
        _passed_responses(shape, is_streamed=False),
        description=(
            "Passed on where upstream has such a route (`upstream.protocols`); OpenRouter and the sandbox do. Body "
            "and reply are upstream's own."
        ),
        parameters=(IDEMPOTENCY_KEY,),
        body={"required": True, "content": {"application/json": {"schema": _EMBEDDINGS_REQUEST, "example": _EMBED}}},
        shape=shape,
    )
    return (chat, again, texts, embeddings, *reads)


OPERATIONS = (
    *_operations("/v1", "openai", "OpenAI's protocol", "OpenAiError"),
    *_operations("/api/v1", "openrouter", "OpenRouter's protocol", "OpenRouterError"),
)

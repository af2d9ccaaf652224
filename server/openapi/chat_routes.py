"""The operations of `/chat`."""

from __future__ import annotations

from typing import Any

from client.upstream.request import QUERY_FIELDS, ChatRequest
from server.openapi import examples
from server.openapi.events import STREAM_EVENT
from server.openapi.parts import (
    GRACE,
    IDEMPOTENCY_KEY,
    Operation,
    Parameter,
    Response,
    failure,
    headers,
    in_path,
    json_response,
    media,
    query,
    response,
)
from server.openapi.schemas import Schema, pydantic_schema, ref

_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")
_REFUSED_HEADERS = _STREAM_HEADERS | headers("Retry-After")
_STREAM = {"text/event-stream": {"schema": ref(STREAM_EVENT), "example": examples.STREAM}}
_STREAM_NOTE = (
    "`text/event-stream`: events, each with `event:`, `id:` and one `data:` line of JSON; comments (`: ping`) may "
    "stand anywhere. The schema describes one event; `data` is described at `/schemas/events/{name}`."
)
_STREAM_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_EVENT_ID: Schema = {"type": "string", "pattern": "^([A-Za-z0-9_-]{1,64}:[0-9]{1,18})?$"}
_LAST_EVENT_ID: Parameter = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Id of the last event that was read: go on after it. Empty is as none.",
    "schema": _EVENT_ID,
    "example": f"{examples.STREAM_ID}:3",
}


def _at_stream(example: str = examples.STREAM_ID) -> Parameter:
    return in_path("stream_id", "`X-Stream-Id` of the answer that started it.", example, _STREAM_ID)


_NO_STREAM = failure("No such stream of this caller, or one that expired.", "no_stream")
_HAS_ALL = response("The reader has everything: `EventSource` stops at this.")
_BAD_EVENT_ID = failure("`Last-Event-ID` is not one of this stream's event ids.")


def _query_parameters() -> tuple[Parameter, ...]:
    """The shorthands that may stand in the query, narrowed to what a query can spell."""
    fields = pydantic_schema(ChatRequest)["properties"]
    return tuple(query(name, _spelt(fields[name]), fields[name]["description"]) for name in QUERY_FIELDS)


def _spelt(field: Schema) -> Schema:
    """Numbers and booleans are read as such; everything else is text, comma lists included."""
    plain: dict[str, Schema] = {branch["type"]: branch for branch in field["anyOf"]}
    return next(plain[kind] for kind in ("boolean", "number", "integer", "string") if kind in plain)


def _refused(description: str, example: str | None = None) -> Response:
    """A refusal of ours as JSON; OpenRouter's too, but as events for callers that asked for events."""
    found = failure(description, example, headers=_REFUSED_HEADERS)
    found["content"]["text/event-stream"] = media(ref(STREAM_EVENT))
    return found


def _post_responses() -> dict[str, Response]:
    cut_off = json_response(
        "OpenRouter failed, did not accept this server's key, or broke off; `partial` holds what had come.",
        ref("ChatFailure"),
        examples.FAILURES["cut_off"],
        headers=_REFUSED_HEADERS,
    )
    cut_off["content"]["text/event-stream"] = media(ref(STREAM_EVENT))
    started = response(
        f"The answer. {_STREAM_NOTE} With `stream` false: one JSON object.",
        {"application/json": media(ref("ChatReply"), examples.CHAT_REPLY), **_STREAM},  # generators take the first
        headers=_STREAM_HEADERS,
    )
    started["links"] = _links()
    return {
        "200": started,
        "204": response("With `Last-Event-ID`: the reader has everything."),
        "400": _refused("No JSON object, or a conversation longer than the model's context.", "invalid_json"),
        "402": _refused("OpenRouter refused for lack of credit."),
        "403": _refused("An origin, `Host` or caller that may not, or moderation.", "forbidden"),
        "404": _refused("No such model; with `Last-Event-ID`: no such stream.", "no_model"),
        "408": failure("The request came too slowly (`server.request_timeout_s`)."),
        "413": failure("The body is larger than `server.max_body_bytes`.", "payload_too_large"),
        "415": failure(
            "The body is not `application/json`, or in another coding than gzip or deflate.", "unsupported_media_type"
        ),
        "422": failure("A field is missing, wrong or contradicts another; `details` names each.", "invalid_request"),
        "429": _refused("A limit of this server, of OpenRouter or of the provider."),
        "4XX": _refused("OpenRouter refused with this status (`upstream_rejected`)."),
        "502": cut_off,
        "503": _refused("This server is full or stops, or OpenRouter is not available.", "overloaded"),
        "504": _refused("OpenRouter took too long."),
    }


def _links() -> dict[str, Any]:
    stream_id = {"stream_id": "$response.header.X-Stream-Id"}
    return {
        name: {"operationId": name, "parameters": stream_id}
        for name in ("readStream", "stopStream", "getStreamResult")
    }


OPERATIONS = (
    Operation(
        "post",
        "/chat",
        "startChat",
        "Chat",
        "Start an answer, or go on with one",
        _post_responses(),
        description=(
            "Streams the answer as typed events; with `stream` false, gives it as one JSON object. The status is "
            "OpenRouter's verdict: a refusal keeps its status, with the `error` and `done` events as body where "
            "events were asked for. Any other field of OpenRouter's chat completions may stand in the body and is "
            "passed on untouched. `message` or `messages` is needed. A shorthand may come in the body or in the "
            "query, not in both.\n\n"
            "With `Last-Event-ID` nothing is started: the stream it names goes on after that event, and the body is "
            "not read."
        ),
        parameters=(_LAST_EVENT_ID, IDEMPOTENCY_KEY, GRACE, *_query_parameters()),
        body={
            "required": True,
            "content": {"application/json": {"schema": ref("ChatRequest"), "examples": examples.CHAT_REQUESTS}},
        },
    ),
    Operation(
        "get",
        "/chat",
        "listStreams",
        "Chat",
        "List this caller's running and recent streams",
        {
            "200": json_response(
                "Newest first.", ref("StreamList"), {"data": [examples.STREAM_SUMMARY], "has_more": False}
            ),
            "422": failure("`limit` is no number from 1 to 1000."),
        },
        parameters=(
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
                "How many streams at most.",
            ),
        ),
    ),
    Operation(
        "get",
        "/chat/{stream_id}",
        "readStream",
        "Chat",
        "Read a stream, from its beginning or after an event",
        {
            "200": response(_STREAM_NOTE, _STREAM, headers=_STREAM_HEADERS),
            "204": _HAS_ALL,
            "404": _NO_STREAM,
            "422": _BAD_EVENT_ID,
        },
        description="Works with a browser's `EventSource`; any number of readers, each at its own pace.",
        parameters=(
            _at_stream(),
            _LAST_EVENT_ID,
            query("last_event_id", _EVENT_ID, "`Last-Event-ID` for callers that can set no header."),
        ),
    ),
    Operation(
        "delete",
        "/chat/{stream_id}",
        "stopStream",
        "Chat",
        "Stop a stream",
        {
            "200": json_response("It has ended, now or before.", ref("StreamSummary"), examples.STREAM_SUMMARY),
            "404": _NO_STREAM,
        },
        description="Upstream is closed at once; readers get `done` with `cancelled`. Again is fine.",
        parameters=(_at_stream(),),
    ),
    Operation(
        "get",
        "/chat/{stream_id}/result",
        "getStreamResult",
        "Chat",
        "Get the whole answer of a stream as one JSON",
        {
            "200": json_response("The answer.", ref("StreamResult"), examples.STREAM_RESULT),
            "202": json_response("What there is while it runs.", ref("StreamResult")),
            "404": _NO_STREAM,
        },
        description="The true cost of an answer that was stopped is looked up; until then `usage.settled` is false.",
        parameters=(_at_stream(),),
    ),
)

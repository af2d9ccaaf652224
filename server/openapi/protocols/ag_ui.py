"""The operations of AG-UI. What its bodies hold is described where the protocol is; refusals have our own shape."""

from __future__ import annotations

from server.openapi.parts import (
    GRACE,
    IDEMPOTENCY_KEY,
    Operation,
    Parameter,
    Response,
    Responses,
    headers,
    json_response,
    query,
    response,
)
from server.openapi.schemas import Schema, ref

_TAG = "AG-UI"
_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
_ANY_LIST: Schema = {"type": ["array", "null"], "items": {}}
_STREAM_HEADERS = headers("X-Stream-Id", "Location", "X-Generation-Id", "Cache-Control")

RUN_AGENT_INPUT: Schema = {
    "type": "object",
    "description": "AG-UI's `RunAgentInput`.",
    "required": ["threadId", "runId", "messages"],
    "properties": {
        "threadId": _ID,
        "runId": _ID,
        "messages": {"type": "array", "items": {}},
        "tools": _ANY_LIST,
        "context": {**_ANY_LIST, "description": "Becomes a system message."},
        "forwardedProps": {"description": "`model` and other fields of OpenRouter; what else it holds stays here."},
    },
    "additionalProperties": True,
}
_HI = {
    "threadId": "thread-1",
    "runId": "run-1",
    "messages": [{"id": "message-1", "role": "user", "content": "Hello"}],
    "forwardedProps": {"model": "sandbox/echo"},
}
_EVENT: Schema = {
    "type": "object",
    "description": "An event: its `data:` line is the JSON of AG-UI's event. It has an `id:` where `X-Run-Id` was.",
    "required": ["data"],
    "properties": {"data": _TEXT},
}
_ACTIVE_RUN: Schema = {
    "type": "object",
    "required": ["messages", "activeRun", "interrupts"],
    "properties": {
        "messages": {"type": "array", "items": {}, "maxItems": 0},
        "activeRun": {
            "type": ["object", "null"],
            "required": ["runId"],
            "properties": {"runId": _TEXT},
        },
        "interrupts": {"type": "array", "items": {}, "maxItems": 0},
    },
}
SCHEMAS: dict[str, Schema] = {"RunAgentInput": RUN_AGENT_INPUT}

_LAST_EVENT_ID: Parameter = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Goes on after this event; nothing is started.",
    "schema": _TEXT,
}
_RUN_ID: Parameter = {
    "name": "X-Run-Id",
    "in": "header",
    "description": "The run's id, from clients that read again what they have lost: events have ids then.",
    "schema": _ID,
}


def _refused(description: str) -> Response:
    return json_response(description, ref("Failure"), headers=_STREAM_HEADERS | headers("Retry-After"))


_REFUSALS: Responses = {
    "400": _refused("No JSON object, or a field that is wrong."),
    "402": _refused("OpenRouter refused for lack of credit."),
    "403": _refused("An origin, `Host` or caller that may not, or moderation."),
    "404": _refused("No such model, or no such run of this caller."),
    "408": _refused("The request came too slowly (`server.request_timeout_s`)."),
    "413": _refused("The body is larger than `server.max_body_bytes`."),
    "415": _refused("The body is not `application/json`, or in another coding than gzip or deflate."),
    "429": _refused("A limit of this server, of OpenRouter or of the provider."),
    "4XX": _refused("OpenRouter refused with this status."),
    "502": _refused("OpenRouter failed, or did not accept this server's key."),
    "503": _refused("This server is full or stops, or OpenRouter is not available."),
    "504": _refused("OpenRouter took too long."),
}
_RUN: Response = response("Events.", {"text/event-stream": {"schema": _EVENT}}, headers=_STREAM_HEADERS)

OPERATIONS = (
    Operation(
        "post",
        "/ag-ui",
        "runAgent",
        _TAG,
        "Start a run, or go on with one",
        {"200": _RUN, **_REFUSALS},
        description=(
            "Whoever leaves ends the run, unless a grace is asked for; with `X-Run-Id` it goes on for "
            "`streams.grace_s`, and the same request with `Last-Event-ID` reads on."
        ),
        parameters=(_RUN_ID, _LAST_EVENT_ID, IDEMPOTENCY_KEY, GRACE),
        body={"required": True, "content": {"application/json": {"schema": ref("RunAgentInput"), "example": _HI}}},
    ),
    Operation(
        "get",
        "/ag-ui",
        "getRun",
        _TAG,
        "Read a run from its beginning, or find the one under way",
        {
            "200": response(
                "The run's events (`runId`), or which run of the thread is under way (`threadId`).",
                {"text/event-stream": {"schema": _EVENT}, "application/json": {"schema": _ACTIVE_RUN}},
                headers=_STREAM_HEADERS,
            ),
            "400": _refused("Neither a run nor a thread is named, or the offset is none."),
            "404": _refused("There is no such run of this caller; it may have expired."),
        },
        description="An answer that began in another protocol is read by the id of its stream.",
        parameters=(
            query("runId", _TEXT, "The run."),
            query("offset", _TEXT, "`-1`, or the id of the last event that came."),
            query("threadId", _TEXT, "The thread."),
            _LAST_EVENT_ID,
        ),
    ),
)

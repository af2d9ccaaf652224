"""A JSON Schema for each event of an answer, made of the structs that are encoded.

`data` of an event is not always the struct: `client.streams.wire` unpacks some, and so does this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from client.errors import FAILURE_TYPES, Detail, Failure
from client.streams.wire import EVENT_NAMES
from client.translation import events
from server.openapi.schemas import Schema, describe, drop_absent, ref, struct_schemas

STREAM_EVENT = "StreamEvent"
EVENT_ID_PATTERN = r"^[A-Za-z0-9_-]+:[1-9][0-9]*$"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STRUCTS: dict[str, type] = {
    "start": events.StreamStarted,
    "reasoning": events.ReasoningDelta,
    "content": events.ContentDelta,
    "refusal": events.RefusalDelta,
    "tool_call_delta": events.ToolCallDelta,
    "tool_call": events.ToolCall,
    "annotation": events.Annotation,
    "image": events.Image,
    "audio": events.Audio,
    "reasoning_details": events.ReasoningDetails,
    "usage": events.UsageReport,
    "error": Failure,
    "done": events.Done,
}


def event_schema(name: str) -> Schema:
    """The schema at `/schemas/events/{name}`: complete in itself."""
    kind = _STRUCTS[name]
    found = struct_schemas([kind], "#/$defs/{name}")
    schema = _as_sent(name, found.pop(kind.__name__), kind)
    if "Detail" in found:
        describe(found["Detail"], Detail)
    described = {"$schema": _DIALECT, "$id": f"/schemas/events/{name}", "title": name, **_untitled(schema)}
    return {**described, "$defs": found} if found else described


def event_components() -> dict[str, Schema]:
    """Components: `ContentData` is what an event says, `ContentEvent` the event as a line reader sees it."""
    components: dict[str, Schema] = {}
    for name in EVENT_NAMES:
        kind = _STRUCTS[name]
        if kind is not Failure:  # a component of its own
            schema = _as_sent(name, struct_schemas([kind])[kind.__name__], kind)
            components[_component(name, "Data")] = {"title": _component(name, "Data"), **_untitled(schema)}
        components[_component(name, "Event")] = _event(name)
    return components | {STREAM_EVENT: _union()}


def data_component(name: str) -> str:
    """The component that describes an event's data."""
    return "Failure" if name == "error" else _component(name, "Data")


def _union() -> Schema:
    return {
        "title": STREAM_EVENT,
        "description": "One event of the stream; `data` is one line of JSON.",
        "oneOf": [ref(_component(name, "Event")) for name in EVENT_NAMES],
        "discriminator": {
            "propertyName": "event",
            "mapping": {name: ref(_component(name, "Event"))["$ref"] for name in EVENT_NAMES},
        },
    }


def _event(name: str) -> Schema:
    return {
        "title": _component(name, "Event"),
        "type": "object",
        "required": ["event", "id", "data"],
        "properties": {
            "event": {"type": "string", "const": name},
            "id": {"type": "string", "pattern": EVENT_ID_PATTERN, "description": "`<stream_id>:<n>`, n from 1."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": ref(data_component(name)),
            },
        },
    }


def _as_sent(name: str, schema: Schema, kind: type) -> Schema:
    describe(schema, kind)
    if name in _SHAPES:
        _SHAPES[name](schema)
    if "properties" in schema:
        drop_absent(schema)
    return schema


def _add_stream_id(schema: Schema) -> None:
    schema["properties"] = {"stream_id": {"type": "string"}, **schema["properties"]}
    schema["required"] = ["stream_id", *schema["required"]]


def _unpack_usage(schema: Schema) -> None:
    """OpenRouter's object and our figures stand side by side."""
    del schema["properties"]["usage"]
    schema["required"].remove("usage")
    schema["additionalProperties"] = True


def _unpack_object(schema: Schema) -> None:
    del schema["properties"], schema["required"]
    schema["additionalProperties"] = True


def _complete_failure(schema: Schema) -> None:
    schema["properties"]["type"]["enum"] = list(FAILURE_TYPES)


_SHAPES: dict[str, Callable[[Schema], Any]] = {
    "start": _add_stream_id,
    "annotation": _unpack_object,
    "image": _unpack_object,
    "audio": _unpack_object,
    "usage": _unpack_usage,
    "error": _complete_failure,
}


def _component(name: str, suffix: str) -> str:
    return name.title().replace("_", "") + suffix


def _untitled(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "title"}

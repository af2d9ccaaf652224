"""JSON Schemas (2020-12) of what goes in and out, read from pydantic models, msgspec structs and typed dicts.

Descriptions come from the docstrings: the text, and the lines under `Attributes:` for the fields.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import BaseModel

from client.errors import FAILURE_TYPES, Detail, Failure
from client.upstream.request import ChatRequest
from server.openapi import replies

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"

_REPLIES: tuple[type, ...] = (
    Failure,
    replies.ChatFailure,
    replies.ChatReply,
    replies.StreamResult,
    replies.StreamSummary,
    replies.StreamList,
    replies.Health,
    replies.Ready,
    replies.ModelList,
    replies.ModelPage,
    replies.FamilyList,
    replies.ModelReply,
    replies.UsageReply,
)
_NESTED: tuple[type, ...] = (
    Detail,
    replies.AnswerUsage,
    replies.BudgetReply,
    replies.CatalogueState,
    replies.Family,
    replies.FunctionCall,
    replies.StreamCounts,
    replies.ToolCallReply,
    replies.UsageRow,
)
_OPEN = {"AnswerUsage"}
"""Objects that upstream may add fields to."""
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": REFERENCE.format(name=name)}


def reply_schemas() -> dict[str, Schema]:
    """Components for everything that is answered in JSON."""
    found = struct_schemas(_REPLIES)
    for kind in (*_REPLIES, *_NESTED):
        describe(found[kind.__name__], kind)
    for name in ("Failure", "ChatFailure"):
        drop_absent(found[name])
        found[name]["properties"]["type"]["enum"] = list(FAILURE_TYPES)
    for name in _OPEN:
        found[name]["additionalProperties"] = True
    return found


def request_schemas() -> dict[str, Schema]:
    """Components for the body of `POST /chat`, of the model that validates it.

    That one of `message` and `messages` is needed is not said: `message` may come in the query.
    """
    schema = pydantic_schema(ChatRequest)
    found: dict[str, Schema] = schema.pop("$defs", {})
    return {"ChatRequest": schema, **found}


def struct_schemas(kinds: Iterable[Any], reference: str = REFERENCE) -> dict[str, Schema]:
    """The schemas of msgspec structs and typed dicts, and of all they hold."""
    _, found = msgspec.json.schema_components(list(kinds), ref_template=reference)
    return found


def pydantic_schema(model: type[BaseModel]) -> Schema:
    """A pydantic model's schema, without the titles that only repeat the fields' names."""
    schema = model.model_json_schema(ref_template=REFERENCE.format(name="{model}"))
    for part in (schema, *schema.get("$defs", {}).values()):
        for field in part["properties"].values():
            field.pop("title", None)
            if field.get("default", ...) is None:
                del field["default"]
    return schema


def describe(schema: Schema, kind: type) -> None:
    """Puts a docstring's words into a schema."""
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    schema["description"] = _for_callers(text)
    for name, words in _ATTRIBUTE.findall(attributes):
        if name in schema["properties"]:
            field = schema["properties"][name]
            schema["properties"][name] = {"description": _for_callers(words), **field}


def _for_callers(words: str) -> str:
    """A docstring's words as a sentence about JSON."""
    sentence = " ".join(words.split()).replace("None", "null")
    return sentence[:1].upper() + sentence[1:]


def drop_absent(schema: Schema) -> None:
    """For structs that leave out what has its default: such a field is absent and never null."""
    for name, field in schema["properties"].items():
        if "default" in field:
            schema["properties"][name] = _without_null(field)


def compact(node: Any) -> Any:
    """The same schemas, with `anyOf` of plain types written as a list of types, and `items` in every array: without
    them generators of clients drop all that holds the array."""
    if isinstance(node, list):
        return [compact(item) for item in node]
    if not isinstance(node, dict):
        return node
    branches = node.get("anyOf")
    if isinstance(branches, list) and all(branch.keys() == {"type"} for branch in branches):
        rest = {key: compact(value) for key, value in node.items() if key != "anyOf"}
        return _with_items({**rest, "type": [branch["type"] for branch in branches]})
    return _with_items({key: compact(value) for key, value in node.items()})


def _with_items(schema: Schema) -> Schema:
    kind = schema.get("type")
    is_array = kind == "array" or (isinstance(kind, list) and "array" in kind)
    return {**schema, "items": {}} if is_array and not {"items", "prefixItems"} & schema.keys() else schema


def _without_null(field: Schema) -> Schema:
    kept = {key: value for key, value in field.items() if key not in ("default", "anyOf")}
    branches = [branch for branch in field.get("anyOf", []) if branch.get("type") != "null"]
    return {**kept, **(branches[0] if len(branches) == 1 else {"anyOf": branches} if branches else {})}

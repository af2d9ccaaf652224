"""JSON schemas in the plain form that every host understands. Pure module.

Several hosts resolve no `$ref`, and refuse or drop unions; titles cost context and say nothing.
"""

from __future__ import annotations

from typing import Any


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without `$ref`, `$defs`, titles and unions with null."""
    definitions = schema.get("$defs", {})
    plain: dict[str, Any] = _plain(schema, definitions)
    plain.pop("$defs", None)
    return plain


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _plain({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    branches = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    if len(branches) == 1 and "anyOf" in node:
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return _plain({**branches[0], **rest}, definitions)
    return {
        key: {name: _plain(value, definitions) for name, value in item.items()}
        if key == "properties"
        else _plain(item, definitions)
        for key, item in node.items()
        if not _is_noise(key, item)
    }


def _is_noise(key: str, value: Any) -> bool:
    """A title is text here; a property named title is an object, and stands below `properties` anyway."""
    if key == "title":
        return isinstance(value, str)
    if key == "default":
        return value is None or value is False or value == ""
    return key == "additionalProperties" and value is True

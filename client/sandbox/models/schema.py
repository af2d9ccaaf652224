"""Plausible arguments for a function, made from its JSON schema.

Pure, and deterministic: the same schema and prompt give the same arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 8  # of a schema that contains itself
_MAX_ITEMS = 100
_FORMATS = {
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_PLACES = {"city", "location", "place", "port", "town"}
_QUESTIONS = {"q", "query", "question", "text", "message", "prompt", "input"}


def sample_arguments(schema: object, prompt: str) -> dict[str, Any]:
    """An object that fits `schema`; `prompt` fills the fields that ask for a text.

    Raises:
        ValueError: `schema` is not a JSON schema.
    """
    if not isinstance(schema, Mapping):
        return {}
    try:
        value = _sample({"type": "object", **schema}, "", prompt, schema, _MAX_DEPTH)
    except (AttributeError, IndexError, KeyError, TypeError) as exc:
        raise ValueError("not a JSON schema") from exc
    return value if isinstance(value, dict) else {}


def _sample(schema: Mapping[str, Any], name: str, prompt: str, root: Mapping[str, Any], depth: int) -> Any:
    schema = _resolve(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    kind = _kind(schema)
    if kind == "object":
        return _sample_object(schema, prompt, root, depth)
    if kind == "array":
        count = min(max(schema.get("minItems", 1), 0), _MAX_ITEMS) if depth > 0 else 0
        return [_sample(schema.get("items") or {}, name, prompt, root, depth - 1)] * count
    return _sample_scalar(kind, schema, name, prompt)


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows one local `$ref`, or takes the first of several alternatives that is not null."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/"):
        found: Any = root
        for part in ref[2:].split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}
    for key in ("anyOf", "oneOf", "allOf"):
        options = [option for option in schema.get(key) or [] if option.get("type") != "null"]
        if options:
            return _resolve(options[0], root)
    return schema


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kinds = [kind] if isinstance(kind, str) else [word for word in kind if word != "null"]
    return kinds[0] if kinds else "null"


def _sample_object(schema: Mapping[str, Any], prompt: str, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    wanted = schema.get("required") or list(properties)
    if depth <= 0:
        return {}
    return {name: _sample(properties.get(name) or {}, name, prompt, root, depth - 1) for name in wanted}


def _sample_scalar(kind: str, schema: Mapping[str, Any], name: str, prompt: str) -> Any:
    if kind == "boolean":
        return True
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("maximum", 1))
    if kind == "null":
        return None
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if name.lower() in _PLACES:
        return "Oslo"
    if name.lower() in _QUESTIONS and prompt:
        return prompt
    return f"sample {name}".strip()

"""The arguments that `sandbox/tools` makes up fit the schema they are made from."""

from __future__ import annotations

from typing import Any

import pytest

from client.sandbox.models.schema import sample_arguments


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "sample x"),
        ({"type": "integer", "minimum": 4}, 4),
        ({"type": "number"}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}, [1] * 100),
        ({"const": 7}, 7),
        ({"default": "d", "enum": ["a"]}, "d"),
        ({"enum": ["a", "b"]}, "a"),
        ({"examples": [3]}, 3),
        ({"format": "date"}, "2026-01-31"),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"$ref": "#/$defs/side"}, "left"),
        ({"properties": {"y": {"type": "integer"}}}, {"y": 1}),
        ({}, "sample x"),
    ],
)
def test_a_field_gets_a_value_of_its_kind(schema: dict[str, Any], value: object) -> None:
    root = {"properties": {"x": schema}, "$defs": {"side": {"enum": ["left", "right"]}}}
    assert sample_arguments(root, "") == {"x": value}


def test_only_required_fields_are_given_where_some_are() -> None:
    schema = {"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}
    assert sample_arguments(schema, "") == {"a": 1}


def test_the_prompt_answers_a_field_that_asks_for_a_text() -> None:
    assert sample_arguments({"properties": {"query": {}}}, "tides in Oslo") == {"query": "tides in Oslo"}


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    assert "next" in sample_arguments({**node, "$defs": {"node": node}}, "")


@pytest.mark.parametrize("schema", [None, True, [], {}])
def test_no_schema_means_no_arguments(schema: object) -> None:
    assert sample_arguments(schema, "") == {}

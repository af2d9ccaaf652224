"""`options`: fields of OpenRouter's request through the tool, and answers that are asked for as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.sandbox import Sandbox
from mcp_app.results.expected import read_expected
from tests.support.mcp.clients import answer, call, data_of, text_of

TOWN = {
    "type": "object",
    "properties": {"town": {"type": "string", "pattern": "^[A-Z]"}, "people": {"type": "integer"}},
    "required": ["town", "people"],
    "additionalProperties": False,
}


def schema_format(schema: Any = TOWN) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "town", "schema": schema}}


async def test_options_are_passed_on_like_the_other_fields_of_a_request(upstream: Sandbox) -> None:
    """G4, G9."""
    options = {
        "provider": {"order": ["a", "b"], "max_price": {"prompt": 1}},
        "zdr": True,
        "data_collection": "deny",
        "seed": 7,
        "plugins": [{"id": "web"}],
        "preset": "mine",
        "tool_choice": "auto",
        "sort": "price",
        "brand_new": {"x": 1},
        "stop": None,
    }
    await call(upstream, "llm_chat", {"prompt": "hi", "temperature": 0.5, "options": json.dumps(options)})
    assert upstream.calls[0].json == {
        "model": "sandbox/echo",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "temperature": 0.5,
        "provider": {
            "order": ["a", "b"],
            "max_price": {"prompt": 1},
            "zdr": True,
            "data_collection": "deny",
            "sort": "price",
        },
        "seed": 7,
        "plugins": [{"id": "web"}],
        "preset": "mine",
        "tool_choice": "auto",
        "brand_new": {"x": 1},
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"respone_format": {}}, "did you mean response_format?"),
        ({"maxTokens": 5}, "did you mean max_tokens?"),
        ({"messages": []}, "argument of the tool"),
        ({"zdr": True, "provider": {"zdr": False}}, "provider.zdr"),
        ({"zdr": True, "provider": "x"}, "must be an object"),
        ({"sort": "price", "provider": {"sort": "latency"}}, "provider.sort"),
        ({"temperature": 1}, "options.temperature"),
        ({"seed": 10**400}, None),
        ("fast", "object"),
        ([1], "object"),
    ],
)
async def test_options_that_cannot_be_meant_are_refused_before_anything_is_sent(
    upstream: Sandbox, options: Any, said: str | None
) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "hi", "temperature": 0.5, "options": options})
    if said is None:
        return  # a number that upstream judges
    assert result.is_error
    assert said in text_of(result)
    assert not upstream.calls


async def test_tools_that_are_offered_come_back_as_calls(upstream: Sandbox) -> None:
    """G9."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    result = await call(
        upstream, "llm_chat", {"prompt": "hi", "model": "sandbox/tools", "options": {"tools": [tool]}}
    )
    [asked] = data_of(result)["tool_calls"]
    assert asked["function"]["name"] == "weather"
    assert "Tool call: weather" in text_of(result)


@pytest.mark.parametrize("text", ['{"town": "Bern", "people": 7}', '```json\n{"town": "Bern", "people": 7}\n```'])
async def test_an_answer_that_keeps_to_its_schema_is_given_as_a_value_too(upstream: Sandbox, text: str) -> None:
    """G6."""
    upstream.script(answer(text))
    result = await call(
        upstream, "llm_chat", {"prompt": "hi", "model": "acme/m", "options": {"response_format": schema_format()}}
    )
    assert upstream.calls[0].json["response_format"] == schema_format()
    assert data_of(result)["parsed"] == {"town": "Bern", "people": 7}
    assert "note" not in data_of(result)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"town": "Bern"}', "'people' is a required property"),
        ('{"town": "bern", "people": 7}', "does not match"),
        ('{"town": "Bern", "people": 7, "x": 1}', "'x' was unexpected"),
        ("Bern, I think", "not JSON"),
        ("[1, NaN]", "not JSON"),
    ],
)
async def test_an_answer_that_does_not_is_told_and_kept(upstream: Sandbox, text: str, said: str) -> None:
    upstream.script(answer(text))
    result = await call(
        upstream, "llm_chat", {"prompt": "hi", "model": "acme/m", "options": {"response_format": schema_format()}}
    )
    assert not result.is_error
    assert "parsed" not in data_of(result)
    assert data_of(result)["text"] == text
    assert said in data_of(result)["note"]
    assert said in text_of(result)


@pytest.mark.parametrize("text", ["[]", "null", "0", '""', "{}", "false"])
async def test_any_value_counts_as_one(upstream: Sandbox, text: str) -> None:
    upstream.script(answer(text))
    options = {"response_format": {"type": "json_object"}}
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "acme/m", "options": options})
    assert data_of(result)["parsed"] == json.loads(text)


@pytest.mark.parametrize(
    ("response_format", "said"),
    [
        ("json", "must be"),
        ({"type": "json_schema"}, "json_schema must be"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "name is required"),
        (schema_format({"type": "obejct"}), "no JSON schema"),
        (schema_format({"properties": []}), "no JSON schema"),
        (schema_format({"enum": ["x" * 200_000]}), "larger than"),
    ],
)
async def test_a_format_that_is_none_is_refused_before_it_is_paid_for(
    upstream: Sandbox, response_format: Any, said: str
) -> None:
    options = {"response_format": response_format}
    result = await call(upstream, "llm_chat", {"prompt": "hi", "options": options})
    assert result.is_error
    assert said in text_of(result)
    assert not upstream.calls


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$"},  # takes for ever where patterns are tried one way after another
        {"$ref": "https://example.invalid/schema.json"},
        {"$ref": "#"},
        {"$ref": "#/$defs/nothing"},
        {
            "$ref": "#/$defs/a0",
            "$defs": {
                **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)},
                "a40": {"type": "string"},
            },
        },
        {"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"type": "string", "pattern": "(?!x)"},  # unknown to the machine that tries patterns
    ],
)
def test_a_check_comes_to_an_end_and_fetches_nothing(schema: dict[str, Any]) -> None:
    read_expected(json.dumps("a" * 40 + "!"), schema_format(schema))
    read_expected(json.dumps({"a" * 40 + "!": 1}), schema_format(schema))

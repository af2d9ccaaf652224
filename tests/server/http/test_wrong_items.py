"""Bodies and queries with a great many wrong things in them: the first are named, all are counted."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Sandbox
from client.upstream.request import InvalidRequest, build_chat_call
from server.config import Config
from tests.support.mcp.clients import call, modern, text_of
from tests.support.serving import Api, changed, serving

MANY = 30_000
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "numbers for messages": ({"messages": [1] * MANY}, "messages.0: should be a valid dictionary"),
    "lists for messages": ({"messages": [[]] * MANY}, "messages.0: should be a valid dictionary"),
    "empty turns": ({"message": "x", "history": [{}] * MANY}, "history.0.role: Field required"),
    "turns without content": ({"message": "x", "history": [{"role": "user"}] * MANY}, "history.0.content"),
    "numbers for turns": ({"message": "x", "history": [1] * MANY}, "history.0"),
    "numbers for fallbacks": ({"message": "x", "fallbacks": [1] * MANY}, "fallbacks.0: should be a valid string"),
    "null for providers": ({"message": "x", "providers": [None] * MANY}, "providers.0: should be a valid string"),
    "lists in a list": ({"message": "x", "providers": [[1] * 9] * MANY}, "providers.0: should be a valid string"),
    "right ones first": ({"messages": [{}] * 50_000 + [1] * MANY}, "messages.50000: should be a valid dictionary"),
}


@pytest.fixture
async def roomy(config: Config) -> AsyncIterator[Api]:
    async with serving(changed(config, "server", max_body_bytes=1_000_000)) as running:
        yield running


@pytest.mark.parametrize("name", WRONG)
async def test_break_it_1_of_many_wrong_items_the_first_are_named(upstream: Sandbox, roomy: Api, name: str) -> None:
    body, said = WRONG[name]
    response, found = await roomy.request("POST", "/chat", json.dumps(body).encode(), Content_Type="application/json")
    error = json.loads(found)
    assert (response.status, error["type"]) == (422, "invalid_request")
    assert len(error["details"]) <= 21
    assert "has 30,000 wrong items; the first are named" in error["error"]
    assert said in error["error"]
    assert len(found) < 5000
    assert not upstream.requests


@pytest.mark.parametrize("name", WRONG)
def test_break_it_1_checking_takes_no_memory_for_each_wrong_item(name: str) -> None:
    body, _ = WRONG[name]
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest):
            build_chat_call(body, (), default_model="a/b", max_grace_s=600)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MANY  # less than a byte an item


def test_break_it_1_an_object_of_unknown_keys_goes_through() -> None:
    body = {"message": "x", **{f"key-{number}": number for number in range(MANY)}}
    found = build_chat_call(body, (), default_model="a/b", max_grace_s=600).body
    assert found["key-29999"] == 29_999


async def test_break_it_1_wrong_things_in_several_fields_are_all_counted(roomy: Api) -> None:
    body = {"message": "x", "fallbacks": [1] * 50, "providers": [None] * 30, "stream": "maybe"}
    _, found = await roomy.request("POST", "/chat", json.dumps(body).encode(), Content_Type="application/json")
    error = json.loads(found)
    assert len(error["details"]) <= 21
    for said in ("fallbacks: has 50 wrong items", "providers: has 30 wrong items", "more problems like these"):
        assert said in error["error"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/chat"), ("GET", "/models/search"), ("GET", "/usage")])
async def test_break_it_1_of_many_unknown_parameters_the_first_are_named(api: Api, method: str, path: str) -> None:
    query = "&".join(f"{number:x}" for number in range(1500))
    response, found = await api.request(
        method, f"{path}?{query}", b'{"message":"x"}', Content_Type="application/json"
    )
    error = json.loads(found)
    assert response.status == 422
    assert len(error["details"]) == 21
    assert error["details"][0]["where"] == "query.0"
    assert "has 1,480 more problems like these" in error["error"]
    assert len(found) < 20_000


async def test_break_it_1_a_parameter_with_a_long_name_is_cut(api: Api) -> None:
    response, found = await api.request("GET", "/models/search?" + "a" * 5000)
    assert response.status == 422
    assert len(found) < 2000


async def test_break_it_1_of_a_tools_many_wrong_arguments_the_first_are_named(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {"messages": [1] * MANY})
    said = text_of(result)
    assert result.is_error
    assert "messages: has 30,000 wrong items" in said
    assert "messages.0: must be an object" in said
    assert len(said) < 3000


@pytest.mark.parametrize(
    "arguments",
    [
        '{"prompt": "x", "temperature": 1e400}',
        '{"prompt": "x", "temperature": -1e400}',
        '{"messages": [{"role": "user", "content": "x", "a": [1.5, {"b": 1e999}]}]}',
    ],
)
async def test_faults_i3_a_tool_takes_no_number_beyond_every_number(
    upstream: Sandbox, roomy: Api, arguments: str
) -> None:
    message, headers = modern(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "llm_chat", "arguments": "here"}}
    )
    body = json.dumps(message).replace('"here"', arguments).encode()
    async with roomy.http.post(f"{roomy.url}/mcp", data=body, headers=headers) as response:
        found = await response.text()
    assert '"isError":true' in found.replace(" ", "")
    assert "number" in found
    assert not upstream.requests


@pytest.mark.parametrize("blank", [None, "", "null"])
async def test_a_tools_number_may_be_left_blank(upstream: Sandbox, blank: Any) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "x", "temperature": blank})
    assert not result.is_error, text_of(result)

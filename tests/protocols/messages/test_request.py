"""A request in the words of Messages, for an upstream that speaks chat completions alone; the count of its tokens."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from client.border.json_codec import encode_json
from client.errors import Detail
from client.sandbox import Reply, Sandbox
from client.upstream.request import InvalidRequest
from server.config import Config
from server.protocols.messages.asked.chat_request import chat_body_of
from server.protocols.messages.asked.count import estimated_tokens
from server.protocols.messages.asked.request import messages_call_of
from server.protocols.messages.thinking import data_of, signature_of
from tests.support.chunks import END, STOP, text
from tests.support.messages import ASKED, ask, ask_whole
from tests.support.serving import Api, serving

FORMAT = "anthropic-claude-v1"
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
MARK = {"type": "ephemeral"}


def translated(**body: Any) -> dict[str, Any]:
    """The body for chat completions, without what every one has."""
    problems: list[Detail] = []
    found = chat_body_of({"messages": [{"role": "user", "content": "Why?"}], **body}, problems)
    assert not problems
    assert found.pop("stream") is True
    assert found.pop("stream_options") == {"include_usage": True}
    return found


def turns(*messages: dict[str, Any], **body: Any) -> list[Any]:
    return list(translated(messages=list(messages), **body)["messages"])


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **more}


def result(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t", "content": content, **more}


def test_text_stays_text() -> None:
    assert turns({"role": "user", "content": "Hi"}) == [{"role": "user", "content": "Hi"}]
    assert turns(user(said("Hi"))) == [{"role": "user", "content": "Hi"}]
    assert turns(user(said("a"), said("b"))) == [user(said("a"), said("b"))]
    assert turns(assistant(said("a"), said("b"))) == [{"role": "assistant", "content": "ab"}]
    assert turns({"role": "assistant", "content": ""}) == [{"role": "assistant", "content": ""}]


def test_instructions_come_first_and_may_come_again() -> None:
    system = [said("a", cache_control=MARK), said("b")]
    found = turns({"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief"}, system=system)
    assert found == [
        {"role": "system", "content": system},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Be brief"},
    ]
    assert turns(user(said("Hi")), system="a")[0] == {"role": "system", "content": "a"}


def test_pictures_and_documents() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    blocks = [
        {**PICTURE, "cache_control": MARK},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        {"type": "document", "source": pdf, "title": "b.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "so"}, "title": "T"},
        {"type": "document", "source": {"type": "content", "content": [said("in"), PICTURE]}},
        {"type": "search_result", "source": "s", "title": "t", "content": [said("found")]},
    ]
    assert turns(user(*blocks))[0]["content"] == [
        {**SHOWN, "cache_control": MARK},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "file", "file": {"filename": "b.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://a.example/b.pdf"}},
        said("T\nso"),
        said("in"),
        SHOWN,
        said("t\ns\nfound"),
    ]


def test_calls_and_their_results() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    bare = {"type": "tool_use", "id": "u", "name": "g", "input": {}}
    found = turns(
        assistant(said("Let me see."), call, bare),
        user(said("Be brief."), result("high"), {**result([said("x"), said("y")]), "tool_use_id": "u"}),
    )
    assert found == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "u", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t", "content": "high"},
        {"role": "tool", "tool_call_id": "u", "content": "x\ny"},
        {"role": "user", "content": "Be brief."},
    ]
    assert turns(assistant(call))[0]["content"] is None


def test_results_that_fail_or_show_something() -> None:
    assert turns(user(result("no", is_error=True))) == [
        {"role": "tool", "tool_call_id": "t", "content": "Error: no"},
    ]
    assert turns(user(result(None))) == [{"role": "tool", "tool_call_id": "t", "content": ""}]
    named = said("From the result of the tool call t:")
    shown = turns(user(result([PICTURE])))
    assert shown[0]["content"] == "The result follows in the next message."
    assert shown[1] == user(named, SHOWN)
    assert turns(user(result([said("x"), PICTURE]), said("Look"))) == [
        {"role": "tool", "tool_call_id": "t", "content": "x"},
        user(named, SHOWN, said("Look")),
    ]


def test_thinking_goes_back_with_its_signature() -> None:
    """trap 4: also where it came late, as a block of its own."""
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    redacted = {"type": "redacted_thinking", "data": "d"}
    assert turns(assistant(signed, redacted, said("Hi")))[0] == {
        "role": "assistant",
        "content": "Hi",
        "reasoning_details": [
            {"type": "reasoning.text", "signature": "s", "format": FORMAT, "text": "hm", "index": 0},
            {"type": "reasoning.encrypted", "data": "d", "format": FORMAT, "index": 1},
        ],
    }
    late = [{**signed, "signature": ""}, said("Hi"), {**signed, "thinking": ""}]
    assert turns(assistant(*late))[0]["reasoning_details"] == [
        {"type": "reasoning.text", "signature": "s", "format": FORMAT, "text": "hm", "index": 0}
    ]
    unsigned = turns(assistant({"type": "thinking", "thinking": "hm", "signature": ""}, said("Hi")))[0]
    assert unsigned == {"role": "assistant", "content": "Hi", "reasoning": "hm"}


def test_thinking_of_other_makers_comes_back_whole() -> None:
    summary = {
        "type": "reasoning.summary",
        "summary": "hm",
        "id": "rs_1",
        "format": "openai-responses-v1",
        "index": 0,
    }
    sealed = {"type": "reasoning.encrypted", "data": "d", "id": "rs_1", "format": "openai-responses-v1", "index": 0}
    odd = {"type": "reasoning.server_tool_call", "call": {"a": [1]}, "index": 1}
    block = {"type": "thinking", "thinking": "hm", "signature": signature_of(summary)}
    hidden = [{"type": "redacted_thinking", "data": data_of(entry)} for entry in (sealed, odd)]
    assert turns(assistant(block, *hidden))[0]["reasoning_details"] == [summary, sealed, odd]
    broken = {"type": "redacted_thinking", "data": "or1.%"}
    assert turns(assistant(broken))[0]["reasoning_details"][0]["data"] == "or1.%"


def test_tools_and_the_choice_of_them() -> None:
    schema = {"type": "object"}
    tool = {"name": "f", "description": "d", "input_schema": schema, "cache_control": MARK, "strict": None}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    found = translated(tools=[tool, search], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    function = {"name": "f", "description": "d", "parameters": schema}
    assert found["tools"] == [{"type": "function", "function": function}, {"type": "openrouter:web_search"}]
    assert (found["tool_choice"], found["parallel_tool_calls"]) == ("required", False)
    for choice, expected in (
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ):
        assert translated(tools=[tool], tool_choice=choice)["tool_choice"] == expected
    assert "tool_choice" not in translated(tool_choice={"type": "auto"})


def test_deferred_tools_come_once_they_are_known() -> None:
    """Claude Code's search for tools answers with references to them."""
    names = ("ToolSearch", "a", "b")
    tools = [{"name": name, "input_schema": dict[str, Any](), "defer_loading": name != names[0]} for name in names]
    found = translated(tools=tools, messages=[user(result([{"type": "tool_reference", "tool_name": "b"}]))])
    assert [tool["function"]["name"] for tool in found["tools"]] == ["ToolSearch", "b"]
    assert found["messages"] == [{"role": "tool", "tool_call_id": "t", "content": "The tool b can be called now."}]


@pytest.mark.parametrize(
    ("body", "reasoning"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"max_tokens": 2000}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, {"enabled": True}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, {"effort": "high"}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, {"enabled": False}),
        ({"output_config": {"effort": "low"}}, {"effort": "low"}),
    ],
)
def test_thinking_is_asked_for(body: dict[str, Any], reasoning: Any) -> None:
    assert translated(**body).get("reasoning") == reasoning


def test_other_fields() -> None:
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    found = translated(
        max_tokens=5,
        temperature=0.5,
        top_k=3,
        stop_sequences=["x"],
        metadata={"user_id": "u"},
        output_config={"format": schema},
        provider={"order": ["a"]},
        context_management={"edits": []},
        service_tier="auto",
    )
    del found["messages"]
    answer = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert found == {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_k": 3,
        "stop": ["x"],
        "user": "u",
        "response_format": {"type": "json_schema", "json_schema": answer},
        "provider": {"order": ["a"]},
    }


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0"),
        ({"mcp_servers": [{"url": "https://a.example"}]}, "mcp_servers"),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            "messages.0.content.0.source",
        ),
        ({"messages": [user({"type": "hologram"})]}, "messages.0.content.0"),
        ({"messages": [user(said("x")), {"role": "user", "content": 5}]}, "messages.1.content"),
        ({"messages": ["x"]}, "messages.0"),
    ],
)
def test_what_has_no_translation_is_named(body: dict[str, Any], where: str) -> None:
    problems: list[Detail] = []
    chat_body_of({"messages": [user(said("x"))], **body}, problems)
    assert [problem.where for problem in problems] == [where]


def test_what_other_upstreams_have_run_is_left_out() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        said("So."),
    ]
    assert turns(assistant(*blocks)) == [{"role": "assistant", "content": "So."}]


def test_tokens_are_a_quarter_of_the_bytes_of_text() -> None:
    assert estimated_tokens({"messages": []}) == 1
    assert estimated_tokens({"messages": [{"role": "user", "content": "x" * 400}]}) == 100
    assert estimated_tokens({"system": [said("ä" * 200)], "messages": []}) == 100
    tools = [{"name": "f" * 40, "description": "d" * 40, "input_schema": {"p" * 40: {"q": "r" * 40}}}]
    assert 40 <= estimated_tokens({"messages": [], "tools": tools}) <= 50
    huge = {**PICTURE, "source": {**PICTURE["source"], "data": "A" * 10**6}}  # type: ignore[dict-item]
    assert estimated_tokens({"messages": [user(huge, result([huge]))]}) == 3200
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert estimated_tokens({"messages": deep}) == 1


def test_passing_on_changes_nothing_but_the_model_and_the_stream() -> None:
    body = {"messages": [user({"type": "hologram"})], "new": 1, "grace_s": 5}
    call = messages_call_of(body, default_model="a/b", max_grace_s=10, passes=True)
    assert call.body == {"messages": body["messages"], "new": 1, "model": "a/b", "stream": True}
    assert (call.stream, call.grace_s, call.upstream_protocol) == (False, 5.0, "messages")


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    async with serving(config) as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "x"},
        {"model": 5},
        {"stream": "yes"},
        {"grace_s": -1},
        {"tools": [{"type": "x"}]},
    ],
)
async def test_a_wrong_request_is_a_400_in_anthropics_words(body: dict[str, Any], api: Api) -> None:
    response, found = await ask_whole(api, **body)
    assert response.status == 400
    assert (found["type"], found["error"]["type"]) == ("error", "invalid_request_error")
    (where,) = body
    assert found["error"]["metadata"]["details"][0]["where"].startswith(where)


async def test_a_translated_request_reaches_upstream(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "b"}
    await ask(api, headers=headers, system="Be brief", stop_sequences=["x"])
    (call,) = upstream.calls
    assert call.path == "/chat/completions"
    assert call.json["messages"][0] == {"role": "system", "content": "Be brief"}
    assert call.json["stop"] == ["x"]
    assert not set(headers) & {name.lower() for name in call.headers}


@pytest.mark.parametrize("mount", ["/v1", "/api/v1", "/v1/"])
async def test_tokens_are_counted_here(mount: str, api: Api, upstream: Sandbox) -> None:
    data = json.dumps(ASKED).encode()
    response, body = await api.request(
        "POST", f"{mount}/messages/count_tokens", data, Content_Type="application/json"
    )
    assert (response.status, json.loads(body)) == (200, {"input_tokens": 1})
    response, body = await api.request(
        "POST", f"{mount}/messages/count_tokens", b"{}", Content_Type="application/json"
    )
    assert (response.status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")
    assert not upstream.requests


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    "x",
    "",
    [],
    {},
    [None],
    ["x"],
    [{}],
    {"type": "text"},
    {"type": {}},
    "\ud800",
)
FULL: dict[str, Any] = {
    "model": "a/b",
    "models": ["c"],
    "fallbacks": [{"model": "x"}],
    "max_tokens": 10,
    "system": [said("s", cache_control=MARK)],
    "messages": [
        user(
            said("t"),
            PICTURE,
            {"type": "document", "title": "t", "source": {"type": "content", "content": [said("x")]}},
            {"type": "search_result", "source": "s", "title": "t", "content": [said("x")]},
        ),
        assistant(
            {"type": "thinking", "thinking": "h", "signature": signature_of({"type": "reasoning.text", "id": "i"})},
            {"type": "redacted_thinking", "data": data_of([])},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ),
        user(result([said("r"), {"type": "tool_reference", "tool_name": "q"}, PICTURE], is_error=True)),
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "defer_loading": True},
        {"type": "web_search_20250305", "name": "w"},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 5},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "stop_sequences": ["a"],
    "metadata": {"user_id": "u"},
}


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*place, key))


def _changed(place: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    body = copy.deepcopy(FULL)
    holder: Any = body
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = odd
    return body


def test_whatever_stands_anywhere_a_request_is_taken_or_refused() -> None:
    assert len(list(_places(FULL))) > 80
    for place in _places(FULL):
        for odd in ODD:
            body = _changed(place, odd)
            assert estimated_tokens(body) > 0
            with suppress(InvalidRequest):
                call = messages_call_of(body, default_model="a/b", max_grace_s=10, passes=False)
                assert encode_json(call.body)


@pytest.mark.parametrize("kind", ["document", "search_result", "tool_result"])
def test_blocks_in_blocks_have_an_end(kind: str) -> None:
    block: dict[str, Any] = said("x")
    for _ in range(5000):
        block = {"type": kind, "content": [block], "source": {"type": "content", "content": [block]}}
    with suppress(InvalidRequest):
        messages_call_of({"messages": [user(block)]}, default_model="a/b", max_grace_s=10, passes=False)

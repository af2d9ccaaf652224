"""What OpenRouter is asked when somebody asks in the words of Responses."""

from __future__ import annotations

from typing import Any

import pytest

from client.upstream.request import InvalidRequest
from server.protocols.responses.asked.request import response_call_of
from server.protocols.responses.reasoning import sealed

URL = "data:image/png;base64,iVBORw0KGgo="
SIGNED = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "tide", "arguments": '{"a": 1}'}
CALLED = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"a": 1}'}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "high"}
TOOL = {"role": "tool", "tool_call_id": "c1", "content": "high"}


def body_of(**asked: Any) -> dict[str, Any]:
    """What goes upstream."""
    return response_call_of({"input": "Hi", **asked}, default_model="acme/default", max_grace_s=60).body


def messages_of(*items: dict[str, Any], **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(input=list(items), **asked)["messages"]
    return found


def said(text: str, role: str = "assistant") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def test_the_least_that_can_be_asked() -> None:
    assert body_of() == {
        "model": "acme/default",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    call = response_call_of({"input": "Hi", "model": "acme/m"}, default_model="x", max_grace_s=60)
    assert (call.body["model"], call.stream, call.grace_s) == ("acme/m", False, None)


def test_fields_go_on_under_the_names_of_chat_completions() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    found = body_of(
        instructions="Be brief.",
        max_output_tokens=9,
        text={"format": schema, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "auto"},
        temperature=0.5,
        provider={"order": ["acme"]},
        odd={"kept": 1},
        metadata={"a": "b"},
        top_logprobs=2,
        parallel_tool_calls=False,
        include=["reasoning.encrypted_content"],
        store=False,
        background=True,
        truncation="auto",
        client_metadata={"x": "y"},
        service_tier=None,
        grace_s=3,
    )
    assert found.pop("messages")[0] == {"role": "system", "content": "Be brief."}
    assert found == {
        "model": "acme/default",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "verbosity": "low",
        "reasoning": {"effort": "high"},
        "temperature": 0.5,
        "provider": {"order": ["acme"]},
        "odd": {"kept": 1},
        "metadata": {"a": "b"},
        "logprobs": True,
        "top_logprobs": 2,
        "parallel_tool_calls": False,
    }
    assert "response_format" not in body_of(text={"format": {"type": "text"}})
    assert body_of(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "reasoning" not in body_of(reasoning={"summary": "auto", "effort": None})
    assert body_of(include=["message.output_text.logprobs"])["logprobs"] is True


def test_messages_and_their_parts() -> None:
    pdf = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}
    user = {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What?", "cache_control": {"type": "ephemeral"}},
            {"type": "input_image", "image_url": URL, "detail": "high"},
            {"type": "input_image", "image_url": "https://a.example/b.png"},
            {"type": "input_file", **pdf},
            {"type": "input_file", "file_url": "https://a.example/c.pdf"},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        ],
    }
    found = messages_of(said("S", "system"), said("D", "developer"), {"role": "user", "content": "plain"}, user)
    assert found[:3] == [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": "D"},
        {"role": "user", "content": "plain"},
    ]
    assert found[3]["content"] == [
        {"type": "text", "text": "What?", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": URL, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "file", "file": pdf},
        {"type": "file", "file": {"file_data": "https://a.example/c.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    refused = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages_of(refused) == [{"role": "assistant", "content": "No."}]


def test_a_turn_is_one_message_with_its_thinking_and_its_calls() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed([SIGNED])}
    second = {**CALL, "call_id": "c2"}
    found = messages_of(said("Hi", "user"), thought, said("Look."), CALL, second, OUTPUT, said("High."))
    assert found == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Look.",
            "tool_calls": [CALLED, {**CALLED, "id": "c2"}],
            "reasoning_details": [SIGNED],
        },
        TOOL,
        {"role": "assistant", "content": "High."},
    ]
    assert messages_of(CALL, OUTPUT)[0] == {"role": "assistant", "content": None, "tool_calls": [CALLED]}
    around = messages_of(said("Hi"), CALL, said("!"), OUTPUT)
    assert around == [{"role": "assistant", "content": "Hi!", "tool_calls": [CALLED]}, TOOL]
    assert [each["content"] for each in messages_of(said("a"), said("b"))] == ["a", "b"]


def test_thinking_of_several_items_goes_back_as_the_model_gave_it() -> None:
    text = {name: SIGNED[name] for name in ("type", "text", "format", "index")}
    late = {name: SIGNED[name] for name in ("type", "signature", "format", "index")}
    items = [{"type": "reasoning", "id": f"rs_{each}", "encrypted_content": sealed([each])} for each in (text, late)]
    (message,) = messages_of(items[0], said("Hi"), items[1])
    assert message == {"role": "assistant", "content": "Hi", "reasoning_details": [SIGNED]}
    repeated = {"type": "reasoning", "id": "rs_0", "summary": [{"type": "summary_text", "text": "hm"}]}
    (message,) = messages_of(repeated, said("Hi"), {"type": "reasoning", "encrypted_content": sealed([SIGNED])})
    assert message == {"role": "assistant", "content": "Hi", "reasoning_details": [SIGNED]}


def test_thinking_of_another_server_goes_on_as_such() -> None:
    summary = [{"type": "summary_text", "text": "hm"}]
    foreign = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "Z0FB"}
    (message,) = messages_of(foreign, CALL)
    assert message["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "hm", "format": "openai-responses-v1", "index": 0, "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "Z0FB", "format": "openai-responses-v1", "index": 1, "id": "rs_1"},
    ]
    (message,) = messages_of({"type": "reasoning", "id": "rs_1", "summary": summary}, said("Hi"))
    assert message["reasoning"] == "hm"
    assert [each["summary"] for each in message["reasoning_details"]] == ["hm"]
    broken = {"type": "reasoning", "summary": [], "encrypted_content": "reasoning_details:!"}
    (message,) = messages_of(broken, said("Hi"))
    assert message["reasoning_details"][0]["data"] == "reasoning_details:!"
    assert messages_of({"type": "reasoning", "summary": summary}, said("Hi", "user")) == [
        {"role": "user", "content": "Hi"}
    ]


def test_outputs_of_calls() -> None:
    parts = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": URL}]
    found = messages_of({**OUTPUT, "output": parts}, {**OUTPUT, "output": [{"type": "output_text", "text": "t"}]})
    assert found[0]["content"] == [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": URL}}]
    assert found[1]["content"] == "t"
    assert messages_of({**OUTPUT, "output": {"a": 1}})[0]["content"] == '{"a":1}'
    picture = {"type": "image_generation_call", "id": "ig_1", "result": "iVBORw0KGgo=", "output_format": "webp"}
    (message,) = messages_of(picture)
    assert message["images"][0]["image_url"]["url"] == "data:image/webp;base64,iVBORw0KGgo="
    assert messages_of({"type": "web_search_call", "id": "ws_1"}, said("Hi")) == [
        {"role": "assistant", "content": "Hi"}
    ]


FUNCTION = {"type": "function", "name": "tide", "description": "d", "parameters": {"type": "object"}, "strict": None}
NESTED = {"type": "function", "function": {"name": "tide", "description": "d", "parameters": {"type": "object"}}}


def test_tools_that_can_be_had() -> None:
    search = {
        "type": "web_search",
        "search_context_size": "low",
        "filters": {"allowed_domains": ["a.example"]},
    }
    found = body_of(tools=[FUNCTION, search, {"type": "web_search_preview"}, {"type": "openrouter:datetime"}])
    assert found["tools"] == [
        NESTED,
        {
            "type": "openrouter:web_search",
            "parameters": {"search_context_size": "low", "allowed_domains": ["a.example"]},
        },
        {"type": "openrouter:web_search"},
        {"type": "openrouter:datetime"},
    ]
    assert body_of(tools=[NESTED])["tools"] == [NESTED]
    assert body_of(tools=[])["tools"] == []


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "tide"}, {"type": "function", "function": {"name": "tide"}}),
        ({"type": "web_search_preview"}, {"type": "openrouter:web_search"}),
    ],
)
def test_which_tool_shall_be_called(choice: Any, told: Any) -> None:
    assert body_of(tools=[FUNCTION], tool_choice=choice)["tool_choice"] == told


def test_some_of_the_tools_alone_may_be_called() -> None:
    other = {**FUNCTION, "name": "other"}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "tide"}]}
    found = body_of(tools=[other, FUNCTION], tool_choice=allowed)
    assert (found["tools"], found["tool_choice"]) == ([NESTED], "required")


UNABLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "namespace": ({"tools": [{"type": "namespace", "name": "shell", "tools": []}]}, "tools.0", "namespace 'shell'"),
    "custom": ({"tools": [FUNCTION, {"type": "custom", "name": "patch"}]}, "tools.1", "custom 'patch'"),
    "local_shell": ({"tools": [{"type": "local_shell"}]}, "tools.0", "local_shell"),
    "mcp": ({"tools": [{"type": "mcp", "server_label": "m"}]}, "tools.0", "mcp 'm'"),
    "nameless": ({"tools": [{"type": "function"}]}, "tools.0.name", "has a name"),
    "no list": ({"tools": {}}, "tools", "a list"),
    "no object": ({"tools": ["x"]}, "tools.0", "an object"),
    "choice": ({"tool_choice": {"type": "custom", "name": "p"}}, "tool_choice", "custom 'p'"),
    "allowed": ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools", "a list"),
    "no input": ({"input": None}, "input", "is missing"),
    "empty input": ({"input": []}, "input", "is missing"),
    "odd item": ({"input": ["x"]}, "input.0", "an object"),
    "unknown item": ({"input": [{"type": "computer_call"}]}, "input.0", "computer_call"),
    "reference": ({"input": [{"type": "item_reference", "id": "msg_7"}]}, "input.0", "msg_7"),
    "role": ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role", "one of user"),
    "part": ({"input": [{"role": "user", "content": [{"type": "hologram"}]}]}, "input.0.content.0", "hologram"),
    "no part": ({"input": [{"role": "user", "content": [1]}]}, "input.0.content.0", "an object"),
    "no content": ({"input": [{"role": "user", "content": 5}]}, "input.0.content", "text or a list"),
    "file id": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "input.0.content.0",
        "by id",
    ),
    "call": ({"input": [{"type": "function_call", "arguments": "{}"}]}, "input.0", "call_id"),
    "output": ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id", "is missing"),
    "instructions": ({"instructions": 5}, "instructions", "must be text"),
    "model": ({"model": ""}, "model", "model id"),
    "stream": ({"stream": "yes"}, "stream", "true or false"),
    "background": ({"background": 1}, "background", "true or false"),
    "text": ({"text": "x"}, "text", "an object"),
    "reasoning": ({"reasoning": "x"}, "reasoning", "an object"),
    "grace": ({"grace_s": -1}, "grace_s", "a number"),
    "previous": ({"previous_response_id": "resp_1"}, "previous_response_id", "no turns are stored"),
    "conversation": ({"conversation": "conv_1"}, "conversation", "no conversations"),
    "prompt": ({"prompt": {"id": "p"}}, "prompt", "no prompts"),
}


@pytest.mark.parametrize("name", UNABLE)
def test_what_cannot_be_had_is_named(name: str) -> None:
    asked, where, what = UNABLE[name]
    with pytest.raises(InvalidRequest) as refused:
        body_of(**asked)
    assert refused.value.details[0].where == where
    assert what in refused.value.details[0].what


def test_long_fields_are_not_kept_for_the_answer() -> None:
    call = response_call_of(
        {
            "input": "Hi",
            "metadata": {"a": "b"},
            "temperature": 1,
            "tools": [{**FUNCTION, "description": "d" * 40_000}],
        },
        default_model="m",
        max_grace_s=0,
    )
    assert call.asked == b'{"metadata":{"a":"b"},"temperature":1}'
    call = response_call_of({"input": "Hi", "instructions": "i" * 40_000}, default_model="m", max_grace_s=0)
    assert call.asked == b"{}"

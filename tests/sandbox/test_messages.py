"""Anthropic's Messages at the sandbox: what OpenRouter's own route sends, and what it leaks."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest

from client.sandbox import COMMENT, Sandbox
from client.sandbox.models.answers import sign_thinking
from client.sandbox.protocols.messages import LEAKED

TOOL = {"name": "get_tide", "input_schema": {"type": "object", "properties": {"port": {"type": "string"}}}}
_EVENT = re.compile(rb"event: (\w+)\ndata: ([^\n]*)\n\n")


def question(model: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": f"sandbox/{model}",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "sandbox": {"tokens_per_s": 0, **fields.pop("sandbox", {})},
        "stream": True,
        **fields,
    }


async def ask(http: aiohttp.ClientSession, model: str, **fields: Any) -> bytes:
    async with http.post("messages", json=question(model, **fields)) as response:
        assert response.status == 200
        return await response.read()


async def events(http: aiohttp.ClientSession, model: str, **fields: Any) -> list[dict[str, Any]]:
    body = await ask(http, model, **fields)
    assert body.startswith(COMMENT)
    assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n' + LEAKED)
    named = [(name.decode(), json.loads(data)) for name, data in _EVENT.findall(body.removesuffix(LEAKED))]
    assert all(name == event["type"] for name, event in named)
    assert [event["type"] for _, event in named[:2]] == ["message_start", "ping"]
    return [event for _, event in named]


def joined(found: list[dict[str, Any]], name: str) -> str:
    return "".join(event["delta"].get(name, "") for event in found if event["type"] == "content_block_delta")


async def test_thinking_is_signed_and_wanted_back(http: aiohttp.ClientSession) -> None:
    found = await events(http, "reasoner")
    thinking = joined(found, "thinking")
    assert joined(found, "signature") == sign_thinking(thinking)
    assert [event["content_block"]["type"] for event in found if "content_block" in event] == ["thinking", "text"]
    assert found[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert found[-2]["usage"]["cost"] > 0
    assert found[-2]["usage"]["input_tokens"] == found[0]["message"]["usage"]["input_tokens"] > 0
    block = {"type": "thinking", "thinking": thinking, "signature": sign_thinking(thinking)}
    said = {"role": "assistant", "content": [block, {"type": "text", "text": "So."}]}
    turns = [{"role": "user", "content": "Why?"}, said, {"role": "user", "content": "Really?"}]
    assert "Really?" in joined(await events(http, "reasoner", messages=turns), "text")
    said["content"][0]["thinking"] = "altered"  # type: ignore[index]
    async with http.post("messages", json=question("reasoner", messages=turns)) as response:
        assert response.status == 400
        assert "Invalid `signature`" in (await response.json())["error"]["message"]


async def test_thinking_can_be_switched_off(http: aiohttp.ClientSession) -> None:
    assert joined(await events(http, "reasoner", thinking={"type": "disabled"}), "thinking") == ""


async def test_a_tool_is_called_and_its_result_told(http: aiohttp.ClientSession) -> None:
    found = await events(http, "tools", tools=[TOOL])
    block = next(event["content_block"] for event in found if "content_block" in event)
    call = {**block, "input": json.loads(joined(found, "partial_json"))}
    assert block["name"] == "get_tide"
    assert found[-2]["delta"]["stop_reason"] == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "high at noon"}
    turns = [
        {"role": "user", "content": "Tide?"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "Be brief."}]},
    ]
    told = await events(http, "tools", tools=[TOOL], messages=turns)
    assert joined(told, "text") == "get_tide answered: high at noon"


async def test_citations_and_a_prompt_that_is_told_late(http: aiohttp.ClientSession) -> None:
    found = await events(http, "search")
    cited = [event["delta"]["citation"]["url"] for event in found if "citation" in event.get("delta", {})]
    assert cited == ["https://example.com/page-1", "https://example.com/page-2"]
    assert found[0]["message"]["usage"]["input_tokens"] == 0
    assert found[-2]["usage"]["input_tokens"] > 0
    assert found[-2]["usage"]["server_tool_use"]["web_search_requests"] == 1


async def test_a_whole_message(http: aiohttp.ClientSession) -> None:
    streamed = await events(http, "tools", tools=[TOOL])
    whole = json.loads(await ask(http, "tools", tools=[TOOL], stream=False))
    assert whole["content"][0]["input"] == json.loads(joined(streamed, "partial_json"))
    assert whole["stop_reason"] == "tool_use"
    assert whole["usage"]["cost"] > 0


async def test_an_answer_that_breaks(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    body = await ask(http, "breaks")
    assert body.count(b"text_delta") == 8
    name, data = _EVENT.findall(body)[-1]
    assert name == b"error"
    assert json.loads(data)["error"] == {"type": "api_error", "message": "Network connection lost."}
    assert sandbox.calls[-1].path == "/messages"


@pytest.mark.parametrize(
    ("fields", "status", "type_"),
    [
        ({"model": "sandbox/no-credits"}, 402, "billing_error"),
        ({"model": "sandbox/rate-limited"}, 429, "rate_limit_error"),
        ({"model": "a/b"}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"max_tokens": "many"}, 400, "invalid_request_error"),
    ],
)
async def test_refusals(http: aiohttp.ClientSession, fields: dict[str, Any], status: int, type_: str) -> None:
    async with http.post("messages", json={**question("echo"), **fields}) as response:
        assert response.status == status
        assert (await response.json())["error"]["type"] == type_

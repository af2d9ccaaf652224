"""Anthropic's own clients and the AI SDK's, passed through and translated: each asks the same questions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from client.sandbox import DONE, HangUp, Hold, Reply, Sandbox
from client.sandbox.protocols.messages import LEAKED
from server.config import Config
from tests.client.translation.foreign.test_messages import START, finish, opened, piece
from tests.client.translation.foreign.test_messages import STOP as STOPPED
from tests.client.translation.foreign.test_messages import text as block
from tests.mcp.test_node import NODE, needed, run
from tests.protocols.chat_completions.test_node_clients import CALLED, SIGNED, STOP, THINKING, USED, chunk, text
from tests.support.messages import sent
from tests.support.process import ROOT
from tests.support.serving import Api, changed, serving

if TYPE_CHECKING:  # three thousand modules, which nobody loads who runs other tests
    import anthropic

SCRIPT = ROOT / "tests" / "support" / "clients" / "messages.mjs"
WAYS = ("passed", "translated")
PATHS = {"passed": "/messages", "translated": "/chat/completions"}
CLOSED = {"type": "content_block_stop", "index": 0}
END = ({**finish(input_tokens=2, output_tokens=3, cost=0.001)}, STOPPED, LEAKED)
THOUGHT = (
    opened(0, type="thinking", thinking="", signature=""),
    piece(0, type="thinking_delta", thinking="hm"),
    piece(0, type="signature_delta", signature="sig"),
    CLOSED,
)
TOOL = (opened(1, type="tool_use", id="c1", name="tide", input={}), {**CLOSED, "index": 1})
HEL = (opened(0, type="text", text=""), piece(0, type="text_delta", text="Hel"))
LOST = {"type": "error", "error": {"type": "api_error", "message": "Provider lost"}}
CREDIT = {"type": "error", "error": {"type": "billing_error", "message": "This request requires more credits"}}
SLOW = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}
SECOND = {"Retry-After": "1"}


def said(way: str) -> dict[str, list[Reply]]:
    """What upstream says to each question, in the order in which clients ask."""
    if way == "translated":
        hello = Reply.stream(text("Hello"), STOP, USED, DONE)
        lost = chunk({}, error={"code": 502, "message": "Provider lost"})
        called = (THINKING, SIGNED, CALLED, chunk({"content": ""}, "tool_calls"), USED, DONE)
        return {
            "text": [Reply.stream(THINKING, SIGNED, text("Hel"), text("lo 🚀\u2028"), STOP, USED, DONE)],
            "call": [Reply.stream(*called)],
            "turn": [Reply.stream(text("High."), STOP, USED, DONE)],
            "refused": [Reply.error(402, "This request requires more credits")],
            "waited": [Reply.error(429, "Slow down", headers=SECOND), hello],
            "failed": [Reply.stream(text("Hel"), lost, DONE)],
            "cut": [Reply.stream(text("Hel"), HangUp())],
            "whole": [hello],
            "left": [Reply.stream(text("a"), text("b"), text("c"), Hold())],
        }
    tool_use = {**END[0], "delta": {"stop_reason": "tool_use", "stop_sequence": None}}
    letters = [piece(0, type="text_delta", text=letter) for letter in "abc"]
    return {
        "text": [sent(START, *THOUGHT, *block(1, "Hel", "lo 🚀\u2028"), *END)],
        "call": [sent(START, *THOUGHT, *TOOL, tool_use, *END[1:])],
        "turn": [sent(START, *block(0, "High."), *END)],
        "refused": [Reply.json(CREDIT, 402)],
        "waited": [Reply.json(SLOW, 429, SECOND), sent(START, *block(0, "Hello"), *END)],
        "failed": [sent(START, *HEL, LOST)],
        "cut": [sent(START, *HEL, HangUp())],
        "whole": [sent(START, *block(0, "Hello"), *END)],
        "left": [sent(START, HEL[0], *letters, Hold())],
    }


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def api(way: str, config: Config, upstream: Sandbox) -> AsyncIterator[Api]:
    """A server that tries nothing again, before an upstream that has something to say."""
    protocols = ("messages",) if way == "passed" else ()
    config = changed(config, "server", max_body_bytes=100_000)
    async with serving(changed(config, "upstream", max_retries=0, protocols=protocols)) as running:
        yield running


def _second_turn(way: str, sandbox: Sandbox) -> list[Any]:
    """The messages of the question that had a tool's result in it."""
    found: list[Any] = sandbox.calls[2].json["messages"]
    return found


def _judge_second_turn(way: str, messages: list[Any]) -> None:
    """trap 4: thinking and call come back as upstream said them."""
    if way == "passed":
        thought, call = messages[1]["content"]
        assert (thought["type"], thought["thinking"], thought["signature"]) == ("thinking", "hm", "sig")
        assert (call["type"], call["id"], call["input"]) == ("tool_use", "c1", {})
        assert messages[2]["content"][0]["tool_use_id"] == "c1"
    else:
        (detail,) = messages[1]["reasoning_details"]
        assert (detail["type"], detail["text"], detail["signature"]) == ("reasoning.text", "hm", "sig")
        assert messages[1]["tool_calls"][0]["id"] == "c1"
        assert (messages[2]["role"], messages[2]["tool_call_id"], messages[2]["content"]) == ("tool", "c1", "high")


@pytest.mark.parametrize("client", ["@anthropic-ai/sdk", "@ai-sdk/anthropic"])
async def test_a_client_from_npm_sees_what_upstream_said(client: str, way: str, api: Api, upstream: Sandbox) -> None:
    """traps 2, 4, 5, 8, 9, 15"""
    needed(client)
    upstream.script(*(reply for replies in said(way).values() for reply in replies), path=PATHS[way])
    code, printed = await run(NODE, SCRIPT, client, api.url)
    assert code == 0
    found: dict[str, Any] = json.loads(printed)
    is_sdk = client == "@anthropic-ai/sdk"
    tokens = 5 if way == "translated" else 8  # of which three were cached
    assert (found["text"]["text"], found["text"]["thinking"]) == ("Hello 🚀\u2028", "hm")
    assert (found["text"]["cost"], found["text"]["error"]) == (0.001, None)
    assert found["text"]["usage"] == (5 if is_sdk else tokens)
    assert "iVBORw0KGgo=" in upstream.calls[0].body.decode()
    assert found["call"]["calls"] == [{"name": "tide", "arguments": "{}"}]
    assert (found["turn"]["text"] if is_sdk else found["call"]["text"]) == "High."
    _judge_second_turn(way, _second_turn(way, upstream))
    assert found["refused"]["status"] == 402
    assert "requires more credits" in found["refused"]["error"]
    assert (found["waited"]["text"], found["waited"]["error"]) == ("Hello", None)
    assert "Provider lost" in found["failed"]["error"]
    assert "ended in the middle" in found["cut"]["error"]
    assert found["whole"]["text"] == "Hello"
    assert found["left"]["text"] == "abc"
    assert await upstream.calls[-1].closed.wait()
    assert len(upstream.calls) == 10


@pytest.fixture
async def client(api: Api) -> AsyncIterator[anthropic.AsyncAnthropic]:
    import anthropic

    async with anthropic.AsyncAnthropic(base_url=api.url, api_key="none", max_retries=0) as ready:
        yield ready


async def test_anthropics_python_client(
    way: str, client: anthropic.AsyncAnthropic, api: Api, upstream: Sandbox
) -> None:
    """traps 2, 4, 5, 8, 9, 13, 15"""
    import anthropic

    replies = said(way)
    upstream.script(*(reply for name in replies for reply in replies[name]), path=PATHS[way])
    ask: dict[str, Any] = {"model": "acme/m", "max_tokens": 100}
    why: list[Any] = [{"role": "user", "content": "Why?"}]
    tools: list[Any] = [{"name": "tide", "input_schema": {"type": "object"}}]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}

    async def read(**more: Any) -> Any:
        async with client.messages.stream(**{**ask, "messages": why, **more}) as stream:
            return await stream.get_final_message()

    message = await read(messages=[{"role": "user", "content": [image]}])
    assert [each.type for each in message.content] == ["thinking", "text"]
    assert (message.content[0].thinking, message.content[0].signature) == ("hm", "sig")
    assert message.content[1].text == "Hello 🚀\u2028"
    assert message.usage.output_tokens == (3 if way == "passed" else 2)
    called = await read(tools=tools)
    assert (called.stop_reason, called.content[-1].name, called.content[-1].input) == ("tool_use", "tide", {})
    result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "high"}
    turn = {"role": "assistant", "content": [each.model_dump() for each in called.content]}
    told = await read(messages=[*why, turn, {"role": "user", "content": [result]}], tools=tools)
    assert told.content[0].text == "High."
    _judge_second_turn(way, _second_turn(way, upstream))
    with pytest.raises(anthropic.APIStatusError, match="requires more credits") as refused:
        await read()
    assert refused.value.status_code == 402
    assert refused.value.request_id
    waiting = client.with_options(max_retries=2)
    hello: Any = await waiting.messages.create(**ask, messages=why)
    assert hello.content[0].text == "Hello"
    for words in ("Provider lost", "ended in the middle"):
        with pytest.raises(anthropic.APIStatusError, match=words):
            await read()
    whole: Any = await client.messages.create(**ask, messages=why)
    assert (whole.content[0].text, whole.stop_reason, whole.usage.cost) == ("Hello", "end_turn", 0.001)
    seen = ""
    async with client.messages.stream(**ask, messages=why) as stream:
        async for piece_ in stream.text_stream:
            seen += piece_
            if seen == "abc":
                break
    assert await upstream.calls[-1].closed.wait()
    assert len(upstream.calls) == 10
    assert (await client.messages.count_tokens(model="acme/m", messages=why)).input_tokens == 1


async def test_trap_14_the_list_of_models(client: anthropic.AsyncAnthropic, way: str) -> None:
    models = [model async for model in client.models.list()]
    assert "sandbox/echo" in [model.id for model in models]
    assert (await client.models.retrieve("sandbox/echo")).type == "model"

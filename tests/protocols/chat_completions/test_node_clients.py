"""Clients from npm, which users have, against the server as a process; `scripts/install-node-tools` installs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.sandbox import HangUp, Hold, Reply, Sandbox
from tests.mcp.test_node import NODE, needed, run
from tests.support import chunks as undated
from tests.support.chunks import DONE, HEAD, USAGE, call, event
from tests.support.process import ROOT, running_server

SCRIPT = ROOT / "tests" / "support" / "clients" / "completions.mjs"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
FIRST = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "index": 0}
LATE = {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}


def chunk(delta: Any = None, finish: str | None = None, **top: Any) -> bytes:
    """One with a date, without which OpenRouter's SDKs take none."""
    return undated.chunk(delta, finish, created=1, **top)


def text(content: str) -> bytes:
    return chunk({"role": "assistant", "content": content})


STOP = chunk({"content": ""}, "stop")
USED = event({**HEAD, "created": 1, "choices": [], "usage": USAGE})
THINKING = chunk({"role": "assistant", "content": "", "reasoning": "hm", "reasoning_details": [FIRST]})
SIGNED = chunk({"role": "assistant", "content": "", "reasoning_details": [LATE]})
LOST = chunk({}, error={"code": 502, "message": "Provider lost", "metadata": {"error_type": "provider_unavailable"}})
CALLED = chunk({"tool_calls": [call(0, "", "tide", "c1")]}) + chunk({"tool_calls": [call(0, "{}")]})


def said() -> dict[str, list[Reply]]:
    """What upstream says to each question, in the order in which clients ask."""
    return {
        "text": [Reply.stream(THINKING, text("Hel"), text("lo 🚀\u2028"), STOP, USED, DONE)],
        "call": [Reply.stream(THINKING, SIGNED, CALLED, chunk({"content": ""}, "tool_calls"), USED, DONE)],
        "turn": [Reply.stream(text("High."), STOP, USED, DONE)],
        "picture": [Reply.stream(chunk({"content": "", "images": [PICTURE]}), text("Look"), STOP, USED, DONE)],
        "refused": [Reply.error(402, "This request requires more credits")],
        "waited": [
            Reply.error(429, "Slow down", headers={"Retry-After": "1"}),
            Reply.stream(text("Hello"), STOP, USED, DONE),
        ],
        "failed": [Reply.stream(text("Hel"), LOST, DONE)],
        "cut": [Reply.stream(text("Hel"), HangUp())],
        "whole": [Reply.stream(THINKING, text("Hello"), STOP, USED, DONE)],
        "left": [Reply.stream(text("a"), text("b"), text("c"), Hold())],
    }


CLIENTS = ("openai", "@openrouter/sdk", "@ai-sdk/openai-compatible", "@openrouter/ai-sdk-provider")
SDKS = CLIENTS[:2]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_from_npm_sees_what_upstream_said(client: str, upstream: Sandbox) -> None:
    """traps 2, 3, 4, 5, 8, 9"""
    needed(client)
    replies = said()
    questions = [name for name in replies if name != "waited" or client == "openai"]
    upstream.script(*(reply for name in questions for reply in replies[name]))
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server(env=env) as server:
        code, printed = await run(NODE, SCRIPT, client, server.url)
        assert code == 0
        await upstream.calls[-1].closed.wait()
    found: dict[str, Any] = json.loads(printed)
    assert (found["text"]["text"], found["text"]["thinking"]) == ("Hello 🚀\u2028", "hm")
    assert (found["text"]["usage"], found["text"]["error"]) == (5, None)
    if client != "@ai-sdk/openai-compatible":
        assert found["text"]["cost"] == 0.001
    assert found["call"]["thinking"] == "hm"
    (called,) = found["call"]["calls"]
    assert (called["name"], called["arguments"]) == ("tide", "{}")
    assert found["turn" if client in SDKS else "call"]["text"] == "High."
    assert found["picture"]["text"] == "Look"
    if client in ("openai", "@openrouter/ai-sdk-provider"):
        assert found["picture"]["files"] == 1
    assert "more credits" in found["refused"]["error"]
    for question in ("failed", "cut"):
        assert found[question]["text"] == "Hel"
        assert found[question]["error"], question
    assert "Provider lost" in found["failed"]["error"]
    assert "ended in the middle" in found["cut"]["error"]
    assert (found["whole"]["text"], found["whole"]["usage"]) == ("Hello", 5)
    assert found["left"]["text"] == "abc"
    if client == "openai":
        assert (found["refused"]["status"], found["waited"]["text"]) == (402, "Hello")
    order = [name for name in questions for _ in replies[name]]
    asked = {name: upstream.calls[place].json for place, name in enumerate(order)}
    (replayed,) = [each for each in asked["turn"]["messages"] if each["role"] == "assistant"]
    if client != "@ai-sdk/openai-compatible":
        assert _merged(replayed["reasoning_details"]) == {**FIRST, "signature": "sig"}
    sent = [part for each in asked["picture"]["messages"] for part in each["content"] if isinstance(part, dict)]
    assert PICTURE in [{key: each.get(key) for key in PICTURE} for each in sent]
    assert len(upstream.calls) == len(order)
    assert upstream.calls[-1].cancelled


def _merged(details: list[dict[str, Any]]) -> dict[str, Any]:
    """Pieces of one thought, as a provider puts them together."""
    whole: dict[str, Any] = {}
    for each in details:
        whole |= {name: value for name, value in each.items() if value is not None}
    return whole

"""Clients from npm, which users have, against the server as a process; `scripts/install-node-tools` installs them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from tests.mcp.test_node import NODE, needed, run
from tests.protocols.chat_completions.test_node_clients import CALLED, SIGNED, STOP, THINKING, USED, chunk, said, text
from tests.support.chunks import DONE, call
from tests.support.process import ROOT, running_server
from tests.support.proxies.resetting import resetting_relay

SCRIPT = ROOT / "tests" / "support" / "clients" / "ag_ui.mjs"
WORDS = [f"word {number} " for number in range(40)]
SHORT = chunk({"tool_calls": [call(0, '{"port": "Os', "tide", "c9")]}) + chunk({}, "length") + USED + DONE
ASKED = ("text", "call", "turn", "picture", "refused", "failed", "cut")


def replies(client: str) -> dict[str, Reply]:
    """What upstream says to each question, in the order in which clients ask."""
    found = {name: said()[name][0] for name in ASKED}
    found["call"] = Reply.stream(THINKING, SIGNED, CALLED, chunk({"content": ""}, "tool_calls"), USED, DONE)
    found["short"] = Reply.stream(SHORT)
    found["stopped"] = Reply.stream(text("a"), text("b"), text("c"), Hold())
    if client == "@tanstack/ai-client":
        found["relayed"] = Reply.stream(THINKING, *map(text, WORDS), STOP, USED, DONE)
    found["left"] = Reply.stream(text("a"), text("b"), text("c"), Hold())
    return found


@pytest.mark.parametrize("client", ["@ag-ui/client", "@tanstack/ai-client"])
async def test_a_client_of_ag_ui_sees_what_upstream_said(client: str, upstream: Sandbox) -> None:
    """traps 2, 4, 5, 6, 9, 12"""
    needed(client)
    scripted = replies(client)
    upstream.script(*scripted.values())
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "OPENROUTER_MAX_RETRIES": "0"}
    async with (
        running_server(env={**env, "STREAM_GRACE": "0.2"}) as server,
        resetting_relay(server.port, most_bytes=1500) as relay,
    ):
        code, printed = await run(NODE, SCRIPT, client, server.url, relay.url)
        assert code == 0
        async with asyncio.timeout(5):
            await upstream.calls[-1].closed.wait()
    found: dict[str, Any] = json.loads(printed)
    assert (found["text"]["text"], found["text"]["thinking"]) == ("Hello 🚀\u2028", "hm")
    assert (found["text"]["outcome"], found["text"]["error"]) == ({"type": "success"}, None)
    assert found["text"]["custom"]["openrouter.usage"]["cost"] == 0.001
    (called,) = found["call"]["calls"]
    assert (called["name"], called["arguments"]) == ("tide", "{}")
    assert found["turn" if "turn" in found else "call"]["text"] == "High."
    assert found["picture"]["text"] == "Look"
    assert found["picture"]["custom"]["openrouter.image"]["image_url"]["url"].startswith("data:image/png")
    assert "402" in found["refused"]["error"]
    for question in ("failed", "cut"):
        assert (found[question]["text"], found[question]["outcome"]) == ("Hel", None), question
        assert found[question]["events"][-1] == "RUN_ERROR"
    assert ("Provider lost" in found["failed"]["error"], found["failed"]["code"]) == (True, "upstream_unavailable")
    assert ("ended in the middle" in found["cut"]["error"], found["cut"]["code"]) == (True, "stream_interrupted")
    assert found["short"]["outcome"] == {"type": "success"}
    assert (found["stopped"]["text"], found["stopped"]["outcome"]) == ("abc", {"type": "cancelled"})
    assert found["left"]["text"] in ("abc", "")  # TanStack's is not looked at once it has left
    _check_requests(dict(zip(scripted, (each.json for each in upstream.calls), strict=True)))
    assert upstream.calls[-1].cancelled
    if client == "@tanstack/ai-client":
        assert found["short"]["calls"] == []  # a call that was cut off is not run
        assert relay.resets > 2
        assert found["relayed"]["text"] == found["joined"]["text"] == "".join(WORDS)
        assert found["relayed"]["events"].count("RUN_FINISHED") == 1
        assert found["joined"]["events"] == found["relayed"]["events"]


def _check_requests(asked: dict[str, Any]) -> None:
    """What came back of the first turn, and how a picture went up."""
    assert asked["call"]["tools"][0]["function"]["name"] == "tide"
    user, turn, result = asked["turn"]["messages"]
    assert user["content"] == "Why?"
    (detail,) = turn["reasoning_details"]
    assert (detail["text"], detail["signature"], detail["format"]) == ("hm", "sig", "anthropic-claude-v1")
    assert turn["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}]
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "c1", "high")
    (message,) = asked["picture"]["messages"]
    assert {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}} in message["content"]
    assert all(each["model"] == "acme/m" for each in asked.values())

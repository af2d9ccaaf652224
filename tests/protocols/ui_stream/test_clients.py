"""The AI SDK, versions 5, 6 and 7, and its chat for React, against the server as a process."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from client.sandbox import HangUp, Hold, Mark, Reply, Sandbox
from tests.mcp.test_node import NODE, needed, run
from tests.protocols.wire_cases import CITATION, PICTURE
from tests.support.chunks import DONE, END, STOP, USAGE, call, calls, chunk, event, text
from tests.support.process import ROOT, running_server

SCRIPT = ROOT / "tests" / "support" / "clients" / "ui.mjs"
VERSIONS = ("5", "6", "7", "react")
FIRST = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "index": 0}
LATE = {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}
THINKING = chunk({"role": "assistant", "content": "", "reasoning": "hm", "reasoning_details": [FIRST]})
SIGNED = chunk({"role": "assistant", "content": "", "reasoning_details": [LATE]})
LOST = chunk({}, error={"code": 502, "message": "Provider lost"}, usage=USAGE)
CALLED = calls(call(0, "", "tide", "c1")) + calls(call(0, '{"port":')) + calls(call(0, '"a"}'))
CUT = calls(call(0, '{"port"', "tide", "c1")) + chunk({}, "length")
USED = event({"choices": [], "usage": USAGE}) + DONE


def said() -> dict[str, list[Reply]]:
    """What upstream says to each question of one version, in the order in which it asks."""
    go_on = asyncio.Event()
    return {
        "text": [Reply.stream(THINKING, text("Hel"), SIGNED, text("lo 🚀\u2028"), STOP, END)],
        "again": [Reply.stream(text("So."), STOP, END)],
        "call": [
            Reply.stream(THINKING, SIGNED, text("I ask."), CALLED, chunk({}, "tool_calls"), USED),
            Reply.stream(text("High."), STOP, END),
        ],
        "picture": [Reply.stream(chunk({"annotations": [CITATION], "images": [PICTURE]}), text("Look"), STOP, END)],
        "odd": [Reply.stream(chunk({"refusal": "No"}), CUT, chunk({}, "paused", usage=USAGE), DONE)],
        "refused": [Reply.error(402, "This request requires more credits")],
        "failed": [Reply.stream(text("Hel"), LOST, DONE)],
        "cut": [Reply.stream(THINKING, HangUp())],
        "stopped": [Reply.stream(text("Hel"), Hold())],
        "resumed": [Reply.stream(THINKING, text("Hel"), Hold(go_on), text("lo"), STOP, END)],
        "release": [Reply.stream(Mark(go_on), text("x"), STOP, END)],
        "plain": [Reply.stream(THINKING, text("Hello"), STOP, END)],
        "plain_cut": [Reply.stream(text("Hel"), HangUp())],
    }


async def test_every_version_of_the_ai_sdk_shows_what_upstream_said(upstream: Sandbox) -> None:
    """traps 2, 5, 6, 7, 8, 11"""
    needed("@ai-sdk/react")
    scripts = [said() for _ in VERSIONS]
    upstream.script(*(reply for script in scripts for replies in script.values() for reply in replies))
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server(env=env) as server:
        code, printed = await run(NODE, SCRIPT, server.url)
        assert code == 0
    order = [name for name, replies in said().items() for _ in replies]
    assert len(upstream.calls) == len(order) * len(VERSIONS)
    found: dict[str, Any] = json.loads(printed)
    for place, version in enumerate(VERSIONS):
        asked = [
            each.json["messages"] for each in list(upstream.calls)[place * len(order) : (place + 1) * len(order)]
        ]
        _check_shown(found[version], version)
        _check_sent(dict(zip(order, asked, strict=True)))


def _check_shown(shown: dict[str, Any], version: str) -> None:
    whole = {"status": "ready", "error": None, "busy": 0}
    for question, texts in (
        ("text", "Hello 🚀\u2028"),
        ("again", "Hello 🚀\u2028So."),
        ("call", "I ask.High."),
        ("picture", "Look"),
        ("odd", "No"),
        ("stopped", "Hel"),
        ("resumed", "Hello"),
        ("ended", "Hello"),
        ("plain", "Hello"),
    ):
        assert shown[question].items() >= {**whole, "text": texts}.items(), (version, question)
    for question, texts, told in (
        ("refused", "", "requires more credits"),
        ("failed", "Hel", "Provider lost"),
        ("cut", "", "in the middle"),
        ("plain_cut", "Hel", "terminated"),
    ):
        seen = shown[question]
        assert (seen["status"], seen["text"]) == ("error", texts), (version, question)
        assert told in seen["error"], (version, question)
        assert not seen["busy"] or question == "plain_cut"  # this transport has no word for the end of a text
    assert shown["text"]["thinking"] == shown["call"]["thinking"] == shown["resumed"]["thinking"] == "hm"
    assert shown["call"]["tools"] == [{"type": "tool-tide", "state": "output-available", "input": {"port": "a"}}]
    assert [each["state"] for each in shown["odd"]["tools"]] == ["output-error"]
    assert (shown["picture"]["files"], shown["picture"]["sources"]) == (1, 1)
    for question in ("text", "call", "picture", "odd", "failed", "resumed"):
        (message,) = shown[question]["assistants"]
        assert message["id"].startswith("msg-")
        assert (message["metadata"]["model"], message["metadata"]["usage"]["cost"]) == ("acme/m", 0.001)


def _check_sent(sent: dict[str, Any]) -> None:
    signed = {**FIRST, "signature": "sig"}
    _, replayed, _ = sent["again"]
    assert replayed == {"role": "assistant", "content": "Hello 🚀\u2028", "reasoning_details": [signed]}
    _, called, output = sent["call"]
    assert (called["content"], called["reasoning_details"]) == ("I ask.", [signed])
    assert called["tool_calls"][0]["function"] == {"name": "tide", "arguments": '{"port":"a"}'}
    assert output == {"role": "tool", "tool_call_id": "c1", "content": '{"tide":"high"}'}
    (asked,) = sent["picture"]
    assert PICTURE in asked["content"]

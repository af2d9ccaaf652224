"""Ollama's clients for Python and Node against the server as a process."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import ollama
import pytest

from client.sandbox import HangUp, Hold, Reply, Sandbox
from tests.mcp.test_node import NODE, needed, run
from tests.protocols.wire_cases import PICTURE
from tests.support.chunks import DONE, END, STOP, call, calls, chunk, text
from tests.support.process import ROOT, running_server

SCRIPT = ROOT / "tests" / "support" / "clients" / "ollama.mjs"
THINKING = chunk({"role": "assistant", "content": "", "reasoning": "hm"})
CALLED = calls(call(0, "", "tide", "c1")) + calls(call(0, '{"port":"a"}'))
LOST = chunk({}, error={"code": 502, "message": "Provider lost"})


def said() -> dict[str, Reply]:
    """What upstream says to each question, in the order in which clients ask."""
    return {
        "text": Reply.stream(THINKING, text("Hel\u2028"), text("lo \ud83d"), text("\ude80\u0085"), STOP, END),
        "call": Reply.stream(THINKING, CALLED, chunk({}, "tool_calls"), END),
        "turn": Reply.stream(text("High."), STOP, END),
        "picture": Reply.stream(text("Look"), STOP, END),
        "whole": Reply.stream(THINKING, text("{}"), STOP, END),
        "prompt": Reply.stream(THINKING, text("Hi"), chunk({}, "length"), END),
        "refused": Reply.error(402, "This request requires more credits"),
        "failed": Reply.stream(text("Hel"), LOST, DONE),
        "cut": Reply.stream(text("Hel"), HangUp()),
        "left": Reply.stream(text("a"), text("b"), text("c"), Hold()),
    }


Ask = Callable[[str], Awaitable[dict[str, Any]]]


async def _from_node(origin: str) -> dict[str, Any]:
    needed("ollama")
    code, printed = await run(NODE, SCRIPT, origin)
    assert code == 0
    found: dict[str, Any] = json.loads(printed)
    return found


async def _from_python(origin: str) -> dict[str, Any]:
    asker = _Asker(ollama.AsyncClient(host=origin))
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}]
    called = {"function": {"name": "tide", "arguments": {"port": "a"}}}
    answered = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [called]},
        {"role": "tool", "tool_name": "tide", "content": "high"},
    ]
    await asker.chat("text", think=True)
    await asker.chat("call", tools=tools)
    await asker.chat("turn", tools=tools, messages=answered)
    await asker.chat("picture", messages=[{"role": "user", "content": "Why?", "images": [b"\x89PNG"]}])
    await asker.chat("whole", stream=False, format="json")
    await asker.generate("prompt")
    for question in ("refused", "failed", "cut", "left"):
        await asker.chat(question)
    models, shown = await asker.client.list(), await asker.client.show("sandbox/tools")
    asker.told["models"] = {
        "names": [each.model for each in models.models],
        "capabilities": shown.capabilities,
        "loaded": list((await asker.client.ps()).models),
    }
    await asker.client.close()  # type: ignore[no-untyped-call]
    return asker.told


class _Asker:
    def __init__(self, client: ollama.AsyncClient) -> None:
        self.client = client
        self.told: dict[str, dict[str, Any]] = {}

    async def chat(self, question: str, *, stream: bool = True, **more: Any) -> None:
        messages = more.pop("messages", [{"role": "user", "content": "Why?"}])
        await self._tell(
            question,
            self.client.chat("acme/m", messages, stream=stream, **more),  # type: ignore[call-overload]
        )

    async def generate(self, question: str) -> None:
        await self._tell(question, self.client.generate("acme/m", "Why?", stream=True))

    async def _tell(self, question: str, asked: Awaitable[Any]) -> None:
        seen: dict[str, Any] = {"text": "", "thinking": "", "calls": [], "last": None, "error": None, "status": None}
        self.told[question] = seen
        try:
            reply = await asked
            if hasattr(reply, "__aiter__"):
                async for part in reply:
                    _note(seen, part)
                    if seen["text"] == "abc":
                        await reply.aclose()
            else:
                _note(seen, reply)
        except ollama.ResponseError as exc:
            seen |= {"error": exc.error, "status": exc.status_code}


def _note(seen: dict[str, Any], part: Any) -> None:
    found = json.loads(part.model_dump_json())
    message = found.get("message") or {"content": found.get("response"), "thinking": found.get("thinking")}
    seen["text"] += message["content"] or ""
    seen["thinking"] += message["thinking"] or ""
    seen["calls"] += message.get("tool_calls") or []
    if found["done"]:
        seen["last"] = found


@pytest.mark.parametrize("ask", [_from_python, _from_node], ids=["python", "node"])
async def test_a_client_of_ollama_sees_what_upstream_said(ask: Ask, upstream: Sandbox) -> None:
    """traps 2, 5, 9"""
    upstream.script(*said().values())
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "k", "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server(env=env) as server:
        told = await ask(server.url)
        await upstream.calls[-1].closed.wait()
    for question, texts, thinking in (
        ("text", "Hel\u2028lo 🚀\u0085", "hm"),
        ("call", "", "hm"),
        ("turn", "High.", ""),
        ("picture", "Look", ""),
        ("whole", "{}", "hm"),
        ("prompt", "Hi", "hm"),
    ):
        seen = told[question]
        assert (seen["text"], seen["thinking"], seen["error"]) == (texts, thinking, None), question
        assert (seen["last"]["prompt_eval_count"], seen["last"]["eval_count"]) == (3, 2)
        assert seen["last"]["done_reason"] == ("length" if question == "prompt" else "stop")
    assert told["call"]["calls"] == [{"function": {"name": "tide", "arguments": {"port": "a"}}}]
    assert "more credits" in told["refused"]["error"]
    assert told["refused"]["status"] == 402
    assert (told["failed"]["text"], told["cut"]["text"]) == ("Hel", "Hel")
    assert "Provider lost" in told["failed"]["error"]
    assert "ended in the middle" in told["cut"]["error"]
    assert told["left"]["text"] == "abc"
    assert "sandbox/echo" in told["models"]["names"]
    assert (told["models"]["capabilities"], told["models"]["loaded"]) == (["completion", "tools"], [])
    _check_sent(dict(zip(said(), (each.json for each in upstream.calls), strict=True)))
    assert upstream.calls[-1].cancelled


def _check_sent(sent: dict[str, Any]) -> None:
    assert sent["text"]["reasoning"] == {"enabled": True}
    assert sent["call"]["tools"][0]["function"]["name"] == "tide"
    _, called, output = sent["turn"]["messages"]
    assert called["reasoning"] == "hm"
    assert called["tool_calls"][0]["function"] == {"name": "tide", "arguments": '{"port":"a"}'}
    assert output == {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "high"}
    picture = {**PICTURE, "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    assert picture in sent["picture"]["messages"][0]["content"]
    assert sent["whole"]["response_format"] == {"type": "json_object"}

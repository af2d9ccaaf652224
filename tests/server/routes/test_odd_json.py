"""What JSON can carry and UTF-8 or JSON's own grammar cannot: every way out survives it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from tests.support.chunks import DONE, END, HEAD, STOP, chunk, event
from tests.support.mcp.clients import call, text_of
from tests.support.serving import Api

HALF = "a \ud83d b"


def strict(body: bytes) -> Any:
    """JSON as JavaScript reads it: no NaN, no infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(body.decode(), parse_constant=refuse)


@pytest.mark.parametrize(
    "path", ["model", "id", "provider", "content", "reasoning", "refusal", "annotations", "finish", "usage"]
)
async def test_half_a_surrogate_pair_reaches_every_reader(upstream: Sandbox, api: Api, path: str) -> None:
    """break-it 5, faults C1"""
    top: dict[str, Any] = {path: HALF} if path in ("model", "id", "provider") else {}
    delta: dict[str, Any] = {path: HALF} if path in ("content", "reasoning", "refusal") else {"content": "x"}
    if path == "annotations":
        delta["annotations"] = [{HALF: HALF}]
    finish = HALF if path == "finish" else "stop"
    usage = {"prompt_tokens": 3, "cost": 0.001, HALF: float("nan")} if path == "usage" else {"cost": 0.001}
    reply = Reply.stream(chunk(delta, **top), chunk({}, finish, usage=usage, **top), DONE)

    upstream.script(reply, reply)
    response, events = await api.chat()
    assert [each.name for each in events][-1] == "done"
    assert next(each for each in events if each.name == "usage").data["cost"] == 0.001
    whole, _ = await api.chat_whole()
    assert whole.status == 200
    read = {}
    for way in (f"/chat/{response.headers['X-Stream-Id']}/result", "/chat", "/usage", "/metrics", "/health"):
        found, body = await api.request("GET", way)
        assert found.status == 200, way
        read[way] = body
    result = strict(next(iter(read.values())))
    assert strict(read["/chat"])["data"]
    if path in ("content", "reasoning", "refusal"):
        assert result[path] == HALF
    if path == "usage":
        assert result["usage"][HALF] is None


async def test_nan_beside_half_a_pair_is_null(upstream: Sandbox, api: Api) -> None:
    """break-it 26"""
    usage = b'{"choices":[],"usage":{"prompt_tokens":NaN,"cost":0.001,"x":"\\ud800","y":-Infinity,"z":1e999}}'
    upstream.script(Reply.stream(chunk({"content": "x"}), STOP, b"data: " + usage + b"\n\n", DONE))
    async with api.http.post(f"{api.url}/chat", json={"message": "x", "model": "acme/m"}) as response:
        body = await response.read()
    data = next(each for each in body.split(b"\n\n") if each.startswith(b"event: usage")).partition(b"data: ")[2]
    found = strict(data)
    assert [found[name] for name in ("prompt_tokens", "x", "y", "z")] == [None, "\ud800", None, None]
    _, result = await api.request("GET", f"/chat/{response.headers['X-Stream-Id']}/result")
    assert strict(result)["usage"]["x"] == "\ud800"


async def test_a_refusal_that_quotes_half_a_pair_is_a_refusal(upstream: Sandbox, api: Api) -> None:
    """break-it 5: error bodies"""
    error = {"code": 400, "message": HALF, "metadata": {HALF: float("inf")}}
    upstream.script(Reply.json({"error": error}, 400), Reply.json({"error": error}, 400))
    response, events = await api.chat()
    assert (response.status, events[0].name) == (400, "error")
    whole, body = await api.chat_whole()
    assert (whole.status, body["type"]) == (400, "upstream_rejected")
    found, body = await api.request("POST", "/chat", b'{"message":"x","\\ud800":1,"stream":"\\ud800"}')
    assert found.status in (415, 422), body


async def test_a_message_with_half_a_pair_goes_up_and_comes_back(upstream: Sandbox, api: Api) -> None:
    """faults C1: nothing hostile, the stand-in's echo alone"""
    whole, body = await api.chat_whole(message=HALF, model="sandbox/echo")
    assert whole.status == 200
    assert HALF in body["content"]


async def test_a_tools_result_survives_half_a_pair(upstream: Sandbox) -> None:
    """break-it 5: results of MCP tools, where the library that writes them can carry none"""
    upstream.script(Reply.stream(event({**HEAD, "choices": [{"delta": {"content": HALF}}]}), END))
    result = await call(upstream, "llm_chat", {"prompt": "x"})
    assert text_of(result).startswith("a \ufffd b\n")
    result.model_dump_json()

"""One table of messages, through both transports in both eras: what a client is told does not depend on how it is
connected."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client.sandbox import Sandbox
from server.config import Config
from tests.mcp.test_conversation import INITIALIZED, initialize, read, write
from tests.mcp.test_http import open_session
from tests.mcp.test_stdio import environment, hosting
from tests.support.mcp.clients import ERAS, Era, modern
from tests.support.serving import serving

Ask = Callable[[Any], Awaitable[Any]]
_MARK = 4711


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def call(name: str, arguments: Any) -> dict[str, Any]:
    return request("tools/call", name=name, arguments=arguments)


LIST = request("tools/list")
CASES: dict[str, Any] = {
    "not json": b"not json",
    "cut json": b'{"jsonrpc": "2.0", "id": 1',
    "not utf-8": b'{"jsonrpc": "2.0", "id": 1, "method": "p\xffng"}',
    "nan": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": NaN}}',
    "deep": b"[" * 1900,
    "empty object": b"{}",
    "number": b"7",
    "empty batch": b"[]",
    "batch": [request("ping")],
    "no jsonrpc": {"id": 1, "method": "tools/list"},
    "old jsonrpc": {**LIST, "jsonrpc": "1.0"},
    "no method": {"jsonrpc": "2.0", "id": 1},
    "method of a wrong kind": {**LIST, "method": 1},
    "id null": {**LIST, "id": None},
    "id 9.5": {**LIST, "id": 9.5},
    "id true": {**LIST, "id": True},
    "id in a list": {**LIST, "id": [1]},
    "id 7.0": {**LIST, "id": 7.0},
    "id of text": {**LIST, "id": "a"},
    "params of text": {**LIST, "params": "x"},
    "params in a list": {**LIST, "params": [1]},
    "notification": {"jsonrpc": "2.0", "method": "notifications/nothing"},
    "cancel of nothing": {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
    "list": LIST,
    "unknown cursor": request("tools/list", cursor="x"),
    "unknown method": request("nothing/known"),
    "ping": request("ping"),
    "unknown tool": call("nothing", {}),
    "no arguments": request("tools/call", name="llm_chat"),
    "arguments in a list": call("llm_chat", [1]),
    "unknown argument": call("llm_chat", {"prompt": "hi", "modle": "x"}),
    "wrong argument": call("llm_chat", {"prompt": "hi", "max_tokens": "many"}),
    "too large a number": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"llm_chat","arguments":'
    b'{"prompt":"hi","temperature":1e400}}}',
    "wrong messages": call("llm_chat", {"messages": [1] * 300}),
    "chat": call("llm_chat", {"prompt": "hi", "model": "sandbox/echo"}),
    "chat with half a pair": call("llm_chat", {"prompt": "hi \ud83d", "model": "sandbox/echo"}),
    "chat that fails": call("llm_chat", {"prompt": "hi", "model": "sandbox/no-credits"}),
    "chat that breaks": call("llm_chat", {"prompt": "hi", "model": "sandbox/breaks"}),
    "unknown stream": call("llm_chat_result", {"stream_id": ""}),
    "search": call("search_models", {"q": "reasoner"}),
    "model": call("get_model", {"model_id": "sandbox/echo"}),
    "unknown model": call("get_model", {"model_id": "sandbox/ekho"}),
    "resource": request("resources/read", uri="openrouter://models/sandbox/echo"),
    "missing resource": request("resources/read", uri="openrouter://models/sandbox/ekho"),
}


def spelled(message: Any, era: Era) -> bytes:
    if isinstance(message, bytes):
        return message
    is_request = isinstance(message, dict) and isinstance(message.get("params"), dict) and "id" in message
    return json.dumps(modern(message)[0] if is_request and era == "auto" else message).encode()


@asynccontextmanager
async def over_stdio(upstream: Sandbox, era: Era) -> AsyncIterator[Ask]:
    async with hosting(environment(upstream)) as host:
        if era == "legacy":
            await write(host, initialize(), INITIALIZED)
            await read(host)
        mark = {"jsonrpc": "2.0", "id": _MARK, "method": "tools/list", "params": {}}

        async def ask(message: Any) -> Any:
            answers = []
            await write(host, spelled(message, era))
            if isinstance(message, dict) and "id" not in message:
                await write(host, spelled(mark, era))  # nothing but this may come
            while True:
                answers.append(await read(host))
                if answers[-1].get("id") == _MARK:
                    return None if len(answers) == 1 else answers
                return answers[0]

        yield ask


@asynccontextmanager
async def over_http(config: Config, era: Era) -> AsyncIterator[Ask]:
    async with serving(config) as api:
        session = await open_session(api.http, api.url)

        async def ask(message: Any) -> Any:
            body = spelled(message, era)
            named = message if isinstance(message, dict) and isinstance(message.get("method"), str) else LIST
            if isinstance(message, bytes) and b"tools/call" in message:
                named = call("llm_chat", {})
            headers = session if era == "legacy" else modern({**named, "params": _object(named)})[1]
            async with api.http.post(f"{api.url}/mcp", data=body, headers=headers) as response:
                text = await response.text()
                if response.status == 202:
                    return None
                lines = [line for line in text.splitlines() if line.startswith(("{", "data: {"))]
                return json.loads(lines[-1].removeprefix("data: "))

        yield ask


def _object(message: dict[str, Any]) -> dict[str, Any]:
    return message["params"] if isinstance(message.get("params"), dict) else {}


def comparable(answer: Any) -> str:
    """Without what is new in every answer."""
    text = json.dumps(answer, sort_keys=True)
    if isinstance(answer, dict) and (data := answer.get("result", {}).get("structuredContent", {})):
        text = text.replace(str(data.get("stream_id")), "STREAM")
    return re.sub(r'tokens: [^"]*|"(prompt|completion|total)_tokens": \d+', "TOKENS", text)


@pytest.mark.parametrize("era", ERAS)
async def test_every_message_gets_the_same_answer_over_both_transports(
    config: Config, upstream: Sandbox, era: Era
) -> None:
    """Faults D2, mcp F18."""
    unlike: dict[str, tuple[Any, Any]] = {}
    async with over_http(config, era) as ask_http, over_stdio(upstream, era) as ask_stdio:
        for name, message in CASES.items():
            over_pipe, over_net = await ask_stdio(message), await ask_http(message)
            if comparable(over_pipe) != comparable(over_net):
                unlike[name] = (over_pipe, over_net)
            is_notification = isinstance(message, dict) and "id" not in message and "method" in message
            assert (over_pipe is None) is (is_notification and message.get("jsonrpc") == "2.0"), (name, over_pipe)
    assert not unlike

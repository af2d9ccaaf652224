"""The key and the words of a message stay out of everything the process prints, whatever fails."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from mcp import Client

from client.sandbox import HangUp, Reply, Sandbox
from tests.mcp.test_http import INITIALIZE
from tests.support.chunks import END, STOP, chunk, event, text
from tests.support.mcp.clients import ERAS, text_of
from tests.support.process import ROOT, running_server

KEY = "sk-or-v1-recognisable-0123456789"
TOKEN = "recognisable-token"
WORDS = "recognisable words"
CANARY = "MYSECRETPROMPT"
REPLIES = [
    Reply.stream(chunk({"reasoning": WORDS}), text(WORDS), STOP, END),
    Reply.stream(text(WORDS), HangUp()),
    Reply.stream(text(WORDS), event({"error": {"code": 502, "message": WORDS}})),
    Reply.stream(text(WORDS), f"data: {WORDS} {KEY}\n\n".encode(), STOP, END),
    Reply.stream(f"{WORDS} {KEY}\n\n".encode()),
    Reply.stream().after(HangUp(reset=True)),
    Reply.error(400, f"{WORDS} {KEY}"),
    Reply.error(401, f"Bearer {KEY} is not valid", {"raw": WORDS}),
    Reply.error(500, WORDS, {"raw": f"{WORDS} {KEY}"}),
    Reply.raw(f"<html>{WORDS} {KEY}</html>".encode()),
    Reply.raw(f"{WORDS} {KEY}".encode(), 502),
    Reply.raw(b"", 307, {"Location": f"http://127.0.0.1:9/?key={KEY}"}),
    Reply.json({"error": f"{WORDS} {KEY}"}),
    Reply(headers={"Content-Encoding": "gzip"}, steps=(WORDS.encode(),)),
]
MCP_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
BROKEN_BODIES = [WORDS, f'{{"message": "{WORDS}"', f'["{WORDS}"]', f'{{"message": 5, "x": "{WORDS}"}}']
NO_HTTP = [
    f"{WORDS}\r\n\r\n",
    f"GET /chat HTTP/1.1\r\n{WORDS}\r\n\r\n",
    f"GET /chat HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\x00\r\n\r\n",
    f"POST /chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{WORDS}\r\n",
]


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_neither_key_nor_words_nor_token_are_printed(upstream: Sandbox, uvloop: bool) -> None:
    env = {
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_MAX_RETRIES": "0",
        "SERVER_TOKENS": TOKEN,
        "STREAM_GRACE": "0",
    }
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    question = json.dumps({"message": WORDS, "system": WORDS})
    seen = b""
    async with (
        running_server(env=env, uvloop=uvloop) as server,
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        for reply in REPLIES:
            upstream.script(reply, reply)
            for query in ("", "?stream=false"):
                async with http.post(f"{server.url}/chat{query}", data=question) as response:
                    seen += await response.read()
        for body in BROKEN_BODIES:
            async with http.post(f"{server.url}/chat", data=body) as response:
                assert response.status in (400, 422)
        async with http.get(f"{server.url}/chat", headers={"Authorization": f"Bearer {TOKEN}x"}) as response:
            assert response.status == 401
        for raw in NO_HTTP:
            await send_raw(server.port, raw)
        command_line = command_line_of(server.process.pid)
        assert await server.stop() == 0
        printed = server.start_line.encode() + bytes(server.output) + command_line
        assert server.process.stdout is not None
        printed += await server.process.stdout.read()
    assert WORDS.encode() in seen
    for secret in (KEY, KEY[9:], TOKEN, WORDS):
        assert secret.encode() not in printed, secret
    assert KEY.encode() not in seen
    assert b"Traceback" not in printed
    chats = [line for line in map(json.loads, bytes(server.output).splitlines()) if line["message"] == "chat"]
    assert len(chats) == 2 * len(REPLIES)


async def test_bare_2_the_log_of_everything_holds_no_word_of_what_was_asked_and_answered() -> None:
    """At level debug libraries quote what passes through them; through HTTP and MCP, right and wrong requests."""
    env = {"LOG_LEVEL": "debug", "PYTHONASYNCIODEBUG": "1"}
    body = {"message": CANARY, "model": "sandbox/echo"}
    async with running_server("--sandbox", env=env) as server, aiohttp.ClientSession() as http:
        for query in ("", "?stream=false"):
            async with http.post(f"{server.url}/chat{query}", json=body) as response:
                answer = await response.text()
        assert CANARY in answer  # streamed it comes in pieces
        for era in ERAS:
            async with Client(f"{server.url}/mcp", mode=era) as client:
                result = await client.call_tool("llm_chat", {"prompt": CANARY, "model": "sandbox/echo"})
                assert CANARY in text_of(result)
                await client.call_tool("llm_chat", {"prompt": 5, CANARY: CANARY})
        for wrong in (CANARY, json.dumps({"jsonrpc": "2.0", "id": 1, "method": CANARY, "params": {CANARY: CANARY}})):
            async with http.post(f"{server.url}/mcp", data=wrong, headers=MCP_HEADERS) as response:
                await response.read()
        await server.stop()
        printed = bytes(server.output)
    assert CANARY.encode() not in printed


async def test_bare_2_mcp_over_stdio_prints_no_word_of_what_was_asked_and_answered(tmp_path: Path) -> None:
    call = {"name": "llm_chat", "arguments": {"prompt": CANARY, "model": "sandbox/echo"}}
    wrong = {"name": "llm_chat", "arguments": {"prompt": 5, CANARY: CANARY}}
    messages = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE["params"]},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": CANARY, "params": {CANARY: CANARY}},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wrong},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.commands.mcp_command", "--sandbox"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "debug"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{json.dumps(message)}\n" for message in messages).encode())
    async with asyncio.timeout(30):
        while b'"id":2' not in (line := await process.stdout.readline()):
            assert line
        process.stdin.close()
        _, printed = await process.communicate()
    assert CANARY.encode() in line
    assert CANARY.encode() not in printed


def command_line_of(pid: int) -> bytes:
    """What `ps` shows."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def send_raw(port: int, text_: str) -> None:
    """Sends what may be no HTTP, and waits until the server has had enough of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text_.encode())
    writer.write_eof()
    async with asyncio.timeout(5):
        while await reader.read(4096):
            pass
    writer.close()
    await writer.wait_closed()


def test_the_server_starts_without_importing_what_only_mcp_and_the_sandbox_need() -> None:
    code = "import sys, server.__main__, server.process.serve; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not {"mcp", "starlette", "httpx", "anyio", "openai", "openrouter"} & loaded
    assert "client.sandbox" not in run.stdout.split()

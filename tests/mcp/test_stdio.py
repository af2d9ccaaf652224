"""`openrouter-mcp` as a desktop client starts it: a process of its own, spoken to over its pipes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from client.config import UpstreamConfig
from client.sandbox import Hold, Reply, Sandbox, chunk
from tests.support import template
from tests.support.mcp.clients import ERAS, Era, Progress, answer, data_of, modern, text_of
from tests.support.process import ROOT, starts
from tests.support.proxies.forward import forward_proxy

CLOSED_WITHIN_S = 1.0
PATIENCE_S = 60
"""A process that loads the SDK takes long on a busy machine."""
COMMAND = (sys.executable, "-m", "server.commands.mcp_command")
CALL = {"prompt": "hi", "model": "acme/m"}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "0"},
}


def environment(upstream: Sandbox | None = None, **more: str) -> dict[str, str]:
    """Nothing of the machine's own settings, and no PATH."""
    found = {"PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **more}
    if upstream is not None:
        found |= {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY": "sk-or-v1-test"}
    return found


class Host:
    """The side of a desktop client, by hand.

    Attributes:
        lines: every line that came out of the server.
    """

    def __init__(self, process: asyncio.subprocess.Process | template.Forked) -> None:
        self.process = process
        self.lines: list[bytes] = []

    async def send(self, method: str, params: dict[str, Any], request_id: int | None = None) -> None:
        assert self.process.stdin is not None
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        message |= {} if request_id is None else {"id": request_id}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        self.lines.append(line)
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return dict(message)

    async def wait_result(self, request_id: int) -> dict[str, Any]:
        while (message := await self.read()).get("id") != request_id:
            pass
        return message

    async def initialize(self) -> dict[str, Any]:
        await self.send("initialize", INITIALIZE, 0)
        result = await self.wait_result(0)
        await self.send("notifications/initialized", {})
        return result

    async def call(self, name: str, arguments: dict[str, Any], request_id: int = 1) -> None:
        params = {"name": name, "arguments": arguments, "_meta": {"progressToken": "p"}}
        await self.send("tools/call", params, request_id)

    async def wait_exit(self) -> int:
        """The exit code; whatever is still written must be the protocol's."""
        assert self.process.stdout is not None
        rest = await self.process.stdout.read()
        for line in rest.splitlines():
            assert json.loads(line)["jsonrpc"] == "2.0"
        return await self.process.wait()


@asynccontextmanager
async def hosting(
    env: Mapping[str, str], *flags: str, cwd: str = "/", command: tuple[str, ...] | None = None
) -> AsyncIterator[Host]:
    """A server process with its pipes; it is gone afterwards.

    Args:
        command: that starts one with an interpreter of its own, as a host does; otherwise it may be a fork.
    """
    process: asyncio.subprocess.Process | template.Forked
    if starts.from_template and command is None and template.can_fork(env):
        process = await template.fork("openrouter-mcp", flags, cwd=cwd, env=env, stdin=True, limit=2**24)
    else:
        process = await asyncio.create_subprocess_exec(
            *(command or COMMAND),
            *flags,
            env=dict(env),
            cwd=cwd,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield Host(process)
    finally:
        if process.returncode is None:
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.communicate()


@asynccontextmanager
async def connected(upstream: Sandbox, era: Era) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(command=COMMAND[0], args=list(COMMAND[1:]), env=environment(upstream), cwd="/")
    async with asyncio.timeout(PATIENCE_S), Client(stdio_client(parameters), mode=era) as client:
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_a_chat_streams_progress_and_ends_with_its_answer(upstream: Sandbox, era: Era) -> None:
    progress = Progress()
    upstream.script(answer("lo", ahead=(chunk({"content": "Hel"}), Hold(progress.reported))))
    async with connected(upstream, era) as client:
        result = await client.call_tool("llm_chat", CALL, progress_callback=progress)
        found = await client.call_tool("search_models", {"q": "reasoner"})
    assert data_of(result)["text"] == "Hello"
    assert upstream.calls[0].headers["Authorization"] == "Bearer sk-or-v1-test"
    assert progress.values
    assert "sandbox/reasoner" in text_of(found)


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_cancelled_closes_upstream(upstream: Sandbox, era: Era) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    async with connected(upstream, era) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "llm_chat", CALL)
            await upstream.wait_call(0)
            group.cancel_scope.cancel()
        assert await _closed_after_s(upstream) < CLOSED_WITHIN_S


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_times_out_closes_upstream(upstream: Sandbox, era: Era) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    async with connected(upstream, era) as client:
        await client.call_tool("account", {})  # the first call loads what the others need
        with pytest.raises(Exception, match=r"(?i)timed out"):
            await client.call_tool("llm_chat", CALL, read_timeout_seconds=0.5)
        assert await _closed_after_s(upstream) < CLOSED_WITHIN_S


async def _closed_after_s(upstream: Sandbox) -> float:
    started_s = time.monotonic()
    await upstream.calls[0].closed.wait()
    assert upstream.calls[0].cancelled
    took_s = (upstream.calls[0].closed_at_s or 0.0) - started_s
    print(f"upstream closed after {took_s * 1e3:.0f} ms")
    return took_s


@pytest.mark.parametrize("end", ["eof", "sigint", "sigterm", "closed stdout"])
async def test_it_ends_cleanly_with_its_host_and_closes_upstream(upstream: Sandbox, end: str) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    async with hosting(environment(upstream)) as host:
        await host.initialize()
        await host.call("llm_chat", CALL)
        assert (await host.read())["method"] == "notifications/progress"
        await upstream.wait_call(0)
        started_s = time.monotonic()
        _end(host, end)
        code = await host.process.wait() if end == "closed stdout" else await host.wait_exit()
        print(f"{end}: ended after {(time.monotonic() - started_s) * 1e3:.0f} ms")
        assert code == 0
        await upstream.calls[0].closed.wait()
        assert upstream.calls[0].cancelled
        assert host.process.stderr is not None
        assert b"Traceback" not in await host.process.stderr.read()


def _end(host: Host, how: str) -> None:
    if how == "eof":
        assert host.process.stdin is not None
        host.process.stdin.close()
    elif how == "closed stdout":
        if isinstance(host.process, template.Forked):
            host.process.close_stdout()
        else:
            transport: Any = host.process._transport  # type: ignore[attr-defined]  # nothing public closes one pipe
            transport.get_pipe_transport(1).close()
    else:
        host.process.send_signal(signal.SIGINT if how == "sigint" else signal.SIGTERM)


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_that_is_killed_closes_upstream(upstream: Sandbox, tmp_path: Path, era: Era) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "llm_chat", "arguments": CALL}}
    messages = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call,
    ]
    if era == "auto":
        messages = [modern(call)[0]]
    host = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HOST, json.dumps([json.dumps(message) for message in messages]), *COMMAND),
        env=environment(upstream),
        cwd=tmp_path,
    )
    async with asyncio.timeout(PATIENCE_S):
        await upstream.wait_call(0)
        host.kill()
        await host.wait()
        assert await _closed_after_s(upstream) < CLOSED_WITHIN_S


_HOST = """
import json, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in json.loads(sys.argv[1]):
    child.stdin.write(line.encode() + b"\\n")
child.stdin.flush()
for line in child.stdout:
    pass
"""


async def test_nothing_but_the_protocol_is_on_stdout(upstream: Sandbox) -> None:
    async with hosting(environment(upstream), "--sandbox") as host:
        assert (await host.initialize())["result"]["serverInfo"]["name"] == "openrouter"
        calls = {"llm_chat": {"prompt": "hi"}, "get_model": {"model_id": "sandbox/echo"}}
        for number, name in enumerate(["llm_chat", "search_models", "get_model", "account", "nothing"], start=1):
            await host.call(name, calls.get(name, {}), number)
            await host.wait_result(number)
        assert host.process.stdin is not None
        host.process.stdin.write(b"not json\n\n[]\n")
        host.process.stdin.close()
        assert await host.wait_exit() == 0
    assert host.lines


async def test_a_stray_print_does_not_reach_the_host(upstream: Sandbox) -> None:
    upstream.script(answer("Hello"))
    async with hosting(environment(upstream), command=(sys.executable, "-c", _NOISY)) as host:
        await host.initialize()
        await host.call("llm_chat", CALL)
        result = (await host.wait_result(1))["result"]
        assert result["structuredContent"]["text"] == "Hello"
        assert host.process.stdin is not None
        host.process.stdin.close()
        assert await host.wait_exit() == 0
        assert host.process.stderr is not None
        assert b"noise" in await host.process.stderr.read()


_NOISY = """
import os, sys
from client.models.catalogue import Catalogue
from client.upstream.openrouter import OpenRouterClient
from server.commands.mcp_command import main

class Noisy(OpenRouterClient):
    def open_chat(self, *args):
        print("noise", flush=True)
        os.system("echo noise")
        return super().open_chat(*args)

import client.upstream.openrouter
client.upstream.openrouter.OpenRouterClient = Noisy
sys.exit(main([]))
"""


async def test_without_a_key_it_starts_and_says_so_in_the_call() -> None:
    async with hosting(environment(OPENROUTER_API_KEY="${user_config.api_key}")) as host:
        await host.initialize()
        await host.call("llm_chat", {"prompt": "hi"})
        result = (await host.wait_result(1))["result"]
        assert result["isError"]
        assert "OPENROUTER_API_KEY" in result["content"][0]["text"]


async def test_fields_that_a_bundles_user_left_blank_count_as_unset(upstream: Sandbox) -> None:
    upstream.script(answer("Hello"))
    blank = {"MODEL_NAME": "${user_config.model}", "API_TIMEOUT": "${user_config.timeout}", "HTTP_REFERER": ""}
    async with hosting(environment(upstream, **blank)) as host:
        await host.initialize()
        await host.call("llm_chat", {"prompt": "hi"})
        assert (await host.wait_result(1))["result"]["structuredContent"]["text"] == "Hello"
    assert upstream.calls[0].json["model"] == UpstreamConfig().model
    assert "HTTP-Referer" not in upstream.calls[0].headers


async def test_the_environments_proxy_is_used_but_not_for_the_sandbox(upstream: Sandbox) -> None:
    """Mcp F5."""
    upstream.script(answer("Hello"))
    async with forward_proxy(int(upstream.base_url.split(":")[2].partition("/")[0])) as proxy:
        proxies = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}", "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
        far = {"OPENROUTER_BASE_URL": "http://upstream.invalid/api/v1", "OPENROUTER_API_KEY": "sk-or-v1-test"}
        async with hosting({**environment(), **far, **proxies}) as host:
            await host.initialize()
            await host.call("llm_chat", CALL)
            assert (await host.wait_result(1))["result"]["structuredContent"]["text"] == "Hello"
        asked = len(proxy.heads)
        async with hosting({**environment(), **proxies}, "--sandbox") as host:
            await host.initialize()
            await host.call("llm_chat", {"prompt": "hi"})
            assert (await host.wait_result(1))["result"]["structuredContent"]["status"] == "completed"
    assert asked > 0
    assert len(proxy.heads) == asked


async def test_the_sandbox_is_announced_on_stderr() -> None:
    async with hosting(environment(), "--sandbox") as host:
        await host.initialize()
        assert host.process.stderr is not None
        assert b"sandbox" in await host.process.stderr.readline()


async def test_initialize_is_answered_soon_and_memory_stays_small() -> None:
    started_s = time.monotonic()
    async with hosting(environment(), "--sandbox", command=COMMAND) as host:
        await host.initialize()
        cpu_s = _cpu_s(host.process.pid)  # what it takes on an idle machine, also where others wait for the processor
        print(f"initialize after {time.monotonic() - started_s:.2f} s, of which {cpu_s:.2f} s are the program's own")
        await host.call("llm_chat", {"prompt": "hi"})
        await host.wait_result(1)
        rss_mb = _rss_mb(host.process.pid)
        print(f"memory after a call, with the sandbox inside: {rss_mb:.0f} MB")
    assert cpu_s < 2
    assert rss_mb < 120


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


async def test_unusable_settings_are_told_in_every_call_and_on_stderr(upstream: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('title = "of another program"\n')  # clients choose the working directory
    async with hosting(environment(upstream, API_TIMEOUT="soon"), cwd=str(tmp_path)) as host:
        await host.initialize()
        await host.send("tools/list", {}, 1)
        assert len((await host.wait_result(1))["result"]["tools"]) == 6
        for number, (name, arguments) in enumerate(
            [("llm_chat", {"prompt": "hi"}), ("search_models", {}), ("account", {})], start=2
        ):
            await host.call(name, arguments, number)
            result = (await host.wait_result(number))["result"]
            assert result["isError"]
            for words in ("API_TIMEOUT", "title", "config.toml", "restart"):
                assert words in result["content"][0]["text"]
        assert not upstream.requests
        assert host.process.stdin is not None
        host.process.stdin.close()
        assert await host.wait_exit() == 0
        assert host.process.stderr is not None
        told = (await host.process.stderr.read()).decode()
    assert "API_TIMEOUT" in told
    assert "Traceback" not in told


def test_the_version_is_printed() -> None:
    shown = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.startswith("openrouter-mcp ")


def test_bare_14_under_the_project_s_name_it_says_what_it_is_and_what_serves_http(tmp_path: Path) -> None:
    script = tmp_path / "openrouter-sse-backend"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from server.commands.mcp_command import main\nsys.exit(main())"
    )
    for words, told in (
        (["--version"], "openrouter-sse-backend "),
        (["--port", "1"], "openrouter-server serves HTTP"),
    ):
        done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, cwd=tmp_path)
        assert told in done.stdout + done.stderr


def test_bare_14_on_a_terminal_it_says_that_it_waits_for_a_client(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*COMMAND, "--sandbox"], stdin=its, stderr=subprocess.PIPE, cwd=tmp_path, env=env
    ) as process:
        assert process.stderr is not None
        assert b"openrouter-server serves HTTP. It waits for a client" in process.stderr.readline()
        process.terminate()
        process.communicate(timeout=20)
    os.close(ours)
    os.close(its)

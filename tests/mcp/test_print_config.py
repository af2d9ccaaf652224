"""What `openrouter-mcp print-config` prints starts the server as it says, and is what each client reads."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest
import yaml  # type: ignore[import-untyped]
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_app.stdio.print_config import CLIENTS
from server.commands.mcp_command import main
from server.config import Config
from tests.mcp.test_stdio import hosting
from tests.support.process import ROOT
from tests.support.serving import serving, with_tokens

Printed = Callable[..., str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """What print-config prints for a client; `flags` go before the word, `more` behind it."""

    def show(client: str, *flags: str, more: tuple[str, ...] = (), code: int = 0) -> str:
        assert main([*flags, "print-config", "--client", client, *more]) == code
        shown = capsys.readouterr()
        assert shown.err
        return shown.out if code == 0 else shown.err

    return show


KEYS = {
    "vscode": "servers",
    "codex": "mcp_servers",
    "opencode": "mcp",
    "zed": "context_servers",
    "goose": "extensions",
}
STARTING = tuple(client for client in CLIENTS if client != "open-webui")
"""Clients that start programs."""


def entry_of(client: str, text: str) -> dict[str, Any]:
    """The one server in a configuration file, where the client looks for it; its command, arguments and variables by
    the names that most have."""
    read = {"codex": tomllib.loads, "goose": yaml.safe_load, "librechat": yaml.safe_load}.get(client, json.loads)
    servers = read(text)[KEYS.get(client, "mcpServers")]
    assert list(servers) == ["openrouter"]
    entry = dict(servers["openrouter"])
    if client == "opencode" and "command" in entry:
        entry["command"], *entry["args"] = entry["command"]
    for theirs, name in {"cmd": "command", "envs": "env", "environment": "env", "http_headers": "headers"}.items():
        if theirs in entry:
            entry[name] = entry.pop(theirs)
    return entry


def test_every_client_starts_the_same_command(printed: Printed) -> None:
    entries = [entry_of(client, printed(client, "--sandbox")) for client in STARTING]
    assert len({(entry["command"], *entry["args"], *entry.get("env", {})) for entry in entries}) == 1


@pytest.mark.parametrize("client", ["claude-desktop", "goose"])
async def test_the_command_starts_exactly_as_the_file_says_without_any_path(
    client: str, tmp_path: Path, printed: Printed
) -> None:
    file = tmp_path / "pasted.json"
    file.write_text(printed(client, "--sandbox"))
    entry = entry_of(client, file.read_text())
    assert Path(entry["command"]).is_absolute()
    command = (entry["command"], *entry["args"])
    async with hosting({"PATH": "", **entry.get("env", {})}, command=command, cwd=str(tmp_path)) as host:
        assert (await host.initialize())["result"]["serverInfo"]["name"] == "openrouter"
        await host.call("llm_chat", {"prompt": "hi"})
        assert "You asked: hi" in (await host.wait_result(1))["result"]["structuredContent"]["text"]


@pytest.mark.parametrize("client", STARTING)
def test_the_key_goes_through_the_environment_and_never_through_arguments(client: str, printed: Printed) -> None:
    entry = entry_of(client, printed(client))
    assert "OPENROUTER_API_KEY" in entry["env"]
    assert "KEY" not in " ".join(entry["args"]).upper()


def test_vs_code_asks_for_the_key(printed: Printed) -> None:
    config = json.loads(printed("vscode"))
    [asked] = config["inputs"]
    assert asked["password"] is True
    assert config["servers"]["openrouter"]["env"]["OPENROUTER_API_KEY"] == f"${{input:{asked['id']}}}"
    assert config["servers"]["openrouter"]["type"] == "stdio"


@pytest.mark.parametrize(
    ("client", "url_key", "type_"),
    [
        ("claude-code", "url", "http"),
        ("vscode", "url", "http"),
        ("cursor", "url", None),
        ("windsurf", "serverUrl", None),
        ("codex", "url", None),
        ("gemini-cli", "httpUrl", None),
        ("opencode", "url", "remote"),
        ("copilot-cli", "url", "http"),
        ("zed", "url", None),
        ("cline", "url", "streamableHttp"),
        ("goose", "uri", "streamable_http"),
        ("librechat", "url", "streamable-http"),
    ],
)
def test_a_server_that_runs_already_is_named_by_its_url(
    client: str, url_key: str, type_: str | None, printed: Printed
) -> None:
    entry = entry_of(client, printed(client, more=("--http", "https://h.example/mcp")))
    assert entry[url_key] == "https://h.example/mcp"
    assert entry.get("type") == type_
    assert entry["headers"]["Authorization"].startswith("Bearer ")
    local = ("--http", "http://127.0.0.1:8000/mcp")
    assert "headers" not in entry_of(client, printed(client, more=local))
    assert "headers" in entry_of(client, printed(client, more=(*local, "--with-token")))


async def test_a_client_that_connects_as_the_file_says_is_served(config: Config, printed: Printed) -> None:
    async with asyncio.timeout(60), serving(with_tokens(config, "token-of-ann")) as api:
        for client in STARTING[1:]:  # Claude Desktop's file knows no URLs
            text = printed(client, more=("--http", f"{api.url}/mcp", "--with-token"))
            for placeholder in ("paste-a-token-of-your-server-here", "${input:openrouter-server-token}"):
                text = text.replace(placeholder, "token-of-ann")
            entry = entry_of(client, text)
            async with httpx2.AsyncClient(headers=entry["headers"]) as http:
                transport = streamable_http_client(_url_of(entry), http_client=http)
                async with Client(transport) as connected:
                    assert len((await connected.list_tools()).tools) == 6


def _url_of(entry: dict[str, Any]) -> str:
    return next(str(entry[name]) for name in ("url", "serverUrl", "httpUrl", "uri") if name in entry)


def test_open_webui_gets_a_connection_and_starts_nothing(printed: Printed) -> None:
    assert "--http" in printed("open-webui", code=64)
    [connection] = json.loads(printed("open-webui", more=("--http", "https://h.example/mcp")))
    assert connection["url"] == "https://h.example/mcp"
    assert (connection["type"], connection["auth_type"]) == ("mcp", "bearer")


def test_links_and_lines_install_the_same_entry(printed: Printed, capsys: pytest.CaptureFixture[str]) -> None:
    """G3."""
    entries = {}
    for client in ("cursor", "vscode", "codex"):
        assert main(["print-config", "--client", client]) == 0
        shown = capsys.readouterr()
        entries[client] = entry_of(client, shown.out), shown.err
    entry, said = entries["cursor"]
    [link] = re.findall(r"^cursor:\S+", said, re.MULTILINE)
    asked = parse_qs(urlsplit(link).query)
    assert asked["name"] == ["openrouter"]
    assert json.loads(base64.b64decode(asked["config"][0])) == entry
    entry, said = entries["vscode"]
    [link] = re.findall(r"^vscode:\S+", said, re.MULTILINE)
    described = json.loads(unquote(link.partition("?")[2]))
    assert described.pop("name") == "openrouter"
    assert described.pop("inputs")[0]["password"] is True
    assert described == entry
    entry, said = entries["codex"]
    [line] = re.findall(r"^codex .*", said, re.MULTILINE)
    assert shlex.split(line)[-1 - len(entry["args"]) :] == [entry["command"], *entry["args"]]


def test_claude_desktop_is_told_that_its_file_knows_no_urls(printed: Printed) -> None:
    said = printed("claude-desktop", more=("--http", "https://h.example/mcp"), code=64)
    assert "--http" in said


def test_an_address_that_is_no_url_is_refused(printed: Printed) -> None:
    assert "http://127.0.0.1:8000/mcp" in printed("cursor", more=("--http", "localhost:8000"), code=64)


def test_the_installed_script_is_named_where_there_is_one(tmp_path: Path) -> None:
    script = tmp_path / "openrouter-mcp"
    lines = [
        "import sys",
        f"sys.path.insert(0, {str(ROOT)!r})",
        "from server.commands.mcp_command import main",
        "main()",
    ]
    script.write_text("\n".join([f"#!{sys.executable}", *lines]))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    flags = ["--config", "my.toml", "print-config", "--client", "cursor"]
    env = {**os.environ, "PATH": ""}
    shown = subprocess.run([str(script), *flags], capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
    entry = entry_of("cursor", shown.stdout)
    assert entry["command"] == str(script)
    assert entry["args"] == ["--config", str(tmp_path / "my.toml")]

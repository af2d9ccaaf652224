"""What `openrouter-mcp print-config` prints starts the server as it says, and is what each client reads."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_app.print_config import CLIENTS
from tests.process import ROOT
from tests.test_mcp_stdio import hosting


def print_config(*flags: str, client: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.mcp_command", *flags, "print-config", "--client", client]
    return subprocess.run(command, capture_output=True, text=True, check=check, cwd=ROOT)


def entry_of(client: str, text: str) -> dict[str, Any]:
    """The one server in a configuration file, where the client looks for it."""
    config = json.loads(text)
    servers = config["servers" if client == "vscode" else "mcpServers"]
    assert list(servers) == ["openrouter"]
    return dict(servers["openrouter"])


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_command_starts_exactly_as_the_file_says_without_any_path(client: str, tmp_path: Path) -> None:
    file = tmp_path / "pasted.json"
    file.write_text(print_config("--sandbox", client=client).stdout)
    entry = entry_of(client, file.read_text())
    assert Path(entry["command"]).is_absolute()
    command = (entry["command"], *entry["args"])
    async with hosting({"PATH": "", **entry.get("env", {})}, command=command, cwd=str(tmp_path)) as host:
        assert (await host.initialize())["result"]["serverInfo"]["name"] == "openrouter"
        await host.call("llm_chat", {"prompt": "hi"})
        assert "You asked: hi" in (await host.wait_result(1))["result"]["structuredContent"]["text"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_key_goes_through_the_environment_and_never_through_arguments(client: str) -> None:
    entry = entry_of(client, print_config(client=client).stdout)
    assert "OPENROUTER_API_KEY" in entry["env"]
    assert "KEY" not in " ".join(entry["args"]).upper()


def test_vs_code_asks_for_the_key() -> None:
    config = json.loads(print_config(client="vscode").stdout)
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
    ],
)
def test_a_server_that_runs_already_is_named_by_its_url(client: str, url_key: str, type_: str | None) -> None:
    command = [sys.executable, "-m", "server.mcp_command", "print-config", "--client", client, "--http"]
    shown = subprocess.run([*command, "https://h.example/mcp"], capture_output=True, text=True, check=True, cwd=ROOT)
    entry = entry_of(client, shown.stdout)
    assert entry[url_key] == "https://h.example/mcp"
    assert entry.get("type") == type_
    assert entry["headers"]["Authorization"].startswith("Bearer ")
    local = subprocess.run(
        [*command, "http://127.0.0.1:8000/mcp"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "headers" not in entry_of(client, local.stdout)


def test_claude_desktop_is_told_that_its_file_knows_no_urls() -> None:
    command = [sys.executable, "-m", "server.mcp_command", "print-config", "--client", "claude-desktop"]
    shown = subprocess.run([*command, "--http", "https://h.example/mcp"], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 64
    assert shown.stdout == ""
    assert "--http" in shown.stderr


def test_the_installed_script_is_named_where_there_is_one(tmp_path: Path) -> None:
    script = tmp_path / "openrouter-mcp"
    lines = ["import sys", f"sys.path.insert(0, {str(ROOT)!r})", "from server.mcp_command import main", "main()"]
    script.write_text("\n".join([f"#!{sys.executable}", *lines]))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    flags = ["--config", "my.toml", "print-config", "--client", "cursor"]
    env = {**os.environ, "PATH": ""}
    shown = subprocess.run([str(script), *flags], capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
    entry = entry_of("cursor", shown.stdout)
    assert entry["command"] == str(script)
    assert entry["args"] == ["--config", str(tmp_path / "my.toml")]

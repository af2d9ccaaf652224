"""What to paste into a desktop client's configuration. Pure module.

Desktop clients do not have the shell's PATH, so the command is an absolute path. The key goes through the
environment, never through arguments, which every program on the machine can read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

NAME: Final = "openrouter"
CLIENTS: Final = ("claude-desktop", "claude-code", "vscode", "cursor", "windsurf")

_KEY: Final = "OPENROUTER_API_KEY"
_PASTE_KEY: Final = "paste-your-OpenRouter-key-here"
_PASTE_TOKEN: Final = "paste-a-token-of-your-server-here"  # noqa: S105  # not a secret
_VSCODE_KEY: Final = "openrouter-key"
_VSCODE_TOKEN: Final = "openrouter-server-token"  # noqa: S105

WHERE: Final = {
    "claude-desktop": "claude_desktop_config.json (Settings > Developer > Edit Config), then quit and start Claude "
    "Desktop again",
    "claude-code": ".mcp.json in your project",
    "vscode": ".vscode/mcp.json in your project, or your profile's (command: MCP: Open User Configuration)",
    "cursor": "~/.cursor/mcp.json, or .cursor/mcp.json in your project",
    "windsurf": "~/.codeium/windsurf/mcp_config.json",
}
"""The file that each client reads."""


class NotPossible(Exception):
    """The client cannot be configured that way; the text says what to do instead."""


def stdio_config(
    client: str, command: str, arguments: list[str], *, environment: Mapping[str, str], needs_key: bool = True
) -> str:
    """The entry that starts `command`, an absolute path; with a place for the key unless none is needed."""
    entry: dict[str, Any] = {"command": command, "args": arguments}
    if client in ("vscode", "claude-code"):
        entry = {"type": "stdio", **entry}
    key = {_KEY: f"${{input:{_VSCODE_KEY}}}" if client == "vscode" else _PASTE_KEY} if needs_key else {}
    if key or environment:
        entry["env"] = {**key, **environment}
    inputs = [_vscode_input(_VSCODE_KEY, "OpenRouter API key")] if needs_key else []
    return _file(client, entry, inputs)


def http_config(client: str, url: str, *, needs_token: bool) -> str:
    """The entry for a server that runs already.

    Raises:
        NotPossible: Claude Desktop starts programs only.
    """
    if client == "claude-desktop":
        raise NotPossible(
            "Claude Desktop's configuration file starts programs only: leave out --http, or add the URL as a custom "
            "connector in its settings, where it must be reachable from the internet."
        )
    entry: dict[str, Any] = {"serverUrl" if client == "windsurf" else "url": url}
    if client in ("vscode", "claude-code"):
        entry = {"type": "http", **entry}
    if needs_token:
        token = f"${{input:{_VSCODE_TOKEN}}}" if client == "vscode" else _PASTE_TOKEN
        entry["headers"] = {"Authorization": f"Bearer {token}"}
    inputs = [_vscode_input(_VSCODE_TOKEN, "Token of your openrouter-server")] if needs_token else []
    return _file(client, entry, inputs)


def _file(client: str, entry: dict[str, Any], inputs: list[dict[str, Any]]) -> str:
    if client != "vscode":
        return json.dumps({"mcpServers": {NAME: entry}}, indent=2)
    servers: dict[str, Any] = {"servers": {NAME: entry}}
    return json.dumps({"inputs": inputs, **servers} if inputs else servers, indent=2)


def _vscode_input(name: str, description: str) -> dict[str, Any]:
    return {"type": "promptString", "id": name, "description": description, "password": True}

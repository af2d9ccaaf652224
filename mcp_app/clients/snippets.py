"""What each client's configuration says of this server. Pure module.

Desktop clients do not have the shell's PATH, so the command is an absolute path. The key goes through the
environment, never through arguments, which every program on the machine can read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

NAME: Final = "openrouter"
KEY: Final = "OPENROUTER_API_KEY"
PASTE_KEY: Final = "paste-your-OpenRouter-key-here"
PASTE_TOKEN: Final = "paste-a-token-of-your-server-here"  # noqa: S105  # not a secret
_VSCODE_KEY: Final = "openrouter-key"
_VSCODE_TOKEN: Final = "openrouter-server-token"  # noqa: S105
_TIMEOUT_S: Final = 300
"""How long a client waits for a tool, where it has to be told: an answer takes longer than most tools."""

Format = Literal["json", "toml", "yaml"]


class NotPossible(Exception):
    """The client cannot be configured that way; the text says what to do instead."""


@dataclass(frozen=True)
class Shape:
    """How a client's file is made.

    Attributes:
        keys: where the servers are.
        environment: what the entry calls its variables.
        local: what else stands in an entry that starts a program.
        remote: the same for one that names a URL.
        url: what that calls it.
        headers: and the headers.
    """

    keys: tuple[str, ...] = ("mcpServers",)
    format: Format = "json"
    environment: str = "env"
    local: Mapping[str, Any] = field(default_factory=dict)
    remote: Mapping[str, Any] = field(default_factory=dict)
    url: str = "url"
    headers: str = "headers"


SHAPES: Final[Mapping[str, Shape]] = {
    "claude-desktop": Shape(),
    "claude-code": Shape(local={"type": "stdio"}, remote={"type": "http"}),
    "vscode": Shape(("servers",), local={"type": "stdio"}, remote={"type": "http"}),
    "cursor": Shape(),
    "windsurf": Shape(url="serverUrl"),
    "codex": Shape(
        ("mcp_servers",),
        "toml",
        local={"tool_timeout_sec": _TIMEOUT_S},
        remote={"tool_timeout_sec": _TIMEOUT_S},
        headers="http_headers",
    ),
    "gemini-cli": Shape(local={"timeout": _TIMEOUT_S * 1000}, remote={"timeout": _TIMEOUT_S * 1000}, url="httpUrl"),
    "opencode": Shape(
        ("mcp",), environment="environment", local={"type": "local", "enabled": True}, remote={"type": "remote"}
    ),
    "copilot-cli": Shape(local={"type": "local", "tools": ["*"]}, remote={"type": "http", "tools": ["*"]}),
    "zed": Shape(("context_servers",)),
    "cline": Shape(local={"timeout": _TIMEOUT_S}, remote={"type": "streamableHttp", "timeout": _TIMEOUT_S}),
    "goose": Shape(
        ("extensions",),
        "yaml",
        "envs",
        local={"name": "OpenRouter", "type": "stdio", "enabled": True, "timeout": _TIMEOUT_S},
        remote={"name": "OpenRouter", "type": "streamable_http", "enabled": True, "timeout": _TIMEOUT_S},
        url="uri",
    ),
    "librechat": Shape(
        ("mcpServers",),
        "yaml",
        local={"type": "stdio", "timeout": _TIMEOUT_S * 1000},
        remote={"type": "streamable-http", "timeout": _TIMEOUT_S * 1000},
    ),
    "open-webui": Shape(),
}
CLIENTS: Final = tuple(SHAPES)


@dataclass(frozen=True)
class Snippet:
    """What belongs into a client's file.

    Attributes:
        entry: of this server, below the keys.
        inputs: what VS Code asks its user for.
    """

    client: str
    entry: dict[str, Any]
    inputs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def shape(self) -> Shape:
        """How the file is made."""
        return SHAPES[self.client]

    def text(self) -> str:
        """A whole file that holds nothing else."""
        if self.client == "open-webui":
            return json.dumps([self.entry], indent=2)
        nested: dict[str, Any] = {NAME: self.entry}
        for key in reversed(self.shape.keys):
            nested = {key: nested}
        match self.shape.format:
            case "toml":
                return toml_of((*self.shape.keys, NAME), self.entry).rstrip("\n")
            case "yaml":
                return yaml_of(nested).rstrip("\n")
            case "json":
                return json.dumps({"inputs": self.inputs, **nested} if self.inputs else nested, indent=2)


def local_snippet(
    client: str, command: str, arguments: Sequence[str], environment: Mapping[str, str], *, needs_key: bool
) -> Snippet:
    """The entry that starts `command`, an absolute path; with a place for the key unless none is needed.

    Raises:
        NotPossible: the client starts no programs.
    """
    if client == "open-webui":
        raise NotPossible(
            "Open WebUI starts no programs: run openrouter-server where it can reach it, and call this again with "
            "--http and the address of that, such as --http http://host.docker.internal:8000/mcp"
        )
    shape = SHAPES[client]
    key = {KEY: f"${{input:{_VSCODE_KEY}}}" if client == "vscode" else PASTE_KEY} if needs_key else {}
    started: dict[str, Any] = {"command": command, "args": list(arguments)}
    if client == "opencode":
        started = {"command": [command, *arguments]}
    elif client == "goose":
        started = {"cmd": command, "args": list(arguments)}
    entry: dict[str, Any] = {**shape.local, **started}
    if variables := {**key, **environment}:
        entry[shape.environment] = variables
    inputs = [_vscode_input(_VSCODE_KEY, "OpenRouter API key")] if needs_key and client == "vscode" else []
    return Snippet(client, entry, inputs)


def remote_snippet(client: str, url: str, *, needs_token: bool) -> Snippet:
    """The entry for a server that runs already.

    Raises:
        NotPossible: Claude Desktop starts programs only.
    """
    if client == "claude-desktop":
        raise NotPossible(
            "Claude Desktop's configuration file starts programs only: leave out --http, or add the URL as a custom "
            "connector in its settings, where it must be reachable from the internet."
        )
    if client == "open-webui":
        return Snippet(client, _open_webui(url, needs_token=needs_token))
    shape = SHAPES[client]
    entry: dict[str, Any] = {**shape.remote, shape.url: url}
    is_asked = client == "vscode" and needs_token
    if needs_token:
        token = f"${{input:{_VSCODE_TOKEN}}}" if is_asked else PASTE_TOKEN
        entry[shape.headers] = {"Authorization": f"Bearer {token}"}
    inputs = [_vscode_input(_VSCODE_TOKEN, "Token of your openrouter-server")] if is_asked else []
    return Snippet(client, entry, inputs)


def _open_webui(url: str, *, needs_token: bool) -> dict[str, Any]:
    """A connection as its variable TOOL_SERVER_CONNECTIONS lists them."""
    return {
        "type": "mcp",
        "url": url,
        "path": "",
        "auth_type": "bearer" if needs_token else "none",
        "key": PASTE_TOKEN if needs_token else "",
        "config": {"enable": True},
        "info": {"id": NAME, "name": "OpenRouter", "description": "Any model of OpenRouter"},
    }


def _vscode_input(name: str, description: str) -> dict[str, Any]:
    return {"type": "promptString", "id": name, "description": description, "password": True}


# -- formats ------------------------------------------------------------------------------------------------------


def toml_of(keys: Sequence[str], entry: Mapping[str, Any]) -> str:
    """A table, with a table below it for each object in it."""
    lines = [f"[{'.'.join(keys)}]"]
    lines += [f"{key} = {_toml_value(value)}" for key, value in entry.items() if not isinstance(value, Mapping)]
    for key, value in entry.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{'.'.join((*keys, key))}]"]
            lines += [f"{name} = {_toml_value(inner)}" for name, inner in value.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    """A value; JSON's spelling of texts, numbers, truth and lists is TOML's too."""
    return json.dumps(value, ensure_ascii=True)


def yaml_of(value: Mapping[str, Any], indent: str = "") -> str:
    """An object by indentation; texts and lists as JSON spells them, which is YAML too."""
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [f"{indent}{key}:", yaml_of(item, indent + "  ").rstrip("\n")]
        else:
            lines.append(f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"

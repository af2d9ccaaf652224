"""What a client opens, or a person types, to have this server installed. Pure module."""

from __future__ import annotations

import base64
import json
import shlex
from typing import Any
from urllib.parse import quote

from mcp_app.clients.snippets import NAME, Snippet


def install_link(snippet: Snippet) -> str | None:
    """A link that opens the client; None for one that has none."""
    if snippet.client == "cursor":
        encoded = base64.b64encode(_compact(snippet.entry).encode()).decode()
        return f"cursor://anysphere.cursor-deeplink/mcp/install?name={NAME}&config={quote(encoded, safe='')}"
    if snippet.client == "vscode":
        described = {"name": NAME, **snippet.entry, **({"inputs": snippet.inputs} if snippet.inputs else {})}
        return f"vscode:mcp/install?{quote(_compact(described), safe='')}"
    return None


def install_command(snippet: Snippet) -> str | None:
    """A line for a terminal; None for a client without a command for it."""
    entry = snippet.entry
    if snippet.client == "claude-code":
        return f"claude mcp add-json {NAME} {shlex.quote(_compact(entry))}"
    if snippet.client == "vscode":
        return f"code --add-mcp {shlex.quote(_compact({'name': NAME, **entry}))}"
    if snippet.client == "codex" and "command" in entry:
        variables = [word for name, value in entry.get("env", {}).items() for word in ("--env", f"{name}={value}")]
        return shlex.join(["codex", "mcp", "add", NAME, *variables, "--", entry["command"], *entry["args"]])
    return None


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

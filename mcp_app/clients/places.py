"""The file in which each client looks. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Final

from mcp_app.clients.snippets import NotPossible

WHERE: Final = {
    "claude-desktop": "claude_desktop_config.json (Settings > Developer > Edit Config), then quit and start Claude "
    "Desktop again",
    "claude-code": ".mcp.json in your project",
    "vscode": ".vscode/mcp.json in your project, or your profile's (command: MCP: Open User Configuration)",
    "cursor": "~/.cursor/mcp.json, or .cursor/mcp.json in your project",
    "windsurf": "~/.codeium/windsurf/mcp_config.json",
    "codex": "~/.codex/config.toml",
    "gemini-cli": "~/.gemini/settings.json, or .gemini/settings.json in your project",
    "opencode": "~/.config/opencode/opencode.json, or opencode.json in your project",
    "copilot-cli": "~/.copilot/mcp-config.json",
    "zed": "its settings.json (command: zed: open settings file)",
    "cline": "cline_mcp_settings.json (MCP Servers > Configure MCP Servers)",
    "goose": "~/.config/goose/config.yaml",
    "librechat": "librechat.yaml, then restart it; the command's path is that within its container",
    "open-webui": "the variable TOOL_SERVER_CONNECTIONS, or type the URL into Admin Settings > External Tools as an "
    "MCP server (Streamable HTTP)",
}
"""For people: where the text belongs."""

_CLINE: Final = "User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"


def config_file(client: str, *, home: Path, cwd: Path, environ: Mapping[str, str], platform: str) -> Path:
    """The user's file, whether it is there or not.

    Args:
        platform: as `sys.platform` has it.

    Raises:
        NotPossible: nobody knows where it is.
    """
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    application = _application_folder(home, config, environ, platform)
    is_windows = platform == "win32"
    if client in ("librechat", "open-webui"):
        raise NotPossible(f"Where {client} keeps its settings is yours to say: --write FILE, or paste the text.")
    places: dict[str, PurePath] = {
        "claude-desktop": application / "Claude" / "claude_desktop_config.json",
        "claude-code": cwd / ".mcp.json",
        "vscode": application / "Code" / "User" / "mcp.json",
        "cursor": home / ".cursor" / "mcp.json",
        "windsurf": home / ".codeium" / "windsurf" / "mcp_config.json",
        "codex": Path(environ.get("CODEX_HOME") or home / ".codex") / "config.toml",
        "gemini-cli": home / ".gemini" / "settings.json",
        "opencode": _opencode(config / "opencode"),
        "copilot-cli": Path(environ.get("COPILOT_HOME") or home / ".copilot") / "mcp-config.json",
        "zed": (application if is_windows else config) / ("Zed" if is_windows else "zed") / "settings.json",
        "cline": application / "Code" / _CLINE,
        "goose": (application / "Block" / "goose" / "config" if is_windows else config / "goose") / "config.yaml",
    }
    return Path(places[client])


def _application_folder(home: Path, config: Path, environ: Mapping[str, str], platform: str) -> Path:
    if platform == "win32":
        return Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    return home / "Library" / "Application Support" if platform == "darwin" else config


def _opencode(folder: Path) -> Path:
    """It reads either, and the one that is there is the user's."""
    with_comments = folder / "opencode.jsonc"
    return with_comments if with_comments.exists() else folder / "opencode.json"

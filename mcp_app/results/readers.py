"""Hosts that are known to give a model what they get: an answer goes to them once, as content.

A result has two forms, of which some hosts hand on the one, some the other, and some both, so that their model reads,
and its user pays for, everything twice. Structured content alone hides pictures. Every host hands the content on when
there is nothing else. Programs, and hosts that nobody knows, get both forms. Pure module.
"""

from __future__ import annotations

from typing import Final

_HOSTS: Final = (
    "claude-code",
    "claude-ai",
    "claude desktop",
    "codex",
    "copilot",
    "github-copilot",
    "gemini-cli",
    "opencode",
    "cursor",
    "visual studio code",
    "windsurf",
    "zed",
    "cline",
    "roo code",
    "goose",
    "librechat",
    "@librechat",
)
"""What the names begin with by which hosts say who they are, in small letters."""


def reads_content(name: str) -> bool:
    """Whether a client of that name gives its model the content."""
    return name.lower().startswith(_HOSTS)

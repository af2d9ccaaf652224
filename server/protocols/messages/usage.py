"""Usage in Anthropic's words, and what OpenRouter says beside it: the cost. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.border.fit import count_of

_SAME = ("cost", "cost_details", "is_byok")


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The usage of chat completions, whose prompt includes what was cached, as one of Messages."""
    details = _object(usage.get("prompt_tokens_details"))
    cached, written = _count(details, "cached_tokens"), _count(details, "cache_write_tokens")
    found: dict[str, Any] = {
        "input_tokens": max(0, _count(usage, "prompt_tokens") - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": _count(usage, "completion_tokens"),
        **{name: usage[name] for name in _SAME if name in usage},
    }
    thought = count_of(_object(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if thought:
        found["output_tokens_details"] = {"thinking_tokens": thought}
    if isinstance(usage.get("server_tool_use_details"), dict):
        found["server_tool_use"] = usage["server_tool_use_details"]
    return found


def _count(usage: Mapping[str, Any], name: str) -> int:
    return count_of(usage.get(name)) or 0


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

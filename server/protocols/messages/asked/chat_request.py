"""A request in the words of Messages as one of chat completions, for upstreams that have no such route. Pure module.

What OpenRouter has beside Anthropic's fields goes on as it is; what only Anthropic's servers can do is left out, or
refused where the answer would be another without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from client.errors import Detail
from server.protocols.messages.asked.turns import Turns
from server.protocols.messages.thinking import text_of

_TRANSLATED: Final = frozenset(
    {
        *("messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format"),
        *("stop_sequences", "metadata", "stream", "grace_s"),
    }
)
_LEFT_OUT: Final = frozenset(
    {
        *("context_management", "container", "betas", "service_tier", "speed", "safeguards", "cache_control"),
        *("deferred_tools", "stop_server_tools_when", "inference_geo", "fallbacks", "mcp_servers"),
    }
)
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_SEARCH = "web_search"


def chat_body_of(body: Mapping[str, Any], problems: list[Detail]) -> dict[str, Any]:
    """The body for chat completions; `problems` takes what has no translation."""
    turns = Turns(problems)
    left = _TRANSLATED | _LEFT_OUT
    chat: dict[str, Any] = {name: value for name, value in body.items() if name not in left}
    listed = body["messages"]
    chat["messages"] = [*turns.system(body.get("system")), *turns.messages(listed)]
    if body.get("mcp_servers"):
        problems.append(Detail("mcp_servers", "cannot be translated: this upstream runs no MCP tools"))
    if tools := _tools(body.get("tools"), turns.referenced, problems):
        chat["tools"] = tools
        chat |= _choice(body.get("tool_choice"))
    if reasoning := _reasoning(body):
        chat["reasoning"] = reasoning
    if (wanted := _format(body)) is not None:
        chat["response_format"] = wanted
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and metadata.get("user_id") and "user" not in chat:
        chat["user"] = metadata["user_id"]
    return {**chat, "stream": True, "stream_options": {"include_usage": True}}


def _tools(tools: Any, referenced: set[str], problems: list[Detail]) -> list[dict[str, Any]]:
    """Functions; those that are deferred only once they have been made known."""
    found: list[dict[str, Any]] = []
    for place, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if (
            isinstance(tool, dict)
            and tool.get("defer_loading") is True
            and text_of(tool.get("name")) not in referenced
        ):
            continue
        if isinstance(tool, dict) and (kind in (None, "custom") or "input_schema" in tool):
            named = {name: tool[name] for name in ("name", "description", "strict") if tool.get(name) is not None}
            found.append({"type": "function", "function": {**named, "parameters": tool.get("input_schema") or {}}})
        elif isinstance(kind, str) and kind.startswith(_SEARCH):
            found.append({"type": "openrouter:web_search"})
        else:
            problems.append(Detail(f"tools.{place}", f"cannot be translated: {text_of(kind)[:50]}"))
    return found


def _choice(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict):
        return {}
    found: dict[str, Any] = {}
    kind = text_of(choice.get("type"))
    if kind == "tool":
        found["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in _CHOICES:
        found["tool_choice"] = _CHOICES[kind]
    if choice.get("disable_parallel_tool_use") is True:
        found["parallel_tool_calls"] = False
    return found


def _reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    """A budget goes before an effort: upstream takes one of them."""
    thinking, output = body.get("thinking"), body.get("output_config")
    effort = output.get("effort") if isinstance(output, dict) else None
    if isinstance(thinking, dict):
        match thinking.get("type"):
            case "disabled":
                return {"enabled": False}
            case "enabled" if thinking.get("budget_tokens") is not None:
                return {"max_tokens": thinking["budget_tokens"]}
            case "enabled" | "adaptive":
                return {"effort": effort} if effort else {"enabled": True}
    return {"effort": effort} if effort else {}


def _format(body: Mapping[str, Any]) -> dict[str, Any] | None:
    output = body.get("output_config")
    wanted = output.get("format") if isinstance(output, dict) else None
    wanted = wanted or body.get("output_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": wanted.get("schema")}}

"""Tools of a Responses request as those of Chat Completions. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from client.errors import Detail

_SEARCH = "openrouter:web_search"
_FUNCTION_FIELDS = ("name", "description", "parameters", "strict", "defer_loading")
_SEARCH_FIELDS = ("search_context_size", "user_location", "max_results", "max_uses", "engine")
_SEARCH_FILTERS = {"allowed_domains": "allowed_domains", "blocked_domains": "excluded_domains"}


class Tools(NamedTuple):
    """What the model may call; None where the request does not say."""

    tools: list[dict[str, Any]] | None
    choice: Any


def tools_of(body: Mapping[str, Any], problems: list[Detail]) -> Tools:
    """`tools` and `tool_choice`. A tool that Chat Completions have no word for is a problem that names it: without it
    the answer would be another one."""
    given = body.get("tools")
    if given is not None and not isinstance(given, list):
        problems.append(Detail("tools", "must be a list"))
        return Tools(None, None)
    tools = None if given is None else _listed(given, problems)
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return Tools(tools, choice)
    if choice.get("type") == "allowed_tools":
        return _allowed(tools or [], choice, problems)
    return Tools(tools, _choice(choice, problems))


def _listed(given: list[Any], problems: list[Detail]) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    for place, tool in enumerate(given):
        found = _tool(tool, f"tools.{place}", problems)
        if found is not None:
            tools.append(found)
    return tools


def _tool(tool: Any, where: str, problems: list[Detail]) -> dict[str, Any] | None:
    if not isinstance(tool, dict):
        problems.append(Detail(where, "must be an object"))
        return None
    kind = tool.get("type")
    if kind == "function":
        return _function(tool, where, problems)
    if is_search(kind):
        return _search(tool)
    if isinstance(kind, str) and kind.startswith("openrouter:"):
        return tool
    problems.append(Detail(where, _unsupported(tool)))
    return None


def is_search(kind: Any) -> bool:
    """Whether this type of a tool is a search of the web, in any of its versions."""
    return isinstance(kind, str) and kind.startswith("web_search")


def _unsupported(tool: Mapping[str, Any]) -> str:
    kind = str(tool.get("type"))[:60]
    name = tool.get("name") or tool.get("server_label")
    named = f"{kind} {name[:60]!r}" if isinstance(name, str) else kind
    return f"the tool {named} is not supported here: the model can be given functions and web_search"


def _function(tool: Mapping[str, Any], where: str, problems: list[Detail]) -> dict[str, Any] | None:
    """They are flat in Responses; a nested one, as in Chat Completions, is taken too."""
    nested = tool.get("function")
    function = nested if isinstance(nested, dict) else tool
    if not isinstance(function.get("name"), str) or not function["name"]:
        problems.append(Detail(f"{where}.name", "is missing; a function has a name"))
        return None
    found = {name: function[name] for name in _FUNCTION_FIELDS if function.get(name) is not None}
    beside = {"cache_control": tool["cache_control"]} if "cache_control" in tool else {}
    return {"type": "function", "function": found, **beside}


def _search(tool: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {name: tool[name] for name in _SEARCH_FIELDS if tool.get(name) is not None}
    filters = tool.get("filters")
    if isinstance(filters, dict):
        parameters |= {ours: filters[name] for name, ours in _SEARCH_FILTERS.items() if filters.get(name)}
    return {"type": _SEARCH, "parameters": parameters} if parameters else {"type": _SEARCH}


def _choice(choice: Mapping[str, Any], problems: list[Detail]) -> Any:
    kind = choice.get("type")
    if kind == "function":
        if isinstance(choice.get("function"), dict):
            return choice
        return {"type": "function", "function": {"name": choice.get("name")}}
    if is_search(kind):
        return {"type": _SEARCH}
    if isinstance(kind, str) and kind.startswith("openrouter:"):
        return choice
    problems.append(Detail("tool_choice", _unsupported(choice)))
    return None


def _allowed(tools: list[dict[str, Any]], choice: Mapping[str, Any], problems: list[Detail]) -> Tools:
    """Those of them alone are given to the model, which comes to the same."""
    listed = choice.get("tools")
    if not isinstance(listed, list):
        problems.append(Detail("tool_choice.tools", "is missing; give a list"))
        return Tools(tools, None)
    allowed: list[Any] = [_choice(each, problems) for each in listed if isinstance(each, dict)]
    return Tools([tool for tool in tools if _named(tool) in map(_named, allowed)], choice.get("mode") or "auto")


def _named(tool: Any) -> tuple[Any, Any] | None:
    if not isinstance(tool, dict):
        return None
    function = tool.get("function")
    return tool.get("type"), function.get("name") if isinstance(function, dict) else None

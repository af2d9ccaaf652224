"""A `RunAgentInput` to the call that upstream gets. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.errors import Detail
from client.streams.names import LONGEST_NAME
from client.upstream.request import ChatCall, InvalidRequest
from server.protocols.ag_ui.messages import Turns, without_open_calls

_FIELDS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    **dict.fromkeys(("models", "modalities", "plugins", "transforms", "stop_server_tools_when"), (list,)),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_tool_calls"), (int,)),
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "top_a", "top_logprobs", "seed"), (int, float)),
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "repetition_penalty"), (int, float)),
    **dict.fromkeys(("logprobs", "include_reasoning", "parallel_tool_calls", "structured_outputs"), (bool,)),
    **dict.fromkeys(("user", "session_id", "service_tier", "route", "reasoning_effort", "verbosity"), (str,)),
    **dict.fromkeys(("preset", "prompt_cache_key", "safety_identifier", "speed"), (str,)),
    **dict.fromkeys(("provider", "reasoning", "response_format", "image_config", "audio", "prediction"), (dict,)),
    **dict.fromkeys(("metadata", "trace", "usage", "cache_control", "logit_bias"), (dict,)),
    **dict.fromkeys(("deferred_tools", "prompt_cache_options", "web_search_options", "debug"), (dict,)),
    "stop": (str, list),
    "tool_choice": (str, dict),
    "sandbox": (dict,),  # how the sandbox shall behave
}
"""OpenRouter's fields that `forwardedProps` may hold, and what each is: an application has other properties of its
own there, also ones of the same name, which are nobody else's business."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What readers of a run need of its request.

    Attributes:
        is_resumable: the client said that it reads again what it has lost (`X-Run-Id`).
    """

    thread_id: str
    run_id: str
    is_resumable: bool


def chat_call_of(body: Mapping[str, Any], *, is_resumable: bool, default_model: str, max_grace_s: float) -> ChatCall:
    """What is asked for; `grace_s` of the call only where `forwardedProps` says it.

    Raises:
        InvalidRequest: what cannot be taken, each field with what is wrong with it.
    """
    problems: list[Detail] = []

    def problem(where: str, what: str) -> None:
        problems.append(Detail(where, what))

    ids = [_id_of(body, name, problems) for name in ("threadId", "runId")]
    props = body.get("forwardedProps")
    props = props if isinstance(props, dict) else {}
    passed = {name: value for name, value in props.items() if _is_field(name, value)}
    turns = Turns(problem)
    messages = body.get("messages")
    if not isinstance(messages, list):
        problem("messages", "is missing; give a list")
    else:
        for index, message in enumerate(messages):
            turns.add(message, f"messages.{index}")
    sent = _with_context(without_open_calls(turns.messages), body.get("context"))
    if isinstance(messages, list) and not sent and not problems:
        problem("messages", "is empty; there is nothing to answer")
    tools = [*_tools_of(body.get("tools"), problems), *_server_tools_of(props.get("tools"))]
    grace_s = _grace_s(props.get("grace_s"), max_grace_s, problems)
    if problems:
        raise InvalidRequest(problems)
    upstream = {"model": default_model, **passed, "messages": sent, **({"tools": tools} if tools else {})}
    return ChatCall({**upstream, "stream": True}, True, grace_s, Asked(ids[0], ids[1], is_resumable))


def _id_of(body: Mapping[str, Any], name: str, problems: list[Detail]) -> str:
    found = body.get(name)
    if isinstance(found, str) and 1 <= len(found) <= LONGEST_NAME:
        return found
    problems.append(Detail(name, f"must be text of 1 to {LONGEST_NAME} characters"))
    return ""


def _is_field(name: str, value: Any) -> bool:
    kinds = _FIELDS.get(name)
    if kinds is None or not isinstance(value, kinds) or value == "":
        return False
    return bool in kinds or not isinstance(value, bool)


def _grace_s(asked: Any, max_grace_s: float, problems: list[Detail]) -> float | None:
    if asked is None:
        return None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 <= asked <= max_grace_s:
        problems.append(Detail("forwardedProps.grace_s", f"must be a number from 0 to {max_grace_s:g}"))
        return None
    return float(asked)


def _with_context(messages: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
    """What the application says of its state stands behind its instructions."""
    entries = [entry for entry in context if isinstance(entry, dict)] if isinstance(context, list) else []
    if not entries:
        return messages
    told = "\n\n".join(f"{entry.get('description', '')}:\n{entry.get('value', '')}" for entry in entries)
    first = next((at for at, each in enumerate(messages) if each["role"] != "system"), len(messages))
    return [*messages[:first], {"role": "system", "content": told}, *messages[first:]]


def _tools_of(tools: Any, problems: list[Detail]) -> list[dict[str, Any]]:
    found = []
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            problems.append(Detail(f"tools.{index}", "must be a tool: {name, description, parameters}"))
            continue
        fields = {name: tool[name] for name in ("name", "description", "parameters") if tool.get(name) is not None}
        found.append({"type": "function", "function": fields})
    return found


def _server_tools_of(tools: Any) -> list[dict[str, Any]]:
    """OpenRouter's own tools have no place in AG-UI's list."""
    listed = tools if isinstance(tools, list) else []
    return [tool for tool in listed if isinstance(tool, dict) and isinstance(tool.get("type"), str)]

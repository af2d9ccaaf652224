"""A request in the words of Anthropic's Messages, as one of chat completions: as much of it as the models here read.

Pure: no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from client.sandbox.models.order import BadRequest

_FORMAT = "anthropic-claude-v1"
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_SAME = ("model", "models", "max_tokens", "stream", "sandbox")


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The same request.

    Raises:
        BadRequest: it is none.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise BadRequest("messages: expected a list of messages with a role and content")
    if "max_tokens" not in body:
        raise BadRequest("max_tokens: Field required")
    chat: dict[str, Any] = {name: body[name] for name in _SAME if name in body}
    chat["messages"] = [part for message in messages for part in _messages(message)]
    tools = [_function(tool) for tool in body.get("tools") or [] if isinstance(tool, dict) and "input_schema" in tool]
    if tools:
        chat["tools"] = tools
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        named = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = _CHOICES.get(str(choice.get("type")), named)
    if reasoning := _reasoning(body):
        chat["reasoning"] = reasoning
    return chat


def _is_message(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    is_list = isinstance(content, list) and all(isinstance(block, dict) for block in content)
    return isinstance(content, str) or is_list


def _messages(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Results of tools are messages of their own."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    told: dict[str, Any] = {"role": str(message.get("role")), "content": []}
    for block in blocks:
        match block.get("type"):
            case "tool_result":
                yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": block.get("content")}
            case "tool_use":
                function = {"name": block.get("name"), "arguments": json.dumps(block.get("input"))}
                call = {"id": block.get("id"), "type": "function", "function": function}
                told.setdefault("tool_calls", []).append(call)
            case "thinking":
                entry = {"type": "reasoning.text", "text": block.get("thinking"), "format": _FORMAT}
                told.setdefault("reasoning_details", []).append({**entry, "signature": block.get("signature")})
            case _:
                told["content"].append(block)
    if told["content"] or len(told) > 2:
        yield told


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool.get("name"), "parameters": tool["input_schema"]}}


def _reasoning(body: dict[str, Any]) -> dict[str, Any]:
    thinking, output = body.get("thinking"), body.get("output_config")
    reasoning: dict[str, Any] = {}
    if isinstance(thinking, dict):
        if thinking.get("type") == "disabled":
            return {"enabled": False}
        if "budget_tokens" in thinking:
            reasoning["max_tokens"] = thinking["budget_tokens"]
    if isinstance(output, dict) and output.get("effort"):
        reasoning["effort"] = output["effort"]
    return reasoning

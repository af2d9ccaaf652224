"""A request in the words of OpenAI's Responses, as one of chat completions: as much of it as the models here read.

Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from client.sandbox.models.order import BadRequest

_FORMAT = "anthropic-claude-v1"
_SAME = ("model", "models", "stream", "sandbox", "reasoning")
_PARTS = {"input_text": "text", "output_text": "text", "input_image": "image_url"}


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The same request.

    Raises:
        BadRequest: it is none, or asks for what OpenRouter does not keep.
    """
    if body.get("previous_response_id") is not None:
        raise BadRequest("previous_response_id: Responses are stateless here; send the whole input")
    if body.get("background") or body.get("store"):
        raise BadRequest("background, store: expected false")
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BadRequest("input: expected text or a list of items")
    chat: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    system = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    chat["messages"] = [*system, *_messages(items)]
    tools = [_function(tool) for tool in body.get("tools") or [] if tool.get("type") == "function"]
    if tools:
        chat["tools"] = tools
    choice = body.get("tool_choice")
    if choice is not None:
        named = isinstance(choice, dict)
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}} if named else choice
    return chat


def _messages(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Items that belong to one turn of the model are messages of their own, which the models here do not mind."""
    for item in items:
        match item.get("type", "message"):
            case "message":
                yield {"role": str(item.get("role")), "content": _content(item.get("content"))}
            case "function_call":
                function = {"name": item.get("name"), "arguments": item.get("arguments")}
                call = {"id": item.get("call_id"), "type": "function", "function": function}
                yield {"role": "assistant", "content": None, "tool_calls": [call]}
            case "function_call_output":
                content = _content(item.get("output"))
                yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": content}
            case "reasoning":
                text = "".join(str(part.get("text")) for part in item.get("summary") or [])
                entry = {"type": "reasoning.text", "text": text, "signature": item.get("encrypted_content")}
                yield {"role": "assistant", "content": None, "reasoning_details": [{**entry, "format": _FORMAT}]}


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [{**part, "type": _PARTS.get(str(part.get("type")), part.get("type"))} for part in content]


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool.get("name"), "parameters": tool.get("parameters")}}

"""A Responses request as the body of Chat Completions that upstream gets. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.border.json_codec import encode_json
from client.errors import Detail
from client.upstream.request import ChatCall, InvalidRequest
from server.protocols.chat_completions.request import asked_grace_s
from server.protocols.responses.asked.input_items import messages_of
from server.protocols.responses.asked.tools import tools_of
from server.protocols.responses.reasoning import unsealed

RESPONSES = "responses"
"""What `upstream.protocols` calls it."""

_STAYS = frozenset(
    {
        *("background", "client_metadata", "context_management", "grace_s", "include", "input", "instructions"),
        *("max_output_tokens", "moderation", "previous_response_id", "conversation", "prompt"),
        *("prompt_cache_options", "prompt_cache_retention", "reasoning", "store", "stream", "stream_options", "text"),
        *("tool_choice", "tools", "top_logprobs", "truncation"),
    }
)
"""Fields that Chat Completions have no word for, or another one; all others go on as they are."""

_NOT_PASSED = frozenset(
    {"background", "store", "stream_options", "grace_s", "client_metadata", *("previous_response_id", "conversation")}
)
"""Fields that are ours where upstream speaks Responses itself, and those that are null."""

_REPEATED = (
    *("background", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls"),
    *("prompt_cache_key", "reasoning", "safety_identifier", "store", "temperature", "text", "tool_choice", "tools"),
    *("top_logprobs", "top_p", "truncation", "user"),
)
"""What of the request stands in the Response object again."""

_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
"""OpenRouter tells usage without being asked; other upstreams, which translation is for, do not."""

_MOST_REPEATED_BYTES = 32_768
_LONG = (
    "tools",
    "instructions",
    "text",
    "metadata",
    "tool_choice",
    "reasoning",
    "user",
    "prompt_cache_key",
    "safety_identifier",
)
_OF_STORED = {
    "previous_response_id": "no turns are stored here; send the whole conversation as input",
    "conversation": "no conversations are stored here; send the whole one as input",
    "prompt": "no prompts are stored here; send instructions and input",
}
_NOT_OF_REASONING = ("summary", "generate_summary")


def response_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float) -> ChatCall:
    """What is asked for.

    Raises:
        InvalidRequest: what cannot be had, each field with what is wrong with it.
    """
    problems = _field_problems(body, *_OF_STORED)
    messages = messages_of(body.get("instructions"), body.get("input"), problems)
    tools = tools_of(body, problems)
    mapped = {
        "tools": tools.tools,
        "tool_choice": tools.choice,
        "max_tokens": body.get("max_output_tokens"),
        **_text_fields(body.get("text"), problems),
        **_reasoning_fields(body.get("reasoning"), problems),
        **_logprobs_fields(body),
    }
    grace_s = asked_grace_s(body.get("grace_s"), max_grace_s, problems)
    if problems:
        raise InvalidRequest(problems)
    passed = {name: value for name, value in body.items() if name not in _STAYS and value is not None}
    passed |= {name: value for name, value in mapped.items() if value is not None}
    passed |= {"model": body.get("model") or default_model, "messages": messages, **_STREAMED}
    return ChatCall(passed, bool(body.get("stream")), grace_s, repeated(body))


def passed_call_of(body: Mapping[str, Any], *, default_model: str, max_grace_s: float) -> ChatCall:
    """The same for an upstream that speaks Responses itself: the body as it is, but for what it does not keep.

    Raises:
        InvalidRequest: what cannot be had, each field with what is wrong with it.
    """
    problems = _field_problems(body, "previous_response_id", "conversation")
    given = body.get("input")
    if not isinstance(given, str | list) or given == []:
        problems.append(Detail("input", "is missing; give text, or a list of at least one item"))
    grace_s = asked_grace_s(body.get("grace_s"), max_grace_s, problems)
    if problems:
        raise InvalidRequest(problems)
    passed = {name: value for name, value in body.items() if name not in _NOT_PASSED}
    passed |= {"model": body.get("model") or default_model, "stream": True}
    if isinstance(given, list):
        passed["input"] = [_passed_item(item, place) for place, item in enumerate(given)]
    return ChatCall(passed, bool(body.get("stream")), grace_s, repeated(body), RESPONSES)


def _passed_item(item: Any, place: int) -> Any:
    """OpenRouter wants an id and a status of what the model said, which OpenAI does not, and not all clients give."""
    if not isinstance(item, dict):
        return item
    kind = item.get("type", "message")
    if kind == "reasoning":
        return unsealed(item)
    if kind == "function_call":
        return {"id": f"fc_{place}", "status": "completed", **item}
    if kind == "message" and item.get("role") == "assistant" and isinstance(item.get("content"), list):
        return {"type": "message", "id": f"msg_{place}", "status": "completed", **item}
    return item


def _field_problems(body: Mapping[str, Any], *of_stored: str) -> list[Detail]:
    """What is wrong with fields that are our own business."""
    problems: list[Detail] = []
    model = body.get("model")
    if model is not None and not (isinstance(model, str) and model):
        problems.append(Detail("model", "must be a model id, as text"))
    for name in ("stream", "background", "store"):
        if not isinstance(body.get(name) or False, bool):
            problems.append(Detail(name, "must be true or false"))
    problems += [Detail(name, _OF_STORED[name]) for name in of_stored if body.get(name) is not None]
    return problems


def repeated(body: Mapping[str, Any]) -> bytes:
    """The JSON of what the answer's object says of its request; without what is long, where that would be too much to
    keep."""
    found = {name: body[name] for name in _REPEATED if body.get(name) is not None}
    for name in _LONG:
        if len(encoded := encode_json(found)) <= _MOST_REPEATED_BYTES:
            return encoded
        found.pop(name, None)
    return encode_json(found)


def _text_fields(text: Any, problems: list[Detail]) -> dict[str, Any]:
    if text is None:
        return {}
    if not isinstance(text, dict):
        problems.append(Detail("text", "must be an object"))
        return {}
    found = {} if text.get("verbosity") is None else {"verbosity": text["verbosity"]}
    format_ = text.get("format")
    if not isinstance(format_, dict) or format_.get("type") in (None, "text"):
        return found
    if format_["type"] != "json_schema":
        return {**found, "response_format": format_}
    schema = {name: value for name, value in format_.items() if name != "type" and value is not None}
    return {**found, "response_format": {"type": "json_schema", "json_schema": schema}}


def _reasoning_fields(reasoning: Any, problems: list[Detail]) -> dict[str, Any]:
    if reasoning is None:
        return {}
    if not isinstance(reasoning, dict):
        problems.append(Detail("reasoning", "must be an object"))
        return {}
    found = {name: value for name, value in reasoning.items() if name not in _NOT_OF_REASONING and value is not None}
    return {"reasoning": found} if found else {}


def _logprobs_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """They are asked for by their number, or by naming them among what shall be included."""
    number, include = body.get("top_logprobs"), body.get("include")
    is_included = isinstance(include, list) and "message.output_text.logprobs" in include
    if not number and not is_included:
        return {}
    return {"logprobs": True, **({} if number is None else {"top_logprobs": number})}

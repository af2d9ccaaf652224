"""The Response object: ids, status, what is repeated of the request, usage, and what it failed of. Pure module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from client.errors import Failure
from client.translation.events import Done

RESPONSE = "resp_"
_ITEM_ID = re.compile(r"(?:rs|msg|fc|ig)_([A-Za-z0-9_-]{1,64})_[0-9]{1,6}")

_CODES = {
    "forbidden": "invalid_prompt",
    "moderation": "invalid_prompt",
    "not_found": "invalid_prompt",
    "model_not_found": "invalid_prompt",
    "invalid_json": "invalid_prompt",
    "invalid_request": "invalid_prompt",
    "upstream_rejected": "invalid_prompt",
    "payload_too_large": "invalid_prompt",
    "context_length_exceeded": "context_length_exceeded",
    "insufficient_credits": "insufficient_quota",
    "too_many_requests": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
}
"""The code for each of our types; what is not here is a `server_error`, which clients try again."""

_FIELDS_OF_COST = {
    "upstream_inference_prompt_cost": "upstream_inference_input_cost",
    "upstream_inference_completions_cost": "upstream_inference_output_cost",
}


def stream_ids_of(response_id: str) -> tuple[str, ...]:
    """The streams that an id may mean, likeliest first: those that began in other protocols go by their own id."""
    bare = response_id.removeprefix(RESPONSE)
    return (bare,) if bare == response_id else (bare, response_id)


def stream_id_of_item(item_id: Any) -> str | None:
    """The stream that an item of ours is of; None for an id that is not ours."""
    match = _ITEM_ID.fullmatch(item_id) if isinstance(item_id, str) else None
    return None if match is None else match[1]


def response_object(
    stream_id: str,
    *,
    created_s: float,
    model: str,
    status: str,
    asked: Mapping[str, Any],
    output: list[Any],
    usage: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """All that the SDKs look for; `more` are `error`, `incomplete_details` and `service_tier`."""
    background = asked.get("background") is True
    return {
        "id": RESPONSE + stream_id,
        "object": "response",
        "created_at": int(created_s),
        "completed_at": None,
        "status": status,
        "background": background,
        "error": None,
        "frequency_penalty": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "presence_penalty": None,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": None,
        "store": background,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None if usage is None else usage_of(usage),
        "user": None,
        **asked,
        **more,
    }


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """OpenRouter's usage of a chat in OpenAI's words; the cost as it is."""
    details = [usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")]
    prompt, completion = ({} if not isinstance(each, dict) else each for each in details)
    input_tokens, output_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    found = {
        "input_tokens": input_tokens,
        "input_tokens_details": {**prompt, "cached_tokens": _count(prompt.get("cached_tokens"))},
        "output_tokens": output_tokens,
        "output_tokens_details": {**completion, "reasoning_tokens": _count(completion.get("reasoning_tokens"))},
        "total_tokens": _count(usage.get("total_tokens")) or input_tokens + output_tokens,
    }
    found |= {name: usage[name] for name in ("cost", "is_byok") if usage.get(name) is not None}
    costs = usage.get("cost_details")
    if isinstance(costs, dict):
        found["cost_details"] = {_FIELDS_OF_COST.get(name, name): value for name, value in costs.items()}
    return found


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def error_of(failure: Failure) -> dict[str, Any]:
    """What `response.failed` tells; `type` is our own word."""
    code, message = _CODES.get(failure.type, "server_error"), failure.error
    if code == "rate_limit_exceeded" and failure.retry_after_s is not None:
        message = f"{message} Please try again in {failure.retry_after_s:g}s."  # Codex reads it there
    return {"code": code, "message": message, "type": failure.type}


def error_of_stop(done: Done) -> dict[str, Any]:
    """The same for an answer that somebody has stopped, which nobody should try again, or that lost its readers."""
    reason = done.finish_reason or "interrupted"
    code = "invalid_prompt" if reason == "cancelled" else "server_error"
    message = f"The answer was stopped ({reason}) before it was whole."
    return {"code": code, "message": message, "type": "stream_interrupted"}

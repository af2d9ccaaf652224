"""An answer as one `chat.completion`. Pure module."""

from __future__ import annotations

from typing import Any


def completion_of(result: dict[str, Any], *, created_s: int, with_reasoning_content: bool) -> dict[str, Any]:
    """The reply to a request that is not streamed.

    Args:
        result: what `client.streams.answer.Answer.to_result` gives, and `created`.
        created_s: epoch seconds, where upstream did not say.
        with_reasoning_content: thinking under the name, too, that OpenAI-compatible servers give it.
    """
    extra = result.get("extra") or {}
    choice = {
        "index": 0,
        "message": _message(result, with_reasoning_content=with_reasoning_content),
        "finish_reason": result["finish_reason"],
        "native_finish_reason": result["native_finish_reason"],
        "logprobs": result.get("logprobs"),
    }
    return {
        "id": result["id"],
        "object": "chat.completion",
        "created": created_s if result.get("created") is None else result["created"],
        "model": result["model"],
        "provider": result["provider"],
        "system_fingerprint": None,
        **{name: value for name, value in extra.items() if name != "object"},
        "choices": [choice],
        "usage": result["usage"],
    }


def _message(result: dict[str, Any], *, with_reasoning_content: bool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": result["content"] or (None if result["tool_calls"] else ""),
        "refusal": result["refusal"],
        "reasoning": result["reasoning"],
    }
    if with_reasoning_content and result["reasoning"]:
        message["reasoning_content"] = result["reasoning"]
    for name in ("reasoning_details", "annotations", "images", "audio"):
        if result.get(name):
            message[name] = result[name]
    if result["tool_calls"]:
        message["tool_calls"] = [
            {name: value for name, value in call.items() if name != "complete"} for call in result["tool_calls"]
        ]
    return message

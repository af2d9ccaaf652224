"""An answer as one `text_completion`. Pure module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from client.border.json_codec import decode_json


def text_completion_of(result: dict[str, Any], payloads: Iterable[bytes], *, created_s: int) -> dict[str, Any]:
    """The reply to a request that is not streamed.

    Args:
        result: what `client.streams.answer.Answer.to_result` gives, and `created`.
        payloads: what upstream said, in order, as JSON.
        created_s: epoch seconds, where upstream did not say.
    """
    choice = {
        "text": result["content"] or "",
        "index": 0,
        "logprobs": _logprobs_in(payloads),
        "finish_reason": result["finish_reason"],
        "native_finish_reason": result["native_finish_reason"],
    }
    if result["reasoning"]:
        choice["reasoning"] = result["reasoning"]
    return {
        "id": result["id"],
        "object": "text_completion",
        "created": created_s if result.get("created") is None else result["created"],
        "model": result["model"],
        "provider": result["provider"],
        "system_fingerprint": None,
        **{name: value for name, value in (result.get("extra") or {}).items() if name != "object"},
        "choices": [choice],
        "usage": result["usage"],
    }


def _logprobs_in(payloads: Iterable[bytes]) -> dict[str, list[Any]] | None:
    """Lists side by side, of which each chunk has a piece; None where there are none."""
    joined: dict[str, list[Any]] = {}
    for payload in payloads:
        if b'"logprobs"' in payload:
            for name, values in _logprobs_of(decode_json(payload)).items():
                if isinstance(values, list):
                    joined.setdefault(name, []).extend(values)
    return joined or None


def _logprobs_of(event: Any) -> dict[str, Any]:
    choices = event.get("choices") if isinstance(event, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    found = first.get("logprobs") if isinstance(first, dict) else None
    return found if isinstance(found, dict) else {}

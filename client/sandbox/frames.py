"""The bytes of OpenRouter's wire: comments, chunks, errors, usage.

Pure: no I/O and no clock but what the caller hands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.border.json_codec import encode_json

COMMENT = b": OPENROUTER PROCESSING\n\n"
"""The keep-alive that OpenRouter sends while it has nothing else to say."""

DONE = b"data: [DONE]\n\n"
"""The last event of a complete stream."""

PADDING = b"\n         \n"
"""What a reply that is not streamed sends while the model works: 11 bytes of white space."""


def sse_event(value: Mapping[str, Any]) -> bytes:
    """One event: a `data:` line and the empty line that ends it."""
    return b"data: " + encode_json(value) + b"\n\n"


def error_body(code: int, message: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """OpenRouter's error shape; `metadata` is left out where there is none."""
    error: dict[str, Any] = {"code": code, "message": message}
    if metadata:
        error["metadata"] = dict(metadata)
    return {"error": error}


def chunk(
    delta: Mapping[str, Any] | None = None,
    finish_reason: str | None = None,
    *,
    native_finish_reason: str | None = None,
    generation_id: str = "gen-1793000000-aaaaaaaaaaaaaaaaaaaa",
    model: str = "sandbox/echo",
    provider: str = "Sandbox",
    created: int = 1793000000,
    **extra: Any,
) -> dict[str, Any]:
    """One `chat.completion.chunk` with one choice.

    Every delta says `role` and `content`, as OpenRouter's do; what `delta` holds wins.

    Args:
        native_finish_reason: the provider's word; the same as `finish_reason` unless given.
        extra: further top-level keys, such as `usage`, `error`, or `choices` to replace the choice.
    """
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": "", **(delta or {})},
        "finish_reason": finish_reason,
        "native_finish_reason": native_finish_reason or finish_reason,
    }
    return {
        "id": generation_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "provider": provider,
        "choices": [choice],
        **extra,
    }

"""A whole answer in Ollama's words. Pure module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import Failure
from server.protocols.letters import whole_letters
from server.protocols.ollama.view import calls_of, done_reason, figures_of, said_of


def answer_of(
    result: Mapping[str, Any], head: Mapping[str, Any], *, is_chat: bool
) -> tuple[dict[str, Any], Failure | None]:
    """The reply to a request that is not streamed, and why there is none that could be said.

    Args:
        result: what `client.answer.Answer.to_result` gives.
    """
    functions = [call["function"] for call in result["tool_calls"] if call.get("complete", True)]
    calls, odd = calls_of(functions) if is_chat else ([], None)
    more: dict[str, Any] = {}
    if result["reasoning"]:
        more["thinking"] = whole_letters(result["reasoning"])
    if calls:
        more["tool_calls"] = calls
    text = whole_letters((result["content"] or "") + (result["refusal"] or ""))
    is_cut = any(not call.get("complete", True) for call in result["tool_calls"])
    reason = done_reason(result["finish_reason"], is_cut=is_cut)
    said = said_of(text, more, is_chat=is_chat)
    return {**head, **said, "done": True, "done_reason": reason, **_figures_of(result["usage"])}, odd


def _figures_of(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    if usage is None or "duration_ms" not in usage:
        return {}
    return figures_of(usage, usage["duration_ms"], usage.get("time_to_first_token_ms"))

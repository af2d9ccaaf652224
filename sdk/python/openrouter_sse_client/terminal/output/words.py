"""Ways out of failures. Pure module."""

from __future__ import annotations

from openrouter_sse_client.errors import ChatError

_WAYS = {
    "unauthorized": "OPENROUTER_SERVER_TOKEN holds the token; whoever runs the server makes one.",
    "connection_lost": "Is it running? --url or OPENROUTER_SERVER_URL names another, --sandbox starts one to try.",
    "http_error": "--url or OPENROUTER_SERVER_URL names the server.",
    "insufficient_credits": "`openrouter-chat models` shows prices; free models cost nothing.",
    "model_not_found": "`openrouter-chat models WORD` finds models, -m takes one.",
    "context_length_exceeded": "Ask less at once; in a conversation /clear begins anew.",
    "not_found": "Answers are kept for a few minutes (`openrouter-chat ps --all`); --url names the server.",
}


def ways_out(error: ChatError) -> list[str]:
    """What to do about it; may be nothing beyond what it says itself."""
    ways = [f"{detail.get('where')}: {detail.get('what')}" for detail in error.details]
    if error.retry_after_s:
        ways.append(f"It may work in {error.retry_after_s:.0f} s.")
    suggestions = error.data.get("suggestions")
    if isinstance(suggestions, list) and suggestions:
        ways.append("Did you mean " + ", ".join(map(str, suggestions[:5])) + "?")
    if way := _WAYS.get(error.type):
        ways.append(way)
    return ways

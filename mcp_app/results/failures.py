"""What a model is told when a tool cannot do what was asked: what happened, and what to do next.

Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from client.errors import Failure


class ToolFailure(Exception):
    """A call that failed; the text is for the model, and holds everything it needs: clients of the npm SDK drop an
    error whose structured content is not what the tool's schema says.

    Attributes:
        is_not_found: whether what was asked for does not exist.
    """

    def __init__(self, text: str, *, is_not_found: bool = False) -> None:
        super().__init__(text)
        self.is_not_found = is_not_found


NO_KEY = (
    "There is no OpenRouter API key. Tell the user to get one at https://openrouter.ai/settings/keys and to set "
    "OPENROUTER_API_KEY in the environment of this MCP server (in the `env` of its entry in the client's "
    "configuration), then to restart it. No call will work before that; search_models does."
)

_ADVICE: Mapping[str, str] = {
    "upstream_auth": "Tell the user to check OPENROUTER_API_KEY in this MCP server's configuration; trying again "
    "will not help.",
    "insufficient_credits": "Ask the user to add credits at https://openrouter.ai/settings/credits; until then use "
    "a smaller max_tokens or a free model (search_models with free_only).",
    "rate_limited": "Call again after a while, or use another model.",
    "too_many_requests": "Call again after a while.",
    "overloaded": "Call again in a few seconds.",
    "shutting_down": "Call again in a few seconds.",
    "context_length_exceeded": "Shorten the messages, lower max_tokens, or use a model with more room "
    "(search_models with min_context_length).",
    "moderation": "Rephrase the prompt, or use another model.",
    "upstream_timeout": "Call again, or use another model.",
    "upstream_unavailable": "Call again in a few seconds, or use another model.",
    "stream_interrupted": "Call again; what came is not the whole answer.",
    "upstream_rejected": "Change what the message names, or use another model.",
    "upstream_protocol": "Use another model; if that does not help, tell the user to check the upstream's address.",
    "internal": "Call again; if that does not help, tell the user to look into the log of this MCP server.",
}
_NOT_FOUND = frozenset({"model_not_found", "not_found"})
_HTTP_HINT = re.compile(r"; (see GET /models|GET /models lists what there is)")
"""What callers of the HTTP API are told; a model has search_models."""
_STREAM_HINT = re.compile(r"Ask for it with stream=true[^.]*\.")
"""Another such: what a model can do is to ask for less."""


def failure_of(failure: Failure | Mapping[str, Any], suggestions: list[str] | None = None) -> ToolFailure:
    """A failure of `client`, with advice; `suggestions` are model ids near the one asked for."""
    facts = failure if isinstance(failure, Mapping) else _facts(failure)
    said = _STREAM_HINT.sub("Ask for a shorter answer.", _HTTP_HINT.sub("", str(facts["error"])))
    near = suggestions or facts.get("suggestions") or []
    unsaid = [model_id for model_id in near if model_id not in said]
    sentences = [said if said.endswith((".", "?", "!", "…")) else f"{said}."]
    if facts.get("retry_after_s") is not None:
        sentences.append(f"Retry after {facts['retry_after_s']:g} s.")
    is_not_found = facts["type"] in _NOT_FOUND
    if unsaid:
        sentences.append(f"Near ids: {', '.join(unsaid)}.")
    elif is_not_found and not near:
        sentences.append("Use search_models to find an id.")
    advice = _ADVICE.get(facts["type"])
    if advice is not None:
        sentences.append(advice)
    return ToolFailure(" ".join(sentences), is_not_found=is_not_found)


def _facts(failure: Failure) -> dict[str, Any]:
    names = ("error", "type", "retry_after_s", "suggestions")
    return {name: getattr(failure, name) for name in names}

"""Arguments that a tool does not have: dropped in silence, a mistyped model is answered, and billed, by another one.
Pure module."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

_HARMLESS: Final = frozenset(
    {
        "action",  # n8n adds these five to every call
        "chatInput",
        "sessionId",
        "tool",
        "toolCallId",
        "_sessionID",  # SiYuan
        "random_string",  # Cursor, for tools that need no argument
        "dummy",
        "task_progress",  # Cline
        "wait_for_previous",  # gemini-cli
    }
)
"""What hosts add of their own accord; it means nothing here, and models do not write it."""
_OTHER_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("message", "question", "input", "text", "content", "user_prompt"),
    "model": ("models", "model_id", "model_name"),
    "options": ("provider", "extra_body", "parameters", "params", "response_format", "tools", "seed"),
    "continue": (
        "continue_from",
        "continuation_id",
        "conversation_id",
        "previous_response_id",
        "session",
        "thread_id",
    ),
    "files": ("file", "paths", "attachments", "images", "image", "pictures"),
    "save_to": ("output", "output_path", "save_path", "out", "path"),
    "max_cost_usd": ("max_cost", "budget", "budget_usd", "max_budget"),
    "model_id": ("model", "id", "name", "slug"),
    "stream_id": ("id", "handle", "request_id"),
    "system": ("system_prompt", "system_message", "instructions"),
    "reasoning_effort": ("effort", "reasoning", "thinking"),
    "max_tokens": ("max_output_tokens", "max_completion_tokens", "max_new_tokens"),
    "q": ("query", "search", "keyword", "text", "name"),
    "families": ("provider", "providers", "author", "authors", "family"),
    "wait_s": ("wait", "timeout", "timeout_s"),
    "web_search": ("search", "online", "web"),
    "sort": ("order", "order_by", "sort_by"),
    "limit": ("count", "max_results", "page_size", "top_k"),
}
_MOST_NAMED: Final = 5
_LONGEST_NAME: Final = 60


def without_harmless(arguments: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The arguments without those that hosts add."""
    return {name: value for name, value in arguments.items() if name in known or name not in _HARMLESS}


def unknown_arguments(arguments: Collection[str], known: Collection[str]) -> str | None:
    """What is said of arguments that a tool does not have; None when it has all."""
    unknown = [name for name in arguments if name not in known]
    if not unknown:
        return None
    said = [_said(name, known) for name in unknown[:_MOST_NAMED]]
    if len(unknown) > _MOST_NAMED:
        said.append(f"and {len(unknown) - _MOST_NAMED} more")
    takes = f"The tool takes {', '.join(known)}" if known else "The tool takes no arguments"
    return f"{'; '.join(said)}. {takes}. Nothing was done; correct that and call again."


def _said(name: str, known: Collection[str]) -> str:
    shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    near = _near(name, known)
    return f"{shown}: unknown argument" + (f" (did you mean {near}?)" if near else "")


def _near(name: str, known: Collection[str]) -> str | None:
    lowered = name[:_LONGEST_NAME].lower().replace("-", "_")
    for word in known:
        if lowered in _OTHER_WORDS.get(word, ()):
            return word
    import difflib  # rarely needed, and a client waits while this module is loaded

    found = difflib.get_close_matches(lowered, known, n=1, cutoff=0.6)
    return found[0] if found else None

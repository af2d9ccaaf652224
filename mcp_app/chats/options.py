"""The argument `options`: fields of OpenRouter's request, passed on like those of `POST /chat`. Pure module.

Names that nobody knows pass too, since OpenRouter has new ones; a name that is nearly a known one is refused, since a
mistyped one would be dropped by OpenRouter in silence and the answer be billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from client.upstream.request import ChatRequest
from mcp_app.results.failures import ToolFailure

_PROVIDER: Final = frozenset(
    {
        "order",
        "only",
        "ignore",
        "allow_fallbacks",
        "data_collection",
        "zdr",
        "enforce_distillable_text",
        "quantizations",
        "preferred_min_throughput",
        "preferred_max_latency",
    }
)
"""Preferences of OpenRouter's `provider` object that may stand beside it: at the top OpenRouter would not read them,
and a wish for privacy would come to nothing."""
_ARGUMENTS: Final = frozenset({"messages", "message", "history", "system", "prompt"})
"""What is an argument of the tool."""
_FIELDS_TEXT: Final = """
    model models max_completion_tokens max_tokens temperature top_p top_k min_p top_a frequency_penalty
    presence_penalty repetition_penalty seed stop logit_bias logprobs top_logprobs n prediction user session_id
    metadata trace debug service_tier transforms route reasoning reasoning_effort include_reasoning verbosity tools
    tool_choice parallel_tool_calls max_tool_calls stop_server_tools_when deferred_tools response_format
    structured_outputs modalities image_config audio provider cache_control prompt_cache_key prompt_cache_options
    plugins preset web_search_options stream_options usage speed safe_prompt raw_mode sandbox
"""
_FIELDS: Final = frozenset(_FIELDS_TEXT.split())
"""Fields of OpenRouter's request."""
_KNOWN: Final = _FIELDS | _PROVIDER | frozenset(ChatRequest.model_fields)
_LONGEST_NAME: Final = 60
_NEARNESS: Final = 0.84
"""`response_formt` is near `response_format`, and `top_n` is not near `top_p`."""


def request_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as fields of the request; one that is null is left out.

    Raises:
        ToolFailure: one is no option, or stands in two places.
    """
    problems = [problem for name in options if (problem := _problem(name)) is not None]
    given = {name: value for name, value in options.items() if value is not None}
    preferences = {name: given.pop(name) for name in _PROVIDER & given.keys()}
    if preferences:
        provider = given.get("provider", {})
        problems += _provider_problems(provider, preferences)
        given["provider"] = {**provider, **preferences} if isinstance(provider, dict) else provider
    if problems:
        raise ToolFailure(f"{'; '.join(problems)}. Nothing was sent; correct that and call again.")
    return given


def unset_fields(options: Mapping[str, Any]) -> set[str]:
    """The options that are null: a conversation that goes on does so without them."""
    return {name for name, value in options.items() if value is None}


def _problem(name: str) -> str | None:
    shown = name[:_LONGEST_NAME]
    if name in _ARGUMENTS:
        return f"options.{shown}: is an argument of the tool, or its `messages`, not an option"
    if name in _KNOWN:
        return None
    near = _near(shown, _KNOWN)
    return None if near is None else f"options.{shown}: unknown field (did you mean {near}?)"


def _near(name: str, known: Iterable[str]) -> str | None:
    import difflib  # rarely needed, and a client waits while this module is loaded

    plain = {each.replace("_", ""): each for each in known}
    found = difflib.get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=_NEARNESS)
    return plain[found[0]] if found else None


def _provider_problems(provider: object, preferences: Mapping[str, Any]) -> list[str]:
    if not isinstance(provider, dict):
        return ["options.provider: must be an object"]
    return [
        f"options.{name}: sets provider.{name}, which is in the options too; send one of them"
        for name in preferences
        if name in provider
    ]

"""What an answer has used, in AG-UI's words. Pure module."""

from __future__ import annotations

from typing import Any

from client.border.fit import MOST_TOKENS, number_of
from client.translation.events import UsageReport

_COUNTS = {
    "inputTokens": ("prompt_tokens",),
    "outputTokens": ("completion_tokens",),
    "totalTokens": ("total_tokens",),
    "reasoningTokens": ("completion_tokens_details", "reasoning_tokens"),
    "cachedInputTokens": ("prompt_tokens_details", "cached_tokens"),
    "cacheWriteInputTokens": ("prompt_tokens_details", "cache_write_tokens"),
}


def usage_of(report: UsageReport) -> list[dict[str, Any]]:
    """One entry, or none where nothing was counted. Clients take no counts but whole numbers from 0."""
    found = {name: _count(report.usage, path) for name, path in _COUNTS.items()}
    counts = {name: count for name, count in found.items() if count is not None}
    labels = {"provider": report.provider, "model": report.model}
    return [{**{name: label for name, label in labels.items() if label}, **counts}] if counts else []


def full_usage_of(report: UsageReport) -> dict[str, Any]:
    """OpenRouter's object whole, with what it costs."""
    told = {"generation_id": report.generation_id, "total_cost": report.total_cost}
    return {**report.usage, **{name: value for name, value in told.items() if value is not None}}


def _count(usage: Any, path: tuple[str, ...]) -> int | None:
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    number = number_of(usage)
    return int(number) if number is not None and 0 <= number <= MOST_TOKENS and number == int(number) else None

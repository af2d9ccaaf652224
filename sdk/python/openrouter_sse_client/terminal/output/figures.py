"""Costs, prices and counts in words. Pure module. Unknown is never zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MISSING = "\u2013"


def dollars(cost: float | None) -> str:
    """A cost in USD."""
    if cost is None:
        return "cost unknown"
    if 0 < cost < 0.000001:
        return "< 0.000001 USD"
    return f"{cost:.6f} USD" if abs(cost) < 0.01 else f"{cost:.4f} USD" if cost < 1 else f"{cost:.2f} USD"


def price(per_token: Any) -> str:
    """USD per million tokens; OpenRouter's -1 is a price that varies."""
    try:
        value = float(per_token) * 1e6
    except (TypeError, ValueError):
        return MISSING
    if value < 0:
        return "varies"
    return "free" if value == 0 else f"{value:.2f}" if value >= 0.01 else f"{value:.4f}"


def tokens(count: Any) -> str:
    """How many fit, such as 128k."""
    if not isinstance(count, int | float) or isinstance(count, bool):
        return MISSING
    if count >= 1_000_000:
        return f"{count / 1_000_000:.1f}M".replace(".0M", "M")
    return f"{count / 1000:.0f}k" if count >= 1000 else str(count)


def of_answer(usage: Mapping[str, Any] | None) -> str:
    """One line about an answer."""
    if usage is None:
        return "cost unknown"
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    speed = usage.get("tokens_per_second")
    facts = [
        dollars(_number(usage.get("total_cost", usage.get("cost")))),
        f"{counts[0]} → {counts[1]} tokens" if None not in counts else "",
        f"{speed:.0f}/s" if isinstance(speed, int | float) else "",
        str(usage.get("model") or ""),
    ]
    return " · ".join(filter(None, facts))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

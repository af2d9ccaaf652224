"""Reading OpenRouter's `usage` object. Pure module."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def total_cost_of(usage: dict[str, Any]) -> float | None:
    """USD that the answer really cost; None when upstream did not say.

    With an own provider key (`is_byok`) the provider's charge comes on top of `cost`; without one,
    `upstream_inference_cost` describes the same money again and is not added.
    """
    stated = usage.get("cost")
    if usage.get("is_byok") is not True:
        return float(stated) if isinstance(stated, (int, float)) and not isinstance(stated, bool) else None
    cost = _decimal(stated)
    details = usage.get("cost_details")
    charged = _decimal(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    if cost is None and charged is None:
        return None
    return float((cost or Decimal(0)) + (charged or Decimal(0)))


def tokens_per_second(usage: dict[str, Any], generating_s: float | None) -> float | None:
    """Completion tokens over the seconds after the first one; None when either is unknown or nothing."""
    tokens = usage.get("completion_tokens")
    if generating_s is None or generating_s <= 0 or isinstance(tokens, bool) or not isinstance(tokens, int):
        return None
    return round(tokens / generating_s, 2) if tokens > 0 else None


def _decimal(value: Any) -> Decimal | None:
    """Numbers through their shortest text, so that 0.1 + 0.2 is 0.3."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return Decimal(str(value))

"""Reading OpenRouter's `usage` object. Pure module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from client.border.fit import MOST_TOKENS, cost_of, count_of, fit_json
from client.border.json_codec import decode_json

_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def total_cost_of(usage: Mapping[str, Any]) -> float | None:
    """USD that the answer really cost; None when upstream did not say, or said what is no cost.

    With an own provider key (`is_byok`) the provider's charge comes on top of `cost`; without one,
    `upstream_inference_cost` describes the same money again and is not added.
    """
    stated = usage.get("cost")
    if usage.get("is_byok") is not True:
        return cost_of(stated)
    parts = [stated, _charge_of(usage)]
    return sum_of_costs([cost_of(part) for part in parts if part is not None])


def sum_of_costs(costs: list[float | None]) -> float | None:
    """Their sum in USD, through their shortest text, so that 0.1 and 0.2 is 0.3; None when there is none, or one of
    them is unknown."""
    known = [Decimal(str(cost)) for cost in costs if cost is not None]
    return cost_of(sum(known)) if known and len(known) == len(costs) else None


def usage_in(body: bytes) -> dict[str, Any] | None:
    """The usage beside an error in a body, if there is one that tells anything."""
    found = decode_json(body) if b'"usage"' in body else None
    usage = found.get("usage") if isinstance(found, dict) else None
    return usage if isinstance(usage, dict) and has_figures(usage) else None


def usage_of_attempts(usages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], float | None]:
    """What an answer took that needed several attempts, and its cost in USD: the last usage, with the tokens and the
    cost of all.

    `attempts` says how many there were, if it was more than one. A cost that is unknown for one of them is unknown.
    The usage is as upstream gave it but for what is no JSON to most readers.
    """
    if len(usages) == 1:
        return fit_usage(usages[0]), total_cost_of(usages[0])
    total = sum_of_costs([total_cost_of(each) for each in usages])
    merged = {**usages[-1], "attempts": len(usages), "cost": total}
    for field in _TOKENS:
        counts = [count for each in usages if (count := count_of(each.get(field))) is not None]
        if counts:
            merged[field] = count_of(sum(counts))
    for field in ("is_byok", "cost_details"):  # they tell how one cost came about
        merged.pop(field, None)
    return fit_usage(merged), total


def fit_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """A usage that every reader of JSON takes; a count of tokens beyond reason is cut, not left out."""
    fitted: dict[str, Any] = fit_json(dict(usage))
    for field in _TOKENS:
        count = fitted.get(field, 0)
        if (type(count) is not int or count > MOST_TOKENS) and count_of(usage[field]) == MOST_TOKENS:
            fitted[field] = MOST_TOKENS
    return fitted


def _charge_of(usage: Mapping[str, Any]) -> Any:
    details = usage.get("cost_details")
    return details.get("upstream_inference_cost") if isinstance(details, dict) else None


def has_figures(usage: Mapping[str, Any] | None) -> bool:
    """Whether it tells of anything that was done: tokens, or a cost."""
    if usage is None:
        return False
    counts = [count_of(usage.get(field)) for field in _TOKENS]
    return any([*counts, total_cost_of(usage)])


def tokens_per_second(usage: Mapping[str, Any], generating_s: float | None) -> float | None:
    """Completion tokens over the seconds after the first one; None when either is unknown or nothing."""
    tokens = count_of(usage.get("completion_tokens"))
    return round(tokens / generating_s, 2) if tokens and generating_s and generating_s > 0 else None

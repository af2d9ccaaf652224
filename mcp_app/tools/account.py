"""The tool that tells what the key may still do and what was spent."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from client.border.fit import number_of
from client.errors import OpenRouterError, Refusal, UpstreamStatusError
from client.models.costs import usd
from mcp_app.results.clean import fit_fact
from mcp_app.results.failures import NO_KEY, failure_of
from mcp_app.results.output import ToolOutput, facts_output
from mcp_app.state import Budget, McpState

_KEY_FACTS: Final = (
    "label",
    "limit",
    "limit_remaining",
    "limit_reset",
    "usage",
    "usage_daily",
    "usage_monthly",
    "is_free_tier",
)
_MOST_USD: Final = 10**12
_NOT_ALL = "The key's limits and what other callers spent are shown to callers with admin = true only."
_OF_ONE = "Answers are those of one of several processes; a budget counts those of all, and so does GET /usage."
_UNKNOWN = "The upstream tells nothing about the key."


async def account(state: McpState, *, owner: str) -> ToolOutput:
    """Limits and use of the key, credits where the key may see them, and what this process spent.

    A caller who may not see all that is told what was spent in its own name only.

    Raises:
        ToolFailure: upstream does not accept the key, or cannot be reached.
    """
    if not state.sees_account(owner):
        own = {"your_answers": _spent(state, owner), **await _budget_of(state, owner), "note": _NOT_ALL}
        return facts_output({"upstream": state.openrouter.host, **own, **_counted(state)})
    data: dict[str, Any] = {"upstream": state.openrouter.host, "this_process": _spent(state, None)}
    data |= _counted(state)
    data |= await _budget_of(state, owner)
    if state.lacks_key:
        return facts_output({**data, "note": NO_KEY})
    key, credits_ = await asyncio.gather(_ask_key(state), _ask_credits(state))
    if key is None:
        data["note"] = _UNKNOWN
    else:
        data["key"] = {name: fit_fact(key[name]) for name in _KEY_FACTS if name in key}
    if credits_ is not None:
        data["credits"] = credits_
    return facts_output(data)


def _counted(state: McpState) -> dict[str, str]:
    """Whose answers these are, where others share them."""
    return {"counted": _OF_ONE} if state.streams.is_shared else {}


def _spent(state: McpState, owner: str | None) -> dict[str, Any]:
    running = state.streams.active if owner is None else state.streams.running_of(owner)
    return {
        "answers": state.spending.answers(owner),
        "running": running,
        "spent_usd": round(state.spending.total_usd(owner), 6),
        "unsettled_answers": state.spending.unsettled(owner),
    }


async def _budget_of(state: McpState, owner: str) -> dict[str, Any]:
    """The caller's budget, or else the process's; nothing where there is none."""
    try:
        budget = state.budget if state.budget_of is None else await state.budget_of(owner)
    except Refusal as exc:  # other processes count, too, and cannot be asked
        return {"budget": exc.failure.error}
    return {} if budget is None else {"budget": _budget(budget)}


def _budget(budget: Budget) -> dict[str, Any]:
    facts = {"limit": budget.limit_nano, "spent": budget.spent_nano, "reserved": budget.reserved_nano}
    return {f"{name}_usd": usd(nano) for name, nano in (facts | {"left": max(budget.left_nano, 0)}).items()}


async def _ask_key(state: McpState) -> dict[str, Any] | None:
    """None where upstream has no such route, as other servers than OpenRouter do not."""
    try:
        return _data_of(await state.openrouter.get_json("/key"))
    except UpstreamStatusError as exc:
        if exc.upstream_status == 401:
            raise failure_of(exc.failure) from exc
        return None
    except OpenRouterError as exc:
        raise failure_of(exc.failure) from exc


async def _ask_credits(state: McpState) -> dict[str, float] | None:
    """None where upstream has none, or the key may not see them: most may not."""
    try:
        found = _data_of(await state.openrouter.get_json("/credits")) or {}
    except OpenRouterError:
        return None
    bought, used = _usd(found.get("total_credits")), _usd(found.get("total_usage") or 0.0)
    if bought is None or used is None:
        return None
    return {"total_usd": bought, "used_usd": used, "remaining_usd": round(bought - used, 6)}


def _usd(value: Any) -> float | None:
    """An amount of money that somebody can have; None for anything else."""
    number = number_of(value)
    return None if number is None or abs(number) > _MOST_USD else float(number)


def _data_of(answer: Any) -> dict[str, Any] | None:
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, dict) else None

"""`GET /usage`: what was asked and spent, by day, caller and model."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web

from client.errors import Detail
from client.models.costs import usd
from client.models.query import unknown_parameters
from server.budgets.admission import ADMISSION
from server.budgets.ledger_file import UsageCounts, UsageKey
from server.budgets.rules import BudgetState
from server.errors import invalid_request
from server.http.json_reply import json_reply
from server.keys import CALLER

routes = web.RouteTableDef()

DEFAULT_DAYS = 30
MOST_DAYS = 366
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PARAMETERS = ("from", "to")


@routes.get("/usage")
async def get_usage(request: web.Request) -> web.Response:
    """The caller's own figures; those of all callers for one with `admin`."""
    caller, admission = request[CALLER], request.app[ADMISSION]
    ledger = admission.ledger
    first, last = _period(request, date.fromisoformat(ledger.today))
    rows = await admission.usage(first, last, None if caller.admin else caller.name)
    reply: dict[str, Any] = {
        "data": [_row(key, counts) for key, counts in rows.items()],
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "total_cost_usd": usd(sum(counts.cost_nano for counts in rows.values())),
        "total_settled_cost_usd": usd(sum(counts.settled_nano for counts in rows.values())),
        "stored": ledger.is_stored,
    }
    budget = await admission.budget_of(caller)
    if budget is not None:
        reply["budget"] = _budget(budget)
    return json_reply(reply)


def _row(key: UsageKey, counts: UsageCounts) -> dict[str, Any]:
    return {
        **key._asdict(),
        "requests": counts.requests,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "cost_usd": usd(counts.cost_nano),
        "settled_cost_usd": usd(counts.settled_nano),
        "unsettled": counts.unsettled,
    }


def _budget(budget: BudgetState) -> dict[str, Any]:
    return {
        "limit_usd": usd(budget.limit_nano),
        "spent_usd": usd(budget.spent_nano),
        "reserved_usd": usd(budget.reserved_nano),
        "resets_at": datetime.fromtimestamp(budget.resets_at_s, UTC).isoformat(),
    }


def _period(request: web.Request, today: date) -> tuple[date, date]:
    """The days asked for; the last 30 when none are."""
    problems = unknown_parameters(request.query, _PARAMETERS)
    problems += [
        Detail(f"query.{name}", "is given twice") for name in _PARAMETERS if len(request.query.getall(name, [])) > 1
    ]
    last = _day(request, "to", problems) or today
    first = _day(request, "from", problems) or last - timedelta(days=min(DEFAULT_DAYS - 1, last.toordinal() - 1))
    if first > last:
        problems.append(Detail("query.from", f"is after to ({last})"))
    elif (last - first).days >= MOST_DAYS:
        problems.append(Detail("query.from", f"is more than {MOST_DAYS} days before to; ask in parts"))
    if problems:
        raise invalid_request(problems)
    return first, last


def _day(request: web.Request, name: str, problems: list[Detail]) -> date | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        if _DAY.fullmatch(text):  # Python takes other forms of ISO 8601 too, such as weeks
            return date.fromisoformat(text)
    except ValueError:
        pass
    problems.append(Detail(f"query.{name}", f"must be a day (UTC) such as 2026-01-31, not {text[:50]!r}"))
    return None

"""What OpenRouter's SDKs read beside answers: passed on, but for what concerns the server's own account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any
from urllib.parse import quote

from aiohttp import web

from client.models.costs import usd
from server.access.callers import check_models
from server.budgets.admission import ADMISSION
from server.errors import refuse
from server.http.json_reply import json_reply
from server.keys import CALLER, OPENROUTER, STREAMS

Read = Callable[[web.Request], Awaitable[web.Response]]
_MODEL = r"{author:[^/]+}/{slug:[^/]+}"


def _passed_on(path: str, *, admin_only: bool = False) -> Read:
    """A handler that answers what upstream answers at `path`."""

    async def read(request: web.Request) -> web.Response:
        caller = request[CALLER]
        if admin_only and not caller.admin:
            raise refuse("forbidden", 403, f"{caller.name} may not see the account of this server; an admin may.")
        names = dict(request.match_info)
        if names:
            check_models(caller, {"model": "{author}/{slug}".format(**names)})
        query = dict(request.query)
        return json_reply(await request.app[OPENROUTER].get_json(path.format(**_quoted(names)), query or None))

    return read


def _quoted(names: dict[str, str]) -> dict[str, str]:
    """Names as parts of a path, none of which leads anywhere else.

    Raises:
        ApiError: one is no name.
    """
    if any(name.strip(".") == "" for name in names.values()):
        raise refuse("not_found", 404, "There is no such model.")
    return {name: quote(value, safe="~:@") for name, value in names.items()}


async def show_generation(request: web.Request) -> web.Response:
    """The record of a generation, for whoever started it."""
    generation_id = request.query.get("id", "")
    if not generation_id:
        raise refuse("invalid_request", 400, "Name the generation: ?id=gen-…")
    caller = request[CALLER]
    streams = await request.app[STREAMS].list_of(caller.name, 100_000)
    if not caller.admin and not any(stream.generation_id == generation_id for stream in streams):
        raise refuse("not_found", 404, "There is no such generation of this caller; it may have expired.")
    return json_reply(await request.app[OPENROUTER].get_json("/generation", {"id": generation_id}))


async def show_key(request: web.Request) -> web.Response:
    """The caller's own budget, in the words that upstream has for its key: the server's account is not theirs."""
    caller, admission = request[CALLER], request.app[ADMISSION]
    budget = await admission.budget_of(caller)
    today = date.fromisoformat(admission.ledger.today)
    spent = usd(sum(counts.cost_nano for counts in (await admission.usage(today, today, caller.name)).values()))
    data: dict[str, Any] = {
        "label": caller.name,
        "limit": None if budget is None else usd(budget.limit_nano),
        "limit_remaining": None if budget is None else max(0.0, usd(budget.left_nano)),
        "limit_reset": None if budget is None else "daily",
        "usage": spent,
        "usage_daily": spent,
        "usage_weekly": spent,
        "usage_monthly": spent,
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
        "include_byok_in_limit": True,
        "is_free_tier": False,
        "is_management_key": False,
        "is_provisioning_key": False,
        "budgets": [],
        "allowed_data_regions": ["global"],
        "free_model_daily_requests": {"limit": 0, "used": 0, "remaining": 0},
        **dict.fromkeys(("creator_user_id", "effective_budget", "expires_at", "organization_id", "workspace_id")),
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated."},
    }
    return json_reply({"data": data})


UPSTREAM_READS: dict[str, Read] = {
    "/models/count": _passed_on("/models/count"),
    "/models/user": _passed_on("/models/user"),
    f"/models/{_MODEL}/endpoints": _passed_on("/models/{author}/{slug}/endpoints"),
    f"/model/{_MODEL}": _passed_on("/model/{author}/{slug}"),
    "/providers": _passed_on("/providers"),
    "/endpoints/zdr": _passed_on("/endpoints/zdr"),
    "/embeddings/models": _passed_on("/embeddings/models"),
    "/credits": _passed_on("/credits", admin_only=True),
    "/activity": _passed_on("/activity", admin_only=True),
    "/generation": show_generation,
}
"""Handlers by path below a mount."""

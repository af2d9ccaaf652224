"""Everything but asking: models, costs, running answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrouter_sse_client.client import Client
from openrouter_sse_client.terminal.answering import WHOLE
from openrouter_sse_client.terminal.asking.arguments import Order, UsageError
from openrouter_sse_client.terminal.output import figures
from openrouter_sse_client.terminal.output.marks import in_one_line
from openrouter_sse_client.terminal.output.screen import Screen
from openrouter_sse_client.terminal.output.tables import table
from openrouter_sse_client.terminal.output.writers import json_line

_MOST = 200


async def run_command(order: Order, client: Client, screen: Screen) -> int:
    """Its exit code.

    Raises:
        UsageError: it was not called so.
        ChatError: the server refused, or does not answer.
    """
    match order.command, order.words:
        case "models", _:
            await _models(order, client, screen)
        case "usage", ():
            await _usage(order, client, screen)
        case "ps", ():
            await _ps(order, client, screen)
        case "stop", (stream_id,):
            await _stop(stream_id, order, client, screen)
        case "stop", ():
            raise UsageError("stop needs the ID of an answer; `openrouter-chat ps` lists them")
        case command, _:
            raise UsageError(f"too many words for {command}; a question: openrouter-chat -- {command} …")
    return WHOLE


async def _models(order: Order, client: Client, screen: Screen) -> None:
    found = await client.models.search(order.question or None, limit=_MOST)
    if order.is_json:
        screen.lines("\n".join(map(json_line, found["data"])))
        return
    rows = [_model_row(model) for model in found["data"]]
    if rows:
        screen.lines(table(("model", "in", "out", "context"), rows, screen.width, frozenset({1, 2, 3})))
    more = found["total"] - len(rows)
    screen.note(
        f"{found['total']} models, USD per million tokens" + (f"; {more} more: say more words" if more else "")
    )
    if found.get("stale"):
        screen.note("OpenRouter could not be asked: this list is old")


def _model_row(model: Mapping[str, Any]) -> tuple[str, ...]:
    prices = model.get("pricing") or {}
    facts = figures.price(prices.get("prompt")), figures.price(prices.get("completion"))
    return in_one_line(str(model.get("id"))), *facts, figures.tokens(model.get("context_length"))


async def _usage(order: Order, client: Client, screen: Screen) -> None:
    found = await client.usage()
    if order.is_json:
        screen.lines(json_line(found))
        return
    rows = [
        (
            in_one_line(str(row.get("day"))),
            in_one_line(str(row.get("model"))),
            in_one_line(str(row.get("caller"))),
            str(row.get("requests")),
            str(row.get("prompt_tokens")),
            str(row.get("completion_tokens")),
            f"{row.get('cost_usd', 0):.6f}" + (" ?" if row.get("unsettled") else ""),
        )
        for row in found["data"]
    ]
    if rows:
        head = ("day", "model", "caller", "answers", "in", "out", "USD")
        screen.lines(table(head, rows, screen.width, frozenset({3, 4, 5, 6})))
    screen.note(
        f"{figures.dollars(found['total_cost_usd'])} from {found['first_day']} to {found['last_day']} (UTC)"
        + ("; ?: some of it is still looked up" if any(row.get("unsettled") for row in found["data"]) else "")
        + ("" if found.get("stored", True) else "; the server forgets it when it ends")
    )
    if budget := found.get("budget"):
        spent, limit = figures.dollars(budget["spent_usd"]), figures.dollars(budget["limit_usd"])
        screen.note(f"budget: {spent} of {limit} spent, anew at {budget['resets_at']}")


async def _ps(order: Order, client: Client, screen: Screen) -> None:
    listed = (await client.chats(limit=1000))["data"]
    shown = [each for each in listed if order.shows_all or each["state"] == "running"]
    if order.is_json:
        screen.lines("\n".join(map(json_line, shown)))
        return
    rows = [
        (
            in_one_line(each["stream_id"]),
            in_one_line(each["finish_reason"] or each["state"]),
            _age(each["age_s"]),
            in_one_line(str(each["model"] or figures.MISSING)),
            str(each["events"]),
        )
        for each in shown
    ]
    if rows:
        screen.lines(table(("id", "state", "age", "model", "events"), rows, screen.width, frozenset({2, 4})))
    finished = sum(each["state"] != "running" for each in listed)
    if not order.shows_all:
        screen.note(f"{len(rows)} running" + (f", {finished} finished: ps --all" if finished else ""))


async def _stop(stream_id: str, order: Order, client: Client, screen: Screen) -> None:
    try:
        summary = await client.stop(stream_id)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if order.is_json:
        screen.lines(json_line(summary))
    else:
        screen.note(f"ended: {summary['finish_reason']}")


def _age(age_s: float) -> str:
    return f"{age_s:.0f} s" if age_s < 100 else f"{age_s / 60:.0f} min"

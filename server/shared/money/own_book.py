"""What the engine knows of this process's own book that its file does not: a process that was killed had told the
engine, and not written it yet. It is counted here, once, before anything else is told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from server.budgets.ledger import Ledger
from server.budgets.ledger_file import UsageCounts, UsageKey
from server.shared.money.accounts import Accounts
from server.shared.money.entries import Entry, difference
from server.shared.money.usage import Rows, usage_there
from server.shared.store import Store

_FIGURES: Final = ("requests", "prompt_tokens", "completion_tokens", "cost_nano", "settled_nano", "unsettled")


def figures_of(told: dict[str, Any]) -> UsageCounts:
    """What an answer was settled with, as the scripts say it."""
    return UsageCounts(*(int(told.get(name, 0)) for name in _FIGURES))


async def take_back(
    store: Store, accounts: Accounts, ledger: Ledger, days: tuple[date, date], caller: str, entries: Iterable[Entry]
) -> None:
    """Counts in the ledger what the engine's rows of these days have and its own lack, answers that are not settled
    for good aside: of those the engine says by itself what has become of them.

    Raises:
        StoreUnavailable: the engine cannot be asked.
    """
    own = [entry for entry in entries if entry.is_own]
    _, there = await usage_there(store, accounts, *days, caller)
    if own:
        ids = [entry.id for entry in own]
        asked = [["HMGET", accounts.key(caller, name), *ids] for name in ("settled", "open")]
        settled, records = await store.commands(asked)
        for entry, whole, record in zip(own, settled, records, strict=True):
            _leave_out(there, entry, whole, record)
    here = await ledger.read(*days, caller)
    for entry in own:
        if entry.key in here:
            here[entry.key] = difference(here[entry.key], entry.counted)
    for key, counts in there.items():
        lacking = difference(counts, here.get(key, UsageCounts()))
        if lacking.requests > 0:
            ledger.count(key, lacking.not_negative())


def _leave_out(there: Rows, entry: Entry, whole: bytes | None, record: bytes | None) -> None:
    """Takes out of the engine's rows what it has counted for an answer."""
    told = json.loads(whole or record or b"{}")
    if whole is not None:
        counts = figures_of(told)
    elif told.get("k"):
        counts = UsageCounts(1, 0, 0, int(told["n"]), 0, 1)
    else:
        return
    key = UsageKey(str(told["d"]), entry.caller, str(told["m"]))
    if key in there:
        there[key] = difference(there[key], counts)

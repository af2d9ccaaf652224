"""What the books of all other processes say."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta
from itertools import islice, product
from typing import Any, Final

from server.budgets.ledger_file import UsageCounts, UsageKey
from server.shared.money.accounts import Accounts
from server.shared.store import Store

_AT_ONCE: Final = 200
_FIGURES: Final = frozenset(each.name for each in fields(UsageCounts))


async def usage_of_others(
    store: Store, accounts: Accounts, first: date, last: date, caller: str | None
) -> dict[UsageKey, UsageCounts]:
    """The rows of these days, both included, of one caller or (None) of all; figures may be below zero.

    Raises:
        StoreUnavailable: nobody knows them.
    """
    callers = [caller] if caller is not None else await _all_callers(store, accounts)
    days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
    rows: dict[UsageKey, UsageCounts] = {}
    all_places = product(callers, days)
    while places := list(islice(all_places, _AT_ONCE)):
        commands = [["HGETALL", accounts.key(name, f"usage:{day}")] for name, day in places]
        for (name, day), found in zip(places, await store.commands(commands), strict=True):
            _add_rows(rows, name, day, found, accounts.book())
    return rows


async def _all_callers(store: Store, accounts: Accounts) -> list[str]:
    names = await store.command("SMEMBERS", accounts.callers_key)
    return [name.decode("utf-8", "surrogateescape") for name in names]


def _add_rows(rows: dict[UsageKey, UsageCounts], caller: str, day: str, found: Any, own_book: str) -> None:
    """Adds what an account says of a day. Its fields are `<book> <model> <figure>`."""
    for field, value in zip(found[::2], found[1::2], strict=True):
        book, _, rest = field.decode("utf-8", "surrogateescape").partition(" ")
        model, _, figure = rest.rpartition(" ")
        if book != own_book and figure in _FIGURES:
            counts = UsageCounts()
            setattr(counts, figure, int(value))
            rows.setdefault(UsageKey(day, caller, model), UsageCounts()).add(counts)

"""What the books of all processes say."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta
from itertools import islice, product
from typing import Any, Final

from server.budgets.ledger_file import UsageCounts, UsageKey
from server.shared.money.accounts import Accounts
from server.shared.store import Store

_AT_ONCE: Final = 200
Rows = dict[UsageKey, UsageCounts]
_FIGURES: Final = frozenset(each.name for each in fields(UsageCounts))


async def usage_there(
    store: Store, accounts: Accounts, first: date, last: date, caller: str | None
) -> tuple[Rows, Rows]:
    """The rows of these days, both included, of one caller or (None) of all: those of all others together, and those
    of this process's book. Figures may be below zero.

    Raises:
        StoreUnavailable: nobody knows them.
    """
    callers = [caller] if caller is not None else await _all_callers(store, accounts)
    days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
    others: Rows = {}
    own: Rows = {}
    all_places = product(callers, days)
    while places := list(islice(all_places, _AT_ONCE)):
        commands = [["HGETALL", accounts.key(name, f"usage:{day}")] for name, day in places]
        for (name, day), found in zip(places, await store.commands(commands), strict=True):
            _add_rows(others, own, name, day, found, accounts.book())
    return others, own


def later(here: UsageCounts | None, there: UsageCounts | None) -> UsageCounts:
    """Of two states of one row the later one. The engine may not have been told yet; and a process that was killed
    may have told it more than was written to its file, or others have settled what it had begun."""
    if here is None or there is None:
        return here or there or UsageCounts()
    return max(here, there, key=lambda row: (row.requests, -row.unsettled))


async def _all_callers(store: Store, accounts: Accounts) -> list[str]:
    names = await store.command("SMEMBERS", accounts.callers_key)
    return [name.decode("utf-8", "surrogateescape") for name in names]


def _add_rows(others: Rows, own: Rows, caller: str, day: str, found: Any, own_book: str) -> None:
    """Adds what an account says of a day. Its fields are `<book> <model> <figure>`."""
    for field, value in zip(found[::2], found[1::2], strict=True):
        book, _, rest = field.decode("utf-8", "surrogateescape").partition(" ")
        model, _, figure = rest.rpartition(" ")
        if figure in _FIGURES:
            counts = UsageCounts()
            setattr(counts, figure, int(value))
            (own if book == own_book else others).setdefault(UsageKey(day, caller, model), UsageCounts()).add(counts)

"""Whether a caller may start an answer now, over all processes (`server.budgets.admission.Budgets`).

Who is held to limits waits for the engine once, and never longer than a second; nobody else ever does. While there
is no contact, which is known from the beat, callers with a budget are refused, or served by what this process alone
knows (`redis.when_lost`); limits of a minute and at once are counted by each process alone then.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from client.errors import Refusal
from client.models.costs import Known, budget_nano_usd, estimate_nano_usd
from client.streams.elsewhere import StoreUnavailable
from client.streams.settlement import Settled
from server.access.callers import Caller, check_models
from server.budgets.admission import Admission, FindCaller
from server.budgets.leases import AnswerLease, LeftOver
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from server.budgets.reckoning import Estimate
from server.budgets.rules import BudgetState, over_budget, too_many_at_once, too_many_starts
from server.shared.engine.keys import place_of
from server.shared.engine.scripts import Script
from server.shared.money.accounts import LOOK, RESERVE, Reply
from server.shared.money.adopted import Undertaker
from server.shared.money.asking import Asking
from server.shared.money.entries import Entry, Stage, copy_of
from server.shared.money.grants import SharedGrant
from server.shared.money.journal import Journal
from server.shared.money.usage import later, usage_there
from server.shared.settling import telling
from server.shared.store import Store

_PATIENCE_S: Final = 1.0
_AGAIN: Final = 2


def open_book(store: Store, path: Path | None) -> Ledger:
    """This process's own figures, whose days are those of the engine's clock, as far as that is known."""
    return Ledger(path, clock=lambda: time.time() if store.epoch is None else store.now_ms() / 1000, has_book=True)


class SharedAdmission:
    """Admits answers, and settles what was reserved for them, as one of several processes.

    Args:
        ledger: this process's own book; has a name.
        find_caller: the caller of that name, with the limits that hold now; None has none.
        known: finds a model, for its prices.
    """

    def __init__(self, store: Store, ledger: Ledger, find_caller: FindCaller, known: Known) -> None:
        self.ledger = ledger
        self.alone = Admission(ledger, find_caller, known)
        self.journal = Journal(store, ledger)
        self._asking = Asking(store, self.journal.accounts)
        self._store = store
        self._find_caller = find_caller
        self._known = known
        self._settle: Callable[[Settled], None] = lambda answer: None

    async def open(self, settle: Callable[[Settled], None]) -> None:
        """Opens the ledger; what an earlier process left open there is settled. Before the store is opened."""
        settle = telling(settle, lambda place, settlement: self._store.on_settled(place, settlement))
        self._settle = settle
        self.ledger.take_over = self._take_over
        undertaker = Undertaker(self._store, self.journal, lambda: self.ledger.today, settle)
        self._store.on_buried.append(undertaker.bury)
        await self.ledger.open()
        self.journal.open()

    async def aclose(self) -> None:
        """Tells the others what is left, and closes the ledger. Before the store is closed."""
        await self._asking.aclose()
        await self.journal.aclose()
        await self.ledger.aclose()

    # -- admitting ------------------------------------------------------------------------------------------------

    async def admit(self, body: Mapping[str, Any], owner: str, key: str) -> AnswerLease:
        """Reserves what the answer may cost (`client.streams.streams.Admit`).

        Raises:
            Refusal: `forbidden` for a model, `too_many_requests` for any other limit.
            StoreUnavailable: nobody knows whether the caller may.
        """
        entry = self._entry(owner, key)
        caller = self._find_caller(owner)
        nano = 0
        if caller is not None:
            check_models(caller, body)
            if _is_limited(caller):
                nano = await self._reserved_nano(caller, body, entry)
        if entry.stage is Stage.CLOSED:  # given back: nobody knows whether the engine has granted it
            entry = self._entry(owner, key)
        entry.nano = nano
        self.journal.begin(entry)
        grant = SharedGrant(self.journal, self.ledger, entry, self.alone.take(owner, nano))
        return AnswerLease(self.ledger, grant, Estimate(self._known, body, nano))

    def _entry(self, owner: str, key: str) -> Entry:
        return Entry(f"{place_of(key)}.{secrets.token_hex(8)}", owner, self.ledger.today, self.ledger.book)

    async def _reserved_nano(self, caller: Caller, body: Mapping[str, Any], entry: Entry) -> int:
        try:
            if not self._store.has_contact or (caller.budget_usd_per_day is not None and self._store.may_lack):
                raise StoreUnavailable
            nano = await self._reserve(caller, body, entry)
        except StoreUnavailable:
            if caller.budget_usd_per_day is not None and self._store.when_lost == "refuse":
                self._store.figures.note_refused("budget")
                raise StoreUnavailable(
                    "The store that this server's processes share cannot be asked what "
                    f"{caller.name} may still spend. Try again."
                ) from None
            return self.alone.check(body, caller.name)
        self.alone.note_start(caller)
        return nano

    async def _reserve(self, caller: Caller, body: Mapping[str, Any], entry: Entry) -> int:
        """What the engine grants. What it may have granted without saying so is given back in the background."""
        limit_nano = budget_nano_usd(caller.budget_usd_per_day)
        nano = 0 if limit_nano is None else estimate_nano_usd(body, self._known)
        told: dict[str, Any] = {
            "id": entry.id,
            "nano": str(nano),
            "model": "",
            "per_minute": caller.requests_per_minute,
            "at_once": caller.max_concurrent,
            "budget": None if limit_nano is None else str(limit_nano),
        }
        self.journal.begin(entry)
        entry.is_told_unsurely = True
        epoch = self.journal.accounts.epoch
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reply = await self._asked(RESERVE, entry, told)
            if epoch != self.journal.accounts.epoch:  # its data were lost meanwhile; those of others may not be back
                raise StoreUnavailable
            if reply.word == "reserved":
                entry.taken(Stage.RUNS, int(reply.rest[0]), UsageCounts())
                return int(reply.rest[0])
            if reply.word in _LIMITS:
                entry.is_told_unsurely = False
                raise self._refusal(caller, reply, nano)
            raise StoreUnavailable
        except TimeoutError:
            self.journal.advance(entry, Stage.CLOSED)
            raise StoreUnavailable from None
        except BaseException:
            self.journal.advance(entry, Stage.CLOSED)
            raise

    async def _asked(self, script: Script, entry: Entry, told: dict[str, Any]) -> Reply:
        """What the engine says, asked again where it has to be told first what this process knows, or what time it
        is."""
        for _ in range(_AGAIN):
            await self.journal.restoring.ready(entry.caller)
            reply = await self._asking.ask(script, entry.caller, entry.day, told)
            if reply.word == "unknown":
                self.journal.restoring.doubt(entry.caller)
            elif reply.word != "late":
                break
        return reply

    def _refusal(self, caller: Caller, reply: Reply, nano: int) -> Refusal:
        first = int(reply.rest[0])
        if reply.word == "minute":
            return too_many_starts(caller.name, caller.requests_per_minute or 0, first / 1000)
        if reply.word == "at_once":
            return too_many_at_once(caller.name, caller.max_concurrent or 0, first)
        limit_nano = budget_nano_usd(caller.budget_usd_per_day) or 0
        budget = BudgetState(limit_nano, first, int(reply.rest[1]), self.ledger.next_day_s)
        return over_budget(caller.name, budget, nano, self.ledger.now_s)

    # -- what was spent -------------------------------------------------------------------------------------------

    async def budget_of(self, caller: Caller) -> BudgetState | None:
        """The caller's budget today, over all processes; None when it has none.

        Raises:
            StoreUnavailable: nobody knows what the others count.
        """
        limit_nano = budget_nano_usd(caller.budget_usd_per_day)
        if limit_nano is None:
            return None
        entry = Entry("", caller.name, self.ledger.today, self.ledger.book)
        reply = await self._asked(LOOK, entry, {})
        if reply.word != "ok":
            raise StoreUnavailable
        return BudgetState(limit_nano, int(reply.rest[0]), int(reply.rest[1]), self.ledger.next_day_s)

    async def usage(self, first: date, last: date, caller: str | None) -> dict[UsageKey, UsageCounts]:
        """The figures of these days over all processes.

        Raises:
            StoreUnavailable: nobody knows what the others count.
        """
        rows, there = await usage_there(self._store, self.journal.accounts, first, last, caller)
        here = await self.ledger.read(first, last, caller)
        for key in here.keys() | there.keys():
            rows.setdefault(key, UsageCounts()).add(later(here.get(key), there.get(key)))
        return {key: counts.not_negative() for key, counts in sorted(rows.items())}

    # -- what earlier processes left ------------------------------------------------------------------------------

    def _take_over(self, answer: OpenAnswer) -> None:
        """An answer of this book that was open when the last process that kept it ended: somebody else may have
        settled it since, and says so when it is told again."""
        entry = Entry(
            answer.stream_id,
            answer.key.caller,
            answer.key.day,
            self.ledger.book,
            nano=answer.estimate_nano,
            model=answer.key.model,
            generation_id=answer.generation_id or "",
            told_nano=answer.estimate_nano,
        )
        if answer.is_counted:
            entry.counted = UsageCounts(1, 0, 0, answer.estimate_nano, 0, 1)
            entry.taken(Stage.SOUGHT, answer.estimate_nano, copy_of(entry.counted))
        else:
            entry.count(self.ledger.count_estimate(answer.key, {}, answer.estimate_nano))
            entry.taken(Stage.OPENED, answer.estimate_nano, UsageCounts())
        entry.is_earlier = answer.is_final
        self.journal.begin(entry)
        if answer.is_final:
            self.journal.advance(entry, Stage.CLOSED)
            return
        counted = OpenAnswer(
            answer.stream_id, answer.key, answer.estimate_nano, answer.generation_id, is_counted=True
        )
        self.ledger.open_answer(counted)
        self.journal.advance(entry, Stage.SOUGHT)
        held = SharedGrant(self.journal, self.ledger, entry, self.alone.take_left_over(answer))
        left_over = LeftOver(self.ledger, counted, held)
        if answer.generation_id is None:
            left_over.note_settled()
        else:
            self._settle(left_over)


_LIMITS: Final = ("minute", "at_once", "budget")


def _is_limited(caller: Caller) -> bool:
    limits = (caller.requests_per_minute, caller.max_concurrent, caller.budget_usd_per_day)
    return any(limit is not None for limit in limits)

"""Whether a caller may start an answer now: models, answers a minute, answers at once, and the day's budget.

A budget is kept by reserving before and settling after: what an answer may cost at most is held from its start on,
and gives way to what it did cost. So many answers at once cannot overrun a budget together. One answer may reserve
more than is left only while nothing else is held: a budget smaller than the dearest possible answer stays of use, and
is overrun by what that one answer costs at most.

The caller's limits are looked up at every start, so new settings bind the next answer. Nothing here waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Protocol

from aiohttp import web

from client.models.costs import Known, budget_nano_usd, estimate_nano_usd
from client.streams.settlement import Settled
from client.streams.stream import Lease
from server.access.callers import Caller, check_models
from server.budgets.grants import Account, HeldGrant, Holds, left_over_grant
from server.budgets.leases import AnswerLease, LeftOver
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from server.budgets.reckoning import Estimate
from server.budgets.rules import (
    MINUTE_S,
    BudgetState,
    fitting_nano,
    over_budget,
    too_many_at_once,
    too_many_starts,
)

FindCaller = Callable[[str], Caller | None]


class Admission:
    """Admits answers, and settles what was reserved for them.

    Args:
        find_caller: the caller of that name, with the limits that hold now; None has none.
        known: finds a model, for its prices.
        clock: seconds that only grow.
    """

    def __init__(
        self, ledger: Ledger, find_caller: FindCaller, known: Known, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ledger = ledger
        self._find_caller = find_caller
        self._known = known
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._starts: dict[str, deque[float]] = {}  # of the last minute, for callers with such a limit

    async def open(self, settle: Callable[[Settled], None]) -> None:
        """Opens the ledger; what an earlier process left open there is settled."""
        self.ledger.on_left_over = lambda answer: settle(self.left_over(answer))
        await self.ledger.open()

    async def aclose(self) -> None:
        """Closes the ledger."""
        await self.ledger.aclose()

    async def admit(self, body: Mapping[str, Any], owner: str, key: str) -> AnswerLease:
        """Reserves what the answer may cost (`client.streams.streams.Admit`).

        Raises:
            Refusal: see `grant`.
        """
        return self.grant(body, owner)

    def grant(self, body: Mapping[str, Any], owner: str) -> AnswerLease:
        """The same at once.

        Raises:
            Refusal: `forbidden` for a model, `too_many_requests` for any other limit.
        """
        grant = self.take(owner, self.check(body, owner))
        return AnswerLease(self.ledger, grant, Estimate(self._known, body, grant.nano))

    def check(self, body: Mapping[str, Any], owner: str) -> int:
        """Every limit in turn, as far as this process knows; returns what is to be reserved, nano-USD.

        Raises:
            Refusal: as `grant`.
        """
        caller = self._find_caller(owner)
        if caller is None:
            return 0
        check_models(caller, body)
        account = self._account(owner)
        starts = self._starts_of(caller)
        if caller.max_concurrent is not None and account.running >= caller.max_concurrent:
            raise too_many_at_once(caller.name, caller.max_concurrent, account.running)
        reserved_nano = self._fitting(caller, account.holds_on(self.ledger.today), body)
        if starts is not None:
            starts.append(self._clock())
        return reserved_nano

    def take(self, owner: str, nano: int) -> HeldGrant:
        """Holds so much for an answer that begins now, whatever the limits are."""
        account = self._account(owner)
        return HeldGrant(account, account.holds_on(self.ledger.today), nano)

    def note_start(self, caller: Caller) -> None:
        """Others have let an answer start: it counts among those of the last minute here too."""
        if caller.requests_per_minute is not None:
            starts = self._starts.setdefault(caller.name, deque())
            starts.append(self._clock())
            while starts[0] <= starts[-1] - MINUTE_S:
                starts.popleft()

    async def budget_of(self, caller: Caller) -> BudgetState | None:
        """The caller's budget today; None when it has none."""
        return self.budget_here(caller)

    def budget_here(self, caller: Caller) -> BudgetState | None:
        """The same, as far as this process knows."""
        return self._budget_on(caller, self._account(caller.name).holds_on(self.ledger.today))

    async def usage(self, first: date, last: date, caller: str | None) -> dict[UsageKey, UsageCounts]:
        """The figures of these days, both included, of one caller or (None) of all."""
        return await self.ledger.read(first, last, caller)

    def _budget_on(self, caller: Caller, holds: Holds) -> BudgetState | None:
        limit_nano = budget_nano_usd(caller.budget_usd_per_day)
        if limit_nano is None:
            return None
        return BudgetState(
            limit_nano,
            spent_nano=self.ledger.spent_nano(holds.day, caller.name) - holds.sought_nano,
            reserved_nano=holds.running_nano + holds.sought_nano,
            resets_at_s=self.ledger.next_day_s,
        )

    def left_over(self, answer: OpenAnswer) -> LeftOver:
        """An answer that an earlier process began: it holds what it may have cost, until that is known."""
        return LeftOver(self.ledger, answer, self.take_left_over(answer))

    def take_left_over(self, answer: OpenAnswer) -> HeldGrant:
        """What it holds."""
        account = self._account(answer.key.caller)
        return left_over_grant(account, account.holds_on(answer.key.day), answer)

    def _account(self, owner: str) -> Account:
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = Account()
        return account

    def _starts_of(self, caller: Caller) -> deque[float] | None:
        """The starts of the last minute, when they are limited: no 60 seconds ever hold more than the limit."""
        limit = caller.requests_per_minute
        if limit is None:
            return None
        starts = self._starts.setdefault(caller.name, deque())
        now_s = self._clock()
        while starts and starts[0] <= now_s - MINUTE_S:
            starts.popleft()
        if len(starts) >= limit:
            wait_s = starts[len(starts) - limit] + MINUTE_S - now_s
            raise too_many_starts(caller.name, limit, wait_s)
        return starts

    def _fitting(self, caller: Caller, holds: Holds, body: Mapping[str, Any]) -> int:
        """What the answer is to reserve of the budget, nano-USD."""
        budget = self._budget_on(caller, holds)
        if budget is None:
            return 0
        nano = estimate_nano_usd(body, self._known)
        reserved_nano = fitting_nano(nano, budget.left_nano, holds.number)
        if reserved_nano is None:
            raise over_budget(caller.name, budget, nano, self.ledger.now_s)
        return reserved_nano


class Budgets(Protocol):
    """Who keeps callers to their limits, and tells what they have spent: alone, as `Admission`, or with others."""

    ledger: Ledger

    async def admit(self, body: Mapping[str, Any], owner: str, key: str) -> Lease: ...

    async def budget_of(self, caller: Caller) -> BudgetState | None: ...

    async def usage(self, first: date, last: date, caller: str | None) -> dict[UsageKey, UsageCounts]: ...

    async def open(self, settle: Callable[[Settled], None]) -> None: ...

    async def aclose(self) -> None: ...


ADMISSION = web.AppKey[Budgets]("ADMISSION", Budgets)

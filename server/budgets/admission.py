"""Whether a caller may start an answer now: models, answers a minute, answers at once, and the day's budget.

A budget is kept by reserving before and settling after: what an answer may cost at most is held from its start on,
and gives way to what it did cost. So many answers at once cannot overrun a budget together. One answer may reserve
more than is left only while nothing else is held: a budget smaller than the dearest possible answer stays of use, and
is overrun by what that one answer costs at most.

The caller's limits are looked up at every start, so new settings bind the next answer. Nothing here waits.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from client.errors import Refusal
from client.models.costs import Known, budget_nano_usd, estimate_nano_usd, usd
from client.streams.settlement import Settled
from server.access.callers import Caller, check_models
from server.budgets.leases import Account, AnswerLease, Holds, LeftOver
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import OpenAnswer
from server.errors import refuse

MINUTE_S: Final = 60.0
BUSY_RETRY_S: Final = 5.0
"""When to come back where nobody knows: an answer has to end first."""

FindCaller = Callable[[str], Caller | None]


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A caller's budget today, in nano-USD.

    Attributes:
        reserved_nano: held by answers that run, or whose cost is being looked up.
        resets_at_s: epoch seconds.
    """

    limit_nano: int
    spent_nano: int
    reserved_nano: int
    resets_at_s: float

    @property
    def left_nano(self) -> int:
        """What is neither spent nor held; below zero when a lone answer cost more than was left."""
        return self.limit_nano - self.spent_nano - self.reserved_nano


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

    def admit(self, body: Mapping[str, Any], owner: str) -> AnswerLease:
        """Reserves what the answer may cost (`client.streams.streams.Admit`).

        Raises:
            Refusal: `forbidden` for a model, `too_many_requests` for any other limit.
        """
        account = self._account(owner)
        holds = account.holds_on(self.ledger.today)
        caller = self._find_caller(owner)
        reserved_nano = 0 if caller is None else self._check(caller, account, holds, body)
        return AnswerLease(self.ledger, self._known, account, holds, body, reserved_nano)

    def budget_of(self, caller: Caller) -> BudgetState | None:
        """The caller's budget today; None when it has none."""
        return self._budget_on(caller, self._account(caller.name).holds_on(self.ledger.today))

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
        return LeftOver(self.ledger, answer, self._account(answer.key.caller).holds_on(answer.key.day))

    def _account(self, owner: str) -> Account:
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = Account()
        return account

    def _check(self, caller: Caller, account: Account, holds: Holds, body: Mapping[str, Any]) -> int:
        """Every limit in turn; returns what is to be reserved, nano-USD."""
        check_models(caller, body)
        starts = self._starts_of(caller)
        _check_concurrency(caller, account)
        reserved_nano = self._fitting(caller, holds, body)
        if starts is not None:
            starts.append(self._clock())
        return reserved_nano

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
            raise _too_many(f"{caller.name} may start {limit} answers a minute; try again later", wait_s)
        return starts

    def _fitting(self, caller: Caller, holds: Holds, body: Mapping[str, Any]) -> int:
        """What the answer is to reserve of the budget, nano-USD."""
        budget = self._budget_on(caller, holds)
        if budget is None:
            return 0
        nano = estimate_nano_usd(body, self._known)
        if nano > max(budget.left_nano, 0):
            if holds.number or budget.left_nano <= 0:
                raise self._over(caller, budget, nano)
            nano = budget.left_nano
        return nano

    def _over(self, caller: Caller, budget: BudgetState, nano: int) -> Refusal:
        resets_at = datetime.fromtimestamp(budget.resets_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        spent = (
            f"{caller.name} has spent {_shown(budget.spent_nano)} USD of its budget of "
            f"{_shown(budget.limit_nano)} USD a day"
        )
        if budget.spent_nano >= budget.limit_nano:
            return _too_many(f"{spent}; it resets at {resets_at}", budget.resets_at_s - self.ledger.now_s)
        return _too_many(
            f"{spent}, answers under way may still cost {_shown(budget.reserved_nano)} USD, and this one "
            f"{_shown(nano)} USD; try again when one has ended, or with a smaller max_tokens; the budget resets at "
            f"{resets_at}",
            BUSY_RETRY_S,
        )


ADMISSION = web.AppKey("ADMISSION", Admission)


def _check_concurrency(caller: Caller, account: Account) -> None:
    limit = caller.max_concurrent
    if limit is not None and account.running >= limit:
        raise _too_many(
            f"{caller.name} may run {limit} answers at once, and {account.running} are running; try again when one "
            "has ended",
            BUSY_RETRY_S,
        )


def _too_many(what: str, retry_after_s: float) -> Refusal:
    return refuse("too_many_requests", 429, f"{what}.", retry_after_s=float(math.ceil(max(retry_after_s, 1.0))))


def _shown(nano: int) -> str:
    """USD with as many digits as there are, two at least."""
    text = f"{usd(max(nano, 0)):.9f}".rstrip("0")
    return text + "0" * (2 - len(text.partition(".")[2]))

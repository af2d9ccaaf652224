"""What a caller's limits mean, and what is said to whoever meets one: the same for whoever keeps count. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from client.errors import Refusal
from client.models.costs import usd
from server.errors import refuse

MINUTE_S: Final = 60.0
BUSY_RETRY_S: Final = 5.0
"""When to come back where nobody knows: an answer has to end first."""


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


def fitting_nano(nano: int, left_nano: int, holding: int) -> int | None:
    """What an answer that may cost `nano` is to reserve; None: it does not fit.

    One may reserve more than is left only while no other holds anything.
    """
    if nano <= max(left_nano, 0):
        return nano
    return None if holding or left_nano <= 0 else left_nano


def too_many_starts(name: str, limit: int, wait_s: float) -> Refusal:
    """No 60 seconds ever hold more starts than the limit."""
    return _too_many(f"{name} may start {limit} answers a minute; try again later", wait_s)


def too_many_at_once(name: str, limit: int, running: int) -> Refusal:
    """As many answers run as may."""
    return _too_many(
        f"{name} may run {limit} answers at once, and {running} are running; try again when one has ended",
        BUSY_RETRY_S,
    )


def over_budget(name: str, budget: BudgetState, nano: int, now_s: float) -> Refusal:
    """The day's budget is spent, or what is left is held."""
    resets_at = datetime.fromtimestamp(budget.resets_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    spent = f"{name} has spent {_shown(budget.spent_nano)} USD of its budget of {_shown(budget.limit_nano)} USD a day"
    if budget.spent_nano >= budget.limit_nano:
        return _too_many(f"{spent}; it resets at {resets_at}", budget.resets_at_s - now_s)
    return _too_many(
        f"{spent}, answers under way may still cost {_shown(budget.reserved_nano)} USD, and this one "
        f"{_shown(nano)} USD; try again when one has ended, or with a smaller max_tokens; the budget resets at "
        f"{resets_at}",
        BUSY_RETRY_S,
    )


def _too_many(what: str, retry_after_s: float) -> Refusal:
    return refuse("too_many_requests", 429, f"{what}.", retry_after_s=float(math.ceil(max(retry_after_s, 1.0))))


def _shown(nano: int) -> str:
    """USD with as many digits as there are, two at least."""
    text = f"{usd(max(nano, 0)):.9f}".rstrip("0")
    return text + "0" * (2 - len(text.partition(".")[2]))

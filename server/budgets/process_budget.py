"""What one process may spend in all, for a program that serves one user: kept by reserving before and settling after.

Nothing of it outlives the process, and no answer may reserve more than is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.models.costs import Known, estimate_nano_usd, usd
from client.streams.stream import Stream
from server.budgets.reckoning import has_failed_unbegun, stated_nano
from server.errors import refuse


class ProcessBudget:
    """Admits answers (`client.streams.streams.Admit`) for as long as there is money.

    Attributes:
        limit_nano: nano-USD for the whole life of the process.
        spent_nano: what answers have cost.
        reserved_nano: what those may still cost that run, or whose cost is being looked up.
    """

    def __init__(self, limit_nano: int) -> None:
        self.limit_nano = limit_nano
        self.spent_nano = 0
        self.reserved_nano = 0
        self.known: Known = lambda model_id: None
        """Finds a model, for its prices; without it each is reckoned at what the dearest cost."""

    @property
    def left_nano(self) -> int:
        """What is neither spent nor reserved; below zero when an answer cost more than was reckoned."""
        return self.limit_nano - self.spent_nano - self.reserved_nano

    async def admit(self, body: Mapping[str, Any], owner: str, key: str) -> _ReservedAnswer:
        """Reserves what the answer may cost at most (`client.streams.streams.Admit`).

        Raises:
            Refusal: that is more than is left.
        """
        return self.grant(body)

    def grant(self, body: Mapping[str, Any]) -> _ReservedAnswer:
        """The same at once.

        Raises:
            Refusal: that is more than is left.
        """
        nano = estimate_nano_usd(body, self.known)
        if nano > self.left_nano or self.left_nano < 0:
            raise refuse("forbidden", 403, self._refusal(nano))
        return _ReservedAnswer(self, nano)

    def _refusal(self, nano: int) -> str:
        left_usd = usd(max(self.left_nano, 0))
        held = f", and answers that run hold {usd(self.reserved_nano):.6f} USD of it" if self.reserved_nano else ""
        return (
            f"Not sent: it may cost {usd(nano):.6f} USD, and {left_usd:.6f} USD are left of the user's budget for "
            f"this server (MCP_BUDGET_USD){held}. Use a cheaper model, a smaller max_tokens, or ask for more."
        )


class _ReservedAnswer:
    """What is reserved for one answer (`client.streams.stream.Lease`)."""

    def __init__(self, budget: ProcessBudget, nano: int) -> None:
        self._budget = budget
        self._nano = nano
        self._is_open = True
        budget.reserved_nano += nano

    def opened(self, stream: Stream) -> None:
        """Nothing changes: it is reserved already."""

    def end(self, stream: Stream) -> None:
        """Counts what it cost; what nobody can tell counts as it was reserved."""
        if not stream.settlement.is_sought:
            failed_unbegun = has_failed_unbegun(stream) and not stream.settlement.earlier
            self._close(stated_nano(stream.settlement), otherwise=0 if failed_unbegun else self._nano)

    def settled(self, stream: Stream) -> None:
        """Counts what was found."""
        self._close(stated_nano(stream.settlement), otherwise=self._nano)

    def give_back(self) -> None:
        """Nothing was started, and costs nothing."""
        self._close(None, otherwise=0)

    def _close(self, cost_nano: int | None, *, otherwise: int) -> None:
        if self._is_open:
            self._is_open = False
            self._budget.reserved_nano -= self._nano
            self._budget.spent_nano += otherwise if cost_nano is None else cost_nano

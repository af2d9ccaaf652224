"""What one answer takes of its caller's limits until its cost is known, and who counts that in memory."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Protocol

from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey


class Grant(Protocol):
    """What one answer was granted, for its lease, which tells it in this order; nothing is told twice.

    Attributes:
        day: on which the answer counts, UTC, ISO 8601.
        nano: reserved of that day's budget; 0: nothing.
        is_kept: whether the ledger's file is to know of the answer while it runs.
    """

    nano: int
    is_kept: bool

    @property
    def day(self) -> str: ...

    def answer_id(self, stream_id: str) -> str:
        """What the ledger calls the answer: an id of its own, since that of a stream may be chosen by its caller."""

    def opened(self, answer: OpenAnswer) -> None:
        """Upstream has accepted the request."""

    def end(self) -> None:
        """It runs no more."""

    def seek(self, answer: OpenAnswer, counts: UsageCounts) -> None:
        """Its estimate was counted, and is held until the look-up of its cost has ended."""

    def close(self, key: UsageKey, counts: UsageCounts | None) -> None:
        """Nothing more will be learned of it, and this was counted last; None: nothing."""

    def give_back(self) -> None:
        """It was never started; told after `end`, in place of what may follow."""


@dataclass(slots=True)
class Holds:
    """What one caller's answers of one day hold of its budget.

    Attributes:
        day: UTC, ISO 8601.
        running_nano: reserved by answers that run.
        sought_nano: held by answers whose cost is being looked up; the ledger counts it already.
        number: how many hold something.
    """

    day: str
    running_nano: int = 0
    sought_nano: int = 0
    number: int = 0

    def reserve(self, nano: int) -> None:
        """An answer begins."""
        self.running_nano += nano
        self.number += nano > 0

    def release(self, nano: int) -> None:
        """An answer has ended."""
        self.running_nano -= nano
        self.number -= nano > 0

    def seek(self, nano: int) -> None:
        """The look-up of a cost begins."""
        self.sought_nano += nano
        self.number += nano > 0

    def found(self, nano: int) -> None:
        """A look-up has ended."""
        self.sought_nano -= nano
        self.number -= nano > 0


@dataclass(slots=True)
class Account:
    """What is remembered of a caller between two starts.

    Attributes:
        running: answers that run.
    """

    running: int = 0
    _holds: dict[str, Holds] = field(default_factory=dict)

    def holds_on(self, day: str) -> Holds:
        """What the answers hold that began on a day. Days that nothing is held of any more are forgotten, and no
        others: the clock may be set back to them."""
        holds = self._holds.get(day)
        if holds is None:
            self._holds = {each.day: each for each in self._holds.values() if each.number}
            holds = self._holds[day] = Holds(day)
        return holds


class HeldGrant:
    """One that this process counts in memory, and nobody else knows of."""

    __slots__ = ("_account", "_holds", "_sought_nano", "is_kept", "nano")

    def __init__(self, account: Account, holds: Holds, nano: int) -> None:
        self.nano = nano
        self.is_kept = nano > 0
        self._account = account
        self._holds = holds
        self._sought_nano = 0
        account.running += 1
        holds.reserve(nano)

    @property
    def day(self) -> str:
        """On which the answer counts."""
        return self._holds.day

    def answer_id(self, stream_id: str) -> str:
        """One that no caller can have chosen."""
        return f"{stream_id}.{secrets.token_hex(8)}"

    def opened(self, answer: OpenAnswer) -> None:
        """Nothing changes."""

    def end(self) -> None:
        """What it held while it ran goes."""
        self._account.running -= 1
        self._holds.release(self.nano)

    def seek(self, answer: OpenAnswer, counts: UsageCounts) -> None:
        """Its estimate is held."""
        self._sought_nano = answer.estimate_nano
        self._holds.seek(self._sought_nano)

    def close(self, key: UsageKey, counts: UsageCounts | None) -> None:
        """Nothing is held any more."""
        sought_nano, self._sought_nano = self._sought_nano, 0
        self._holds.found(sought_nano)

    def give_back(self) -> None:
        """Nothing is held any more."""


def left_over_grant(account: Account, holds: Holds, answer: OpenAnswer) -> HeldGrant:
    """That of an answer that an earlier process began, and whose cost is sought."""
    grant = HeldGrant(account, holds, 0)
    grant.end()
    grant.seek(answer, UsageCounts())
    return grant

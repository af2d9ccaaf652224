"""One answer, as this process knows it, and what of that the engine was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from server.budgets.ledger_file import UsageCounts, UsageKey

_NO_COUNTS: Final = UsageCounts()


class Stage(IntEnum):
    """How far an answer has come; none goes back."""

    UNKNOWN = 0
    RUNS = 1
    """It was granted."""
    OPENED = 2
    """Upstream has accepted it: it is billed."""
    SOUGHT = 3
    """It has ended; its estimate counts, and its cost is looked up."""
    CLOSED = 4
    """Nothing more will be learned of it."""


@dataclass(slots=True, eq=False)
class Entry:
    """One answer.

    Attributes:
        id: by which the ledger knows it.
        day: on which it counts.
        book: in which it counts.
        is_own: whether this process's ledger has it, else it was taken up from one that was lost.
        nano: what it holds.
        counted: what the ledger has counted for it by now.
        told: the stage that the engine has acknowledged.
        told_nano: what it held then.
        told_counts: what was counted for it then.
        is_told_unsurely: whether something was sent that may have been done or not.
        is_earlier: whether what it costs was known to an earlier process, which counted it for good.
        elsewhere: what somebody else has settled it with.
    """

    id: str
    caller: str
    day: str
    book: str
    nano: int = 0
    is_own: bool = True
    model: str = ""
    generation_id: str = ""
    stage: Stage = Stage.RUNS
    counted: UsageCounts = field(default_factory=UsageCounts)
    told: Stage = Stage.UNKNOWN
    told_nano: int = 0
    told_counts: UsageCounts = field(default_factory=UsageCounts)
    is_told_unsurely: bool = False
    is_earlier: bool = False
    elsewhere: dict[str, Any] | None = None

    @property
    def key(self) -> UsageKey:
        """The row that it counts in."""
        return UsageKey(self.day, self.caller, self.model)

    @property
    def is_due(self) -> bool:
        """Whether the engine is to be told something."""
        return self.stage > self.told and self.elsewhere is None

    def count(self, counts: UsageCounts) -> None:
        """The ledger has counted so much for it."""
        self.counted.add(counts)

    def untold(self) -> UsageCounts:
        """What was counted for it, and is not in the engine's figures."""
        return difference(self.counted, self.told_counts)

    def taken(self, stage: Stage, nano: int, counts: UsageCounts) -> None:
        """The engine knows it at that stage."""
        self.told, self.told_nano, self.told_counts = stage, nano, counts
        self.is_told_unsurely = False

    def record(self, rid: str) -> dict[str, Any]:
        """What the engine should hold of it, as far as it was told."""
        is_counted = self.is_own and self.told is Stage.SOUGHT
        return {
            "d": self.day,
            "n": str(self.told_nano),
            "k": int(is_counted),
            "o": int(self.told >= Stage.OPENED),
            "r": int(self.is_own and self.told <= Stage.OPENED),
            "b": self.book,
            "w": rid,
            "g": self.generation_id,
            "m": self.model,
        }

    def final(self) -> dict[str, Any]:
        """What settles it: all that was counted for it, in one."""
        counts = self.counted
        return {
            "final": 1,
            "nano": str(counts.cost_nano) if counts.requests else None,
            "told": int(bool(counts.requests) and not counts.unsettled and not self.is_earlier),
            "prompt_tokens": str(counts.prompt_tokens),
            "completion_tokens": str(counts.completion_tokens),
        }


def copy_of(counts: UsageCounts) -> UsageCounts:
    """The same figures."""
    return difference(counts, _NO_COUNTS)


def difference(counts: UsageCounts, less: UsageCounts) -> UsageCounts:
    """What is counted beyond `less`."""
    return UsageCounts(
        counts.requests - less.requests,
        counts.prompt_tokens - less.prompt_tokens,
        counts.completion_tokens - less.completion_tokens,
        counts.cost_nano - less.cost_nano,
        counts.settled_nano - less.settled_nano,
        counts.unsettled - less.unsettled,
    )

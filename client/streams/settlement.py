"""What is known of an answer's cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from client.translation.usage import usage_of_attempts


class Settlement:
    """What is known of a stream's cost.

    Attributes:
        usage: upstream's usage object, or one made of `/generation`; None while unknown.
        total_cost: USD; None while unknown.
        is_settled: whether upstream itself has stated the cost.
        is_sought: whether it had to be looked up.
        earlier: usage of attempts that failed and were followed by another; each counts.
    """

    __slots__ = ("earlier", "is_settled", "is_sought", "total_cost", "usage")

    def __init__(self) -> None:
        self.usage: dict[str, Any] | None = None
        self.total_cost: float | None = None
        self.is_settled = False
        self.is_sought = False
        self.earlier: Sequence[dict[str, Any]] = ()

    def state(self, usage: dict[str, Any]) -> None:
        """Upstream has said what the last attempt cost."""
        self.take(*usage_of_attempts([*self.earlier, usage]))

    def take(self, usage: dict[str, Any], total_cost: float | None) -> None:
        """Upstream has said what all of it cost; None: nothing that makes sense."""
        self.usage, self.total_cost = usage, total_cost
        self.is_settled = True


class Settled(Protocol):
    """What is settled: a stream, or what is left of one that an earlier process began."""

    id: str
    generation_id: str | None
    settlement: Settlement

    def note_settled(self) -> None:
        """The look-up has ended, with a cost or without. Not called when it was given up by `Settler.aclose`."""

"""What the answers of this process have cost."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.streams.readable import Readable
    from client.streams.settlement import Settlement

_MOST_OPEN = 1000


class Spending:
    """Adds up the costs that upstream states, for all callers and for each. Without an owner, of all."""

    def __init__(self) -> None:
        self._answers: Counter[str] = Counter()
        self._settled_usd: defaultdict[str, float] = defaultdict(float)
        self._open: deque[tuple[str, Settlement]] = deque(maxlen=_MOST_OPEN)

    def note_end(self, stream: Readable) -> None:
        """An answer has ended; its cost may come later."""
        self._answers[stream.owner] += 1
        if stream.settlement.is_settled:  # as most are
            self._settled_usd[stream.owner] += stream.settlement.total_cost or 0.0
        else:
            self._open.append((stream.owner, stream.settlement))
            self._sweep()

    def answers(self, owner: str | None = None) -> int:
        """How many have ended."""
        return self._answers.total() if owner is None else self._answers[owner]

    def total_usd(self, owner: str | None = None) -> float:
        """USD known to have been spent."""
        self._sweep()
        return sum(self._settled_usd.values()) if owner is None else self._settled_usd.get(owner, 0.0)

    def unsettled(self, owner: str | None = None) -> int:
        """Answers whose cost is still being looked up."""
        self._sweep()
        return sum(owner in (None, name) for name, _ in self._open)

    def _sweep(self) -> None:
        for entry in tuple(self._open):
            owner, settlement = entry
            if settlement.is_settled:
                self._settled_usd[owner] += settlement.total_cost or 0.0
            if settlement.is_settled or not settlement.is_sought:
                self._open.remove(entry)

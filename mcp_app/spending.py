"""What the answers of this process have cost."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.settlement import Settlement
    from client.streams import Stream

_MOST_OPEN = 1000


class Spending:
    """Adds up the costs that upstream states.

    Attributes:
        answers: how many have ended.
    """

    def __init__(self) -> None:
        self.answers = 0
        self._settled_usd = 0.0
        self._open: deque[Settlement] = deque(maxlen=_MOST_OPEN)

    def note_end(self, stream: Stream) -> None:
        """An answer has ended; its cost may come later."""
        self.answers += 1
        self._open.append(stream.settlement)
        self._sweep()

    @property
    def total_usd(self) -> float:
        """USD known to have been spent."""
        self._sweep()
        return self._settled_usd

    @property
    def unsettled(self) -> int:
        """Answers whose cost is still being looked up."""
        self._sweep()
        return len(self._open)

    def _sweep(self) -> None:
        for settlement in tuple(self._open):
            if settlement.is_settled:
                self._settled_usd += settlement.total_cost or 0.0
            if settlement.is_settled or not settlement.is_sought:
                self._open.remove(settlement)

"""Tells others what answers have cost whose process is gone, once that was looked up here."""

from __future__ import annotations

from collections.abc import Callable

from client.streams.settlement import Settled, Settlement

Tell = Callable[[str, Settlement], None]
"""What has become known of the answer at a place in the engine."""


class Telling:
    """An answer whose cost is looked up (`client.streams.settlement.Settled`), and who hears of it beside its book.

    Args:
        settled: the answer; its id begins with its place in the engine, and a dot.
    """

    def __init__(self, settled: Settled, tell: Tell) -> None:
        self.id = settled.id
        self.generation_id = settled.generation_id
        self.settlement = settled.settlement
        self._settled = settled
        self._tell = tell

    def note_settled(self) -> None:
        """The look-up has ended."""
        self._settled.note_settled()
        if self.settlement.is_settled:
            self._tell(self.id.partition(".")[0], self.settlement)


def telling(settle: Callable[[Settled], None], tell: Tell) -> Callable[[Settled], None]:
    """What looks costs up and has others told of them."""
    return lambda settled: settle(Telling(settled, tell))

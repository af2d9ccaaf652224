"""What answers of earlier processes have cost: looked up once, by whoever counts it, and told to their readers."""

from __future__ import annotations

from collections.abc import Callable

from client.streams.settlement import Settled, Settlement
from server.budgets.leases import LeftOver

_Key = tuple[str, str]
"""Owner and generation: upstream gives no id twice."""


class _Watched:
    """A look-up (`client.streams.settlement.Settled`) of which somebody else hears, too."""

    def __init__(self, inner: LeftOver, on_settled: Callable[[], None]) -> None:
        self.id = inner.id
        self.generation_id = inner.generation_id
        self.settlement = inner.settlement
        self._inner = inner
        self._on_settled = on_settled

    def note_settled(self) -> None:
        """The look-up has ended."""
        self._inner.note_settled()
        self._on_settled()


class Settlements:
    """Costs that are being looked up, or were in this process.

    Attributes:
        look_up: begins a look-up.
    """

    def __init__(self) -> None:
        self.look_up: Callable[[Settled], None] = lambda answer: None
        self._found: dict[_Key, Settlement] = {}
        self.on_settled: Callable[[str, str, Settlement], None] = lambda owner, generation_id, settlement: None
        """Told of each that has become known: owner, generation, what it is."""

    def settle(self, left_over: Settled) -> None:
        """Begins the look-up for what an earlier process left."""
        generation_id = left_over.generation_id
        if generation_id is None or not isinstance(left_over, LeftOver):  # others know of the rest
            self.look_up(left_over)
            return
        owner = left_over.owner
        self._found[owner, generation_id] = left_over.settlement
        self.look_up(_Watched(left_over, lambda: self._note(owner, generation_id, left_over.settlement)))

    def of(self, owner: str, generation_id: str | None) -> Settlement | None:
        """What is known by now of an answer that this process has looked up."""
        return None if generation_id is None else self._found.get((owner, generation_id))

    def _note(self, owner: str, generation_id: str, settlement: Settlement) -> None:
        if settlement.usage is not None:
            self.on_settled(owner, generation_id, settlement)

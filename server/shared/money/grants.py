"""What one answer was granted where several processes keep to its caller's limits (`server.budgets.grants.Grant`)."""

from __future__ import annotations

from server.budgets.grants import HeldGrant
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from server.shared.money.entries import Entry, Stage
from server.shared.money.journal import Journal, final_row


class SharedGrant:
    """One that this process counts as if it were alone, and tells the others of.

    Attributes:
        is_kept: true: whoever pays, its cost is to be counted once over all processes.
    """

    __slots__ = ("_entry", "_held", "_journal", "_ledger", "is_kept", "nano")

    def __init__(self, journal: Journal, ledger: Ledger, entry: Entry, held: HeldGrant) -> None:
        self.nano = held.nano
        self.is_kept = True
        self._journal = journal
        self._ledger = ledger
        self._entry = entry
        self._held = held

    @property
    def day(self) -> str:
        """On which the answer counts."""
        return self._entry.day

    def answer_id(self, stream_id: str) -> str:
        """The one under which it was reserved."""
        return self._entry.id

    def opened(self, answer: OpenAnswer) -> None:
        """The engine is to know under which generation it can be looked up."""
        self._name(answer)
        self._journal.advance(self._entry, Stage.OPENED)

    def end(self) -> None:
        """It runs no more; what that means for the others is told with what it costs."""
        self._held.end()

    def seek(self, answer: OpenAnswer, counts: UsageCounts) -> None:
        """Its estimate counts, and is held on."""
        self._held.seek(answer, counts)
        self._name(answer)
        self._entry.nano = answer.estimate_nano
        self._entry.count(counts)
        self._journal.advance(self._entry, Stage.SOUGHT)

    def close(self, key: UsageKey, counts: UsageCounts | None) -> None:
        """What it costs is known, or never will be."""
        self._held.close(key, counts)
        entry = self._entry
        entry.model = key.model
        if counts is not None:
            entry.count(counts)
        self._journal.advance(entry, Stage.CLOSED)
        if entry.id in self._journal.entries:
            self._ledger.open_answer(final_row(entry))

    def give_back(self) -> None:
        """It was never started."""
        self._held.give_back()
        self._journal.advance(self._entry, Stage.CLOSED)

    def _name(self, answer: OpenAnswer) -> None:
        self._entry.model = answer.key.model
        self._entry.generation_id = answer.generation_id or ""

"""Answers of processes that are lost: taken up from them, and settled for the books in which they count."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from client.streams.elsewhere import StoreUnavailable
from client.streams.settlement import Settled, Settlement
from server.budgets.ledger import told_counts
from server.budgets.ledger_file import UsageCounts
from server.budgets.reckoning import stated_nano
from server.shared.money.accounts import ADOPT
from server.shared.money.entries import Entry, Stage
from server.shared.money.journal import Journal
from server.shared.store import Store


class Adopted:
    """One of them, while its cost is looked up (`client.streams.settlement.Settled`)."""

    def __init__(self, journal: Journal, entry: Entry) -> None:
        self.id = entry.id
        self.generation_id: str | None = entry.generation_id or None
        self.settlement = Settlement()
        self._journal = journal
        self._entry = entry

    def note_settled(self) -> None:
        """The look-up has ended: the cost counts if it was found, else the estimate stays."""
        cost_nano = stated_nano(self.settlement)
        if cost_nano is not None:
            self._entry.counted = told_counts(self.settlement.usage or {}, cost_nano)
        self._journal.advance(self._entry, Stage.CLOSED)


class Undertaker:
    """Takes up what a lost process has not settled.

    Args:
        today: UTC, ISO 8601.
        settle: looks a cost up.
    """

    def __init__(
        self, store: Store, journal: Journal, today: Callable[[], str], settle: Callable[[Settled], None]
    ) -> None:
        self._store = store
        self._journal = journal
        self._today = today
        self._settle = settle

    async def bury(self, rid: str) -> None:
        """Takes up everything of a process; may be repeated, by whomever.

        Raises:
            StoreUnavailable: not all of it could be taken up.
        """
        touched = self._journal.accounts.touched_key(rid)
        for name in await self._store.command("SMEMBERS", touched):
            await self._adopt(rid, name.decode("utf-8", "surrogateescape"))
        await self._store.command("DEL", touched)

    async def _adopt(self, rid: str, caller: str) -> None:
        await self._journal.restoring.ready(caller)
        reply = await self._journal.accounts.ask(ADOPT, caller, self._today(), lost=rid)
        if reply.word != "ok":
            self._journal.restoring.doubt(caller)
            raise StoreUnavailable
        for id_, text in zip(reply.rest[::2], reply.rest[1::2], strict=True):
            if id_ not in self._journal.entries:
                self._take_up(_entry_of(id_, caller, json.loads(text)))

    def _take_up(self, entry: Entry) -> None:
        """Its estimate counts from now on, as that of any answer whose cost is looked up."""
        self._journal.begin(entry)
        self._journal.advance(entry, Stage.SOUGHT)
        adopted = Adopted(self._journal, entry)
        if adopted.generation_id is None:
            adopted.note_settled()
        else:
            self._settle(adopted)


def _entry_of(id_: str, caller: str, record: dict[str, Any]) -> Entry:
    nano = int(record["n"])
    return Entry(
        id_,
        caller,
        record["d"],
        record["b"],
        nano=nano,
        is_own=False,
        model=record["m"],
        generation_id=record["g"],
        counted=UsageCounts(1, 0, 0, nano, 0, 1),
        told=Stage.SOUGHT if record["k"] else Stage.OPENED,
        told_nano=nano,
    )

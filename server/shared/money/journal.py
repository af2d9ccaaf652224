"""Tells the engine what this process has counted: behind it, in few calls, and again until it has taken it.

Everything that is told may be told twice: an answer's id counts once. While there is no contact nothing is lost: what
the engine knew of is kept in mind, here and in the ledger's file, and what it never heard of is in the rows of the
ledger, which `restoring` compares with the engine's as soon as there is contact again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from client.streams.elsewhere import StoreUnavailable
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from server.shared.engine.scripts import Call
from server.shared.money.accounts import OPENED, SETTLE, Accounts
from server.shared.money.entries import Entry, Stage, copy_of, difference
from server.shared.money.own_book import figures_of
from server.shared.money.restoring import Restoring
from server.shared.store import Store

logger = logging.getLogger(__name__)

_MOST_CALLS: Final = 200
_AGAIN_S: Final = 0.25
_CLOSING_S: Final = 2.0


@dataclass(slots=True)
class _Told:
    """What was sent of an entry, for when it has been taken."""

    entry: Entry
    stage: Stage
    nano: int
    counts: UsageCounts


class Journal:
    """What the engine has not taken yet.

    Attributes:
        entries: answers that are not settled for good, by id.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self.accounts = Accounts(store, lambda: ledger.book)
        self.entries: dict[str, Entry] = {}
        self.restoring = Restoring(store, ledger, self.accounts, self.entries_of)
        self._due: dict[str, Entry] = {}
        self._most_calls = _MOST_CALLS
        self._forget: dict[str, list[str]] = {}  # ids by caller that the engine need not remember for long
        self._stirred = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    # -- opening and closing ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to tell, as soon as there is contact."""
        self._store.on_epoch.append(self.restoring.begin_epoch)
        self._store.on_contact.append(self._begin_contact)
        self._store.leaves_open.append(lambda: bool(self.entries))
        self._writer = asyncio.create_task(self._write_on(), name="journal of budgets")

    async def aclose(self) -> None:
        """Tells what is left, as far as that can be done soon."""
        self._closing.set()
        self._stirred.set()
        if self._writer is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_S):
                    await asyncio.shield(self._writer)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self.restoring.aclose()

    # -- what becomes of answers ----------------------------------------------------------------------------------

    def entries_of(self, caller: str) -> Iterable[Entry]:
        """Those of one caller."""
        return [entry for entry in self.entries.values() if entry.caller == caller]

    def begin(self, entry: Entry) -> None:
        """An answer that holds something, or may do so."""
        self.entries[entry.id] = entry

    def advance(self, entry: Entry, stage: Stage) -> None:
        """It has come that far; the engine is to know."""
        entry.stage = max(entry.stage, stage)
        if entry.elsewhere is not None and entry.stage is Stage.CLOSED:
            self._yield(entry)
        elif self._is_over_unheard(entry):
            self._finish(entry)
            if entry.counted.requests:
                self.restoring.doubt(entry.caller)
        else:
            self._due[entry.id] = entry
            self._stirred.set()

    def _is_over_unheard(self, entry: Entry) -> bool:
        """Whether the engine never heard of an answer that has ended: the rows of the ledger tell all there is."""
        if entry.stage is not Stage.CLOSED or entry.told is not Stage.UNKNOWN or entry.is_told_unsurely:
            return False
        return not self._store.has_contact or not entry.counted.requests

    def _finish(self, entry: Entry) -> None:
        """Nothing is left to be told of it."""
        self.entries.pop(entry.id, None)
        self._due.pop(entry.id, None)
        if entry.is_own:
            self._ledger.close_answer(entry.id)

    def _yield(self, entry: Entry) -> None:
        """Somebody else has settled it, while this process stood still: that counts, also here."""
        theirs = entry.elsewhere or {}
        self._finish(entry)
        if not entry.is_own or entry.is_earlier:
            return
        counts = figures_of(theirs)
        key = UsageKey(str(theirs.get("d", entry.day)), entry.caller, str(theirs.get("m", entry.model)))
        if key == entry.key:
            counts = difference(counts, entry.counted)
        elif entry.counted.requests:
            self._ledger.count(entry.key, difference(UsageCounts(), entry.counted))
        if counts != UsageCounts():
            self._ledger.count(key, counts)

    # -- telling --------------------------------------------------------------------------------------------------

    async def _begin_contact(self) -> None:
        """The engine may lack what was told last: what this process knows is compared with it first of all."""
        await self.restoring.begin_contact()
        self._stirred.set()

    async def _write_on(self) -> None:
        while not self._closing.is_set() or self._due:
            is_busy = bool(self._due or self._forget or self.restoring.has_doubts)
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S if is_busy else None):
                    await self._stirred.wait()
            self._stirred.clear()
            if not self._store.has_contact:
                if self._closing.is_set():
                    return
                continue
            try:
                await self._tell_all()
            except StoreUnavailable:
                continue  # in a while
            except Exception:
                logger.exception("the shared budgets could not be told what was counted")

    async def _tell_all(self) -> None:
        await self.restoring.catch_up()
        while self._due and self._store.has_contact and await self.flush():
            pass
        await self._forget_written()

    async def flush(self) -> bool:
        """Tells what is due, as much as goes into one call of the engine. False: nothing of it was taken.

        After a call that failed one thing is told at a time: one that the engine cannot take keeps no other waiting.
        """
        entries = list(self._due.values())[: self._most_calls]
        ready = {caller for caller in {entry.caller for entry in entries} if await self._is_ready(caller)}
        for entry in entries:
            if self._due.pop(entry.id, None) is not None and entry.is_due:
                self._due[entry.id] = entry  # behind all others, until it was taken
        sent = [self._sending(entry) for entry in entries if entry.is_due and entry.caller in ready]
        calls = [self._call(each) for each in sent]
        for each in sent:
            each.entry.is_told_unsurely = True
        try:
            replies = await self._store.run_many(calls)
        except StoreUnavailable:
            self._most_calls = 1
            raise
        self._most_calls = min(2 * self._most_calls, _MOST_CALLS)
        return sum([self._hear(told, reply) for told, reply in zip(sent, replies, strict=True)]) > 0

    async def _is_ready(self, caller: str) -> bool:
        try:
            await self.restoring.ready(caller)
        except StoreUnavailable:
            return False
        return True

    def _sending(self, entry: Entry) -> _Told:
        return _Told(entry, entry.stage, entry.nano, copy_of(entry.counted))

    def _call(self, told: _Told) -> Call:
        entry = told.entry
        what: dict[str, Any] = {
            "id": entry.id,
            "book": entry.book,
            "model": entry.model,
            "generation": entry.generation_id,
            "nano": str(entry.nano),
        }
        if told.stage <= Stage.OPENED:
            return self.accounts.call(OPENED, entry.caller, entry.day, **what, opened=int(told.stage is Stage.OPENED))
        what |= {"own": int(entry.is_own), "final": 0, "told": 0, "prompt_tokens": "0", "completion_tokens": "0"}
        if told.stage is Stage.CLOSED:
            what |= entry.final()
        return self.accounts.call(SETTLE, entry.caller, entry.day, **what)

    def _hear(self, told: _Told, reply: Any) -> bool:
        """What the engine says to it. False: it is to be told again."""
        entry, answer = told.entry, self.accounts.reply(reply)
        match answer.word:
            case "ok":
                entry.taken(told.stage, told.nano, told.counts)
                if told.stage is Stage.CLOSED:
                    if entry.is_own:
                        self._forget.setdefault(entry.caller, []).append(entry.id)
                    self._finish(entry)
            case "settled":
                self._hear_settled(entry, answer.rest)
            case "gone":
                self._finish(entry)
            case "unknown":
                self.restoring.doubt(entry.caller)
                return False
            case _:
                return False
        if not entry.is_due:
            self._due.pop(entry.id, None)
        return True

    def _hear_settled(self, entry: Entry, rest: tuple[str, ...]) -> None:
        if not entry.is_own:
            self._finish(entry)
            return
        if not rest:  # said to one that is told to have been opened; what it was settled with is said at its end
            entry.taken(entry.stage, entry.nano, entry.told_counts)
            return
        entry.elsewhere = json.loads(rest[0])
        self._forget.setdefault(entry.caller, []).append(entry.id)
        if entry.stage is Stage.CLOSED:
            self._yield(entry)

    async def _forget_written(self) -> None:
        """The engine need not remember what was settled, once no later process can ask for it."""
        forgotten: list[tuple[str, list[str]]] = []
        for caller, ids in self._forget.items():
            gone = [id_ for id_ in ids if id_ not in self.entries and not self._ledger.has_in_file(id_)]
            if gone:
                forgotten.append((caller, gone))
        if not forgotten:
            return
        await self._store.commands(
            [["HDEL", self.accounts.key(caller, "settled"), *ids] for caller, ids in forgotten]
        )
        for caller, ids in forgotten:
            left = [id_ for id_ in self._forget[caller] if id_ not in set(ids)]
            if left:
                self._forget[caller] = left
            else:
                del self._forget[caller]


def final_row(entry: Entry) -> OpenAnswer:
    """What the ledger's file keeps of an answer that has ended, until the engine has taken what it cost."""
    return OpenAnswer(
        entry.id, entry.key, entry.counted.cost_nano, entry.generation_id or None, is_counted=True, is_final=True
    )

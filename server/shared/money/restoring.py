"""Puts back what the engine may have lost of this process's figures: at each contact, and when its data are new.

A caller's account is used only after that was done, by every process for its own book. What others have counted they
put back themselves; for as long as they may still be at it, nobody with a budget is admitted (`admission`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Final

from client.streams.elsewhere import StoreUnavailable
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import UsageCounts, UsageKey
from server.shared.engine.lines import EngineLost
from server.shared.money.accounts import RESTORE, Accounts
from server.shared.money.entries import Entry, Stage
from server.shared.money.own_book import take_back
from server.shared.store import Store

logger = logging.getLogger(__name__)

_RECENT_DAYS: Final = 2
"""Days before today, and after it, that a budget may be asked about."""
_HISTORY_DAYS: Final = 399
_AT_ONCE: Final = 50
_AGAIN_S: Final = 1.0
_MOST_PATIENCE_S: Final = 0.9


class Restoring:
    """What was put back, and is known to be there.

    Args:
        entries_of: a caller's answers that are not settled for good.
    """

    def __init__(
        self, store: Store, ledger: Ledger, accounts: Accounts, entries_of: Callable[[str], Iterable[Entry]]
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._accounts = accounts
        self._entries_of = entries_of
        self._ready: set[str] = set()
        self._doubted: set[str] = set()
        self._taken_back: set[str] = set()
        self._restoring: dict[str, asyncio.Task[None]] = {}
        self._contact = 0
        self._history: asyncio.Task[None] | None = None

    async def begin_epoch(self, epoch: str) -> None:
        """The engine's data are new to this process: it may hold nothing of what was counted before."""
        self._accounts.epoch = epoch
        self._ready.clear()
        if self._history is not None:
            self._history.cancel()
        self._history = asyncio.create_task(self._restore_history(), name="history for the shared store")

    async def begin_contact(self) -> None:
        """Whoever has counted lately is put back, as far as that is done soon; others before they are asked for."""
        self._contact += 1
        self._ready.clear()
        first, last = self._recent
        self._doubted |= {key.caller for key in await self._ledger.read(first, last, None)}
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOST_PATIENCE_S):
                await self.catch_up()

    async def catch_up(self) -> None:
        """Puts back what is in doubt; what cannot be told now stays so, and keeps nobody else from being told."""
        doubted = sorted(self._doubted)
        for place in range(0, len(doubted), _AT_ONCE):
            each = [self.ready(caller) for caller in doubted[place : place + _AT_ONCE]]
            for outcome in await asyncio.gather(*each, return_exceptions=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, StoreUnavailable):
                    logger.error("an account could not be put back", exc_info=outcome)

    async def ready(self, caller: str) -> None:
        """Returns when the engine knows of a caller what this process does.

        Raises:
            StoreUnavailable: it could not be told.
        """
        while caller not in self._ready:
            task = self._restoring.get(caller)
            if task is None:
                task = self._restoring[caller] = asyncio.create_task(self._restore(caller))
                task.add_done_callback(lambda done: self._note_restored(caller, done))
            await asyncio.shield(task)

    def _note_restored(self, caller: str, task: asyncio.Task[None]) -> None:
        self._restoring.pop(caller, None)
        if not task.cancelled():
            task.exception()  # who waits for it is told

    def doubt(self, caller: str) -> None:
        """The engine lacks something of it after all."""
        self._ready.discard(caller)
        self._doubted.add(caller)

    @property
    def has_doubts(self) -> bool:
        """Whether there is something that is to be put back."""
        return bool(self._doubted)

    @property
    def _recent(self) -> tuple[date, date]:
        today = date.fromisoformat(self._ledger.today)
        return today - timedelta(days=_RECENT_DAYS), today + timedelta(days=1)

    async def _restore(self, caller: str) -> None:
        contact, accounts = self._contact, self._accounts
        self._doubted.discard(caller)
        try:
            await self._check_epoch()
            await self._put_back(caller, accounts)
            await self._check_epoch()
        except BaseException:
            self._doubted.add(caller)
            raise
        if contact == self._contact and caller not in self._doubted:
            self._ready.add(caller)

    async def _check_epoch(self) -> None:
        """What the engine does not know is put back only into the data that this process knows: into others everybody
        has to, and nobody with a budget may be admitted before (`Store.may_lack`)."""
        epoch = await self._store.command("GET", self._store.keys.epoch)
        if epoch is None or epoch.decode() != self._accounts.epoch:
            self._store.suspect(EngineLost("its data are others"))
            raise StoreUnavailable

    async def _put_back(self, caller: str, accounts: Accounts) -> None:
        await self._store.commands(
            [["SADD", accounts.callers_key, caller], ["SADD", accounts.touched_key(self._store.rid), caller]]
        )
        first, last = self._recent
        if caller not in self._taken_back and self._ledger.has_file:
            await take_back(self._store, accounts, self._ledger, (first, last), caller, self._entries_of(caller))
            self._taken_back.add(caller)
        by_day = await self._rows(caller, first, last)
        today = self._ledger.today
        for day, rows in by_day.items():
            if day != today:
                await self._tell(caller, day, rows, is_recent=1)
        # what was counted meanwhile is in neither, so the last day is read again with the answers that are under way
        rows = (await self._rows(caller, date.fromisoformat(today), date.fromisoformat(today))).get(today, [])
        entries = list(self._entries_of(caller))
        known = {entry.id: entry.record(self._store.rid) for entry in entries if entry.told is not Stage.UNKNOWN}
        unsure = [entry.id for entry in entries if entry.told is Stage.UNKNOWN]
        await self._tell(caller, today, rows, is_recent=1, done=1, open=known, unsure=unsure)

    async def _tell(self, caller: str, day: str, rows: list[dict[str, str]], **more: Any) -> None:
        told = {"rows": rows, "is_recent": 0, "done": 0, "open": {}, "unsure": [], **more}
        reply = await self._accounts.ask(RESTORE, caller, day, **told)
        if reply.word != "ok":
            raise StoreUnavailable

    async def _rows(self, caller: str | None, first: date, last: date) -> dict[str, list[dict[str, str]]]:
        """The ledger's rows by day, without what the engine is still to be told answer by answer."""
        rows = await self._ledger.read(first, last, caller)
        if caller is not None:
            for entry in self._entries_of(caller):
                _take_from(rows, entry)
        by_day: dict[str, list[dict[str, str]]] = defaultdict(list)
        for key, counts in rows.items():
            by_day[key.day].append({"m": key.model, **{name: str(n) for name, n in asdict(counts).items()}})
        return by_day

    async def _restore_history(self) -> None:
        """Days that no budget asks about any more, for who reads what was spent."""
        while True:
            try:
                await self._restore_days()
                return
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_S)
            except Exception:
                logger.exception("the history of what was spent could not be written to the shared store")
                return

    async def _restore_days(self) -> None:
        last = self._recent[0] - timedelta(days=1)
        rows = await self._ledger.read(last - timedelta(days=_HISTORY_DAYS), last, None)
        by_place: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for key, counts in rows.items():
            row = {"m": key.model, **{name: str(number) for name, number in asdict(counts).items()}}
            by_place[key.caller, key.day].append(row)
        for caller, day in sorted(by_place):
            await self._tell(caller, day, by_place[caller, day])
        if by_place:
            await self._store.command("SADD", self._accounts.callers_key, *sorted({key[0] for key in by_place}))

    async def aclose(self) -> None:
        """Gives up what is under way."""
        tasks = [task for task in (self._history, *self._restoring.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _take_from(rows: dict[UsageKey, UsageCounts], entry: Entry) -> None:
    counts = rows.get(entry.key)
    if counts is not None and entry.is_own:
        less = entry.untold()
        counts.add(
            UsageCounts(
                -less.requests,
                -less.prompt_tokens,
                -less.completion_tokens,
                -less.cost_nano,
                -less.settled_nano,
                -less.unsettled,
            )
        )

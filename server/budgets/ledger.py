"""What every caller has spent, by day and model: figures in memory, written to a small file in the background.

Nothing waits for the disk. What was counted is written within `WRITE_EVERY_S`, so a process that is killed loses the
figures of that time at most; one that ends properly loses none. The file is history, no more: when it cannot be used,
that is logged once, counting goes on in memory, and the file is tried again until it can.

Days are UTC; an answer belongs to the day on which it began.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from client.border.fit import count_of, fit_name
from server.budgets.ledger_file import (
    Batch,
    OpenAnswer,
    UsageCounts,
    UsageFile,
    UsageKey,
    new_book,
    open_usage_file,
)
from server.budgets.spent import Spent
from server.budgets.started import StartedAnswer, StartedAnswers
from server.state.sqlite_file import is_damaged, move_aside, reason_of

logger = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 0.5
RETRY_EVERY_S: Final = 5.0
DAY_S: Final = 86_400
_MOST_KEPT = 50_000
_NAMELESS = "unknown"
"""A model whose name is none."""

_DAMAGED = (
    "The usage ledger %s is damaged (%s). It was moved to %s and a new one is begun: its history no longer counts, "
    "nor, if this is a start, what was spent today."
)
_NO_FOLDER = (
    "Nothing says where to keep the usage ledger: what is spent today is forgotten when this process ends. Set "
    "server.state_dir."
)
_UNUSABLE = (
    "The usage ledger %s cannot be used: %s. Limits hold and usage is counted in memory; what was spent today before "
    "this start may be missing, and the figures are lost at the end unless the file can be used again, which is "
    "tried every %g s."
)
_REMOVED = "The usage ledger %s was removed while it was in use. It was written anew, with all that it held."
_REPLACED = "The usage ledger %s was replaced while it was in use. What is counted from now on goes to the new one."


class Ledger:
    """Counts, and says what was counted.

    Args:
        path: the file; None: in memory only.
        clock: epoch seconds.
        has_book: whether the figures have a name, since others keep figures too.

    Attributes:
        book: that name; "" where there is none.
        take_over: told of every answer that an earlier process left open.
        on_left_over: told of those of them whose cost may still be looked up, by `take_over` as it is here.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time, has_book: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._file: UsageFile | None = None
        self._file_in_use = asyncio.Lock()
        self._unsaved = Batch()
        self._open: dict[str, OpenAnswer] = {}  # whose cost may still become known
        self._saved: set[str] = set()  # of these and of some that have been closed since: what the file holds
        self.started = StartedAnswers(self._stir, clock)
        self._spent = Spent()
        self._today = self.today
        self._is_loaded = False
        self._has_trouble = False
        self._dirty = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._stirred: asyncio.TimerHandle | None = None
        self.book = new_book() if has_book else ""
        self.take_over: Callable[[OpenAnswer], None] = self._take_over
        self.on_left_over: Callable[[OpenAnswer], None] = lambda answer: None

    # -- opening and closing ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Opens the file, if it can be, and begins to write in the background. Never raises for the file's sake."""
        if self._path is None:
            logger.warning(_NO_FOLDER)
            return
        await self._open_file()
        self._writer = asyncio.create_task(self._write_on(), name="usage ledger")

    async def aclose(self) -> None:
        """Writes what is left and closes the file."""
        self._closing.set()
        if self._stirred is not None:
            self._stirred.cancel()
        self._dirty.set()
        if self._writer is not None:
            await self._writer
        await self._close_file()

    @property
    def has_file(self) -> bool:
        """Whether there is to be one."""
        return self._path is not None

    @property
    def is_stored(self) -> bool:
        """Whether what is counted now outlives the process."""
        return self._file is not None

    # -- counting -----------------------------------------------------------------------------------------------

    @property
    def today(self) -> str:
        """The day, UTC."""
        return _iso_day(int(self._clock() // DAY_S))

    @property
    def next_day_s(self) -> float:
        """Epoch seconds of the next midnight, UTC."""
        return (self._clock() // DAY_S + 1) * DAY_S

    @property
    def now_s(self) -> float:
        """Epoch seconds."""
        return self._clock()

    def spent_nano(self, day: str, caller: str) -> int:
        """What a caller has spent on one of the days that were counted on last, estimates included."""
        return self._spent.of(day, caller)

    def count(self, key: UsageKey, counts: UsageCounts) -> None:
        """Others have found that these figures are wrong by so much."""
        self._count(key, counts)

    def count_settled(self, key: UsageKey, usage: dict[str, Any], cost_nano: int) -> UsageCounts:
        """An answer has ended, and upstream has stated its cost; returns what was counted."""
        return self._count(key, told_counts(usage, cost_nano))

    def count_estimate(self, key: UsageKey, usage: dict[str, Any], estimate_nano: int) -> UsageCounts:
        """An answer has ended, and nobody knows its cost, now or ever; returns what was counted."""
        return self._count(key, UsageCounts(1, *_tokens_of(usage), estimate_nano, 0, 1))

    def correct(self, answer: OpenAnswer, usage: dict[str, Any], cost_nano: int) -> UsageCounts:
        """The cost of an answer that counted with its estimate has become known; returns what was counted."""
        difference = cost_nano - answer.estimate_nano
        counts = self._count(answer.key, UsageCounts(0, *_tokens_of(usage), difference, cost_nano, -1))
        self.close_answer(answer.stream_id)
        return counts

    def open_answer(self, answer: OpenAnswer) -> None:
        """Keeps an answer in mind, so that a later process can find out what it cost."""
        self._open[answer.stream_id] = self._unsaved.opened[answer.stream_id] = answer
        self._dirty.set()

    def close_answer(self, stream_id: str) -> None:
        """Nothing more will be learned of it."""
        self._open.pop(stream_id, None)
        if stream_id in self._saved:
            self._unsaved.opened[stream_id] = None
            self._dirty.set()
        else:
            self._unsaved.opened.pop(stream_id, None)

    def has_in_file(self, stream_id: str) -> bool:
        """Whether the file tells a later process of an answer, or may do so."""
        return stream_id in self._saved

    def _count(self, key: UsageKey, counts: UsageCounts) -> UsageCounts:
        self._unsaved.add(key, counts)
        self._spent.add(key.day, key.caller, counts.cost_nano)
        self._dirty.set()
        if self._today != self.today or len(self._unsaved.counts) > 2 * _MOST_KEPT:
            self._today = self.today
            self._forget_oldest()
        return counts

    def _forget_oldest(self) -> None:
        """Without a file, figures of old days would pile up, and those of one day under ever new names of models."""
        counts = self._unsaved.counts
        while len(counts) > _MOST_KEPT:
            oldest = min(key.day for key in counts)
            of_that_day = [key for key in counts if key.day == oldest]
            for key in of_that_day[: None if oldest < self.today else _MOST_KEPT]:
                del counts[key]

    # -- reading ------------------------------------------------------------------------------------------------

    async def read(self, first: date, last: date, caller: str | None) -> dict[UsageKey, UsageCounts]:
        """The figures of these days, both included, of one caller or (None) of all."""
        days = first.isoformat(), last.isoformat()
        async with self._file_in_use:
            found: dict[UsageKey, UsageCounts] = {}
            await self._follow()
            if self._file is not None:
                try:
                    found = await self._file.read(*days, caller)
                except Exception as exc:
                    await self._lose_file(exc)
            read = Batch(found)
            for key, counts in self._unsaved.counts.items():
                if days[0] <= key.day <= days[1] and caller in (None, key.caller):
                    read.add(key, counts)
        return {key: counts.not_negative() for key, counts in sorted(read.counts.items())}

    # -- the file -----------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        """Writes as soon as there is something to be written, and then gathers for a while."""
        while not self._closing.is_set():
            if self._file is not None:
                await self._dirty.wait()
                await self.save()
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY_S if self._file is not None else RETRY_EVERY_S):
                    await self._closing.wait()
            if self._file is None:
                await self.save()
        await self.save()  # what was counted during the last write

    def _stir(self) -> None:
        """There is something to be written, unless it has come to nothing until then."""
        if self._stirred is None and self._writer is not None:
            self._stirred = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self._settle_down)

    def _settle_down(self) -> None:
        self._stirred = None
        self.started.look_again()
        if self.started.has_unsaved:
            self._dirty.set()

    async def save(self) -> None:
        """Writes now what there is, if the file can be used; never raises."""
        async with self._file_in_use:
            try:
                await self._follow()
                if self._file is not None or await self._open_file():
                    await self._write()
            except Exception:
                logger.exception("the usage ledger could not be written")

    async def _write(self) -> None:
        """Writes what was counted. Until that is done it is counted as not written, whatever happens."""
        assert self._file is not None  # noqa: S101
        batch, self._unsaved = self._unsaved, Batch()
        batch.started = self.started.take()
        self._dirty.clear()
        before = self._saved
        self._saved = before | batch.opened.keys()  # who closes one of them meanwhile closes it in the file too
        try:
            unfit = await self._file.write(batch) if batch else []
        except BaseException as exc:
            self._saved = before
            self._put_back(batch)
            if not isinstance(exc, Exception):
                raise
            await self._lose_file(exc)
            return
        self._saved -= {stream_id for stream_id, answer in batch.opened.items() if answer is None}
        self.started.written(batch.started)
        for what in unfit:
            logger.error("a row of the usage ledger cannot be written and is left out: %s", what)
        if self._has_trouble:
            self._has_trouble = False
            logger.warning("The usage ledger %s can be used again; what was counted meanwhile is kept.", self._path)

    def _put_back(self, batch: Batch) -> None:
        """Takes back a batch that was not written, before what was counted since."""
        for key, counts in self._unsaved.counts.items():
            batch.add(key, counts)
        batch.opened |= self._unsaved.opened
        self.started.put_back(batch.started)
        batch.started = {}
        self._unsaved = batch
        self._dirty.set()

    async def _open_file(self) -> bool:
        assert self._path is not None  # noqa: S101 - there is no writer without one
        is_renewed = True
        while is_renewed:
            try:
                self._file = await open_usage_file(self._path)
                if self.book:
                    self.book = await self._file.book()
                await self._load(self._file)
                break
            except Exception as exc:
                is_renewed = await self._lose_file(exc)
        return self._file is not None

    async def _follow(self) -> None:
        """Writes the file anew, with all that it held, where it was removed while it was in use.

        A file that somebody has put in its place is taken as it is: he may have restored an older one.
        """
        file, path = self._file, self._path
        if file is None or path is None or file.is_in_place():
            return
        is_removed = not path.exists()
        self._file = None
        try:
            if is_removed:
                await file.copy_to(path)
            logger.warning(_REMOVED if is_removed else _REPLACED, path)
        except Exception as exc:
            await self._lose_file(exc)
        finally:
            with suppress(sqlite3.Error):
                await file.aclose()
        if not is_removed or self._has_trouble:
            self._begin_anew()
        await self._open_file()

    def _begin_anew(self) -> None:
        """The file holds nothing of the answers that are open: they are written again, with what they count."""
        saved, self._saved = self._saved, set()
        self._unsaved.opened = {id_: answer for id_, answer in self._unsaved.opened.items() if answer is not None}
        for stream_id, answer in self._open.items():
            if stream_id in saved and stream_id not in self._unsaved.opened:
                self._unsaved.opened[stream_id] = answer
                if answer.is_counted:
                    self._unsaved.add(answer.key, UsageCounts(1, 0, 0, answer.estimate_nano, 0, 1))
        self.started.begin_anew()
        self._dirty.set()

    async def _load(self, file: UsageFile) -> None:
        """Takes over what earlier processes have left, once."""
        if self._is_loaded:
            return
        spent, left_over = await file.spent(self.today), await file.open_answers()
        cut = await file.started_answers()
        self._is_loaded = True
        for day, caller, nano in spent:
            self._spent.add(day, caller, nano)
        for answer in left_over:
            self._saved.add(answer.stream_id)
        known = {(answer.key.caller, answer.generation_id) for answer in left_over}
        for each in self.started.load(cut):
            is_known = self.book or (each.caller, each.generation_id) in known  # by a book's journal all are
            if each.generation_id is not None and not is_known:
                left_over.append(_unreserved(each))
        for answer in left_over:
            self.take_over(answer)

    def _take_over(self, answer: OpenAnswer) -> None:
        """An answer that was running counts with its estimate, until its cost is found."""
        if not answer.is_counted:
            self.count_estimate(answer.key, {}, answer.estimate_nano)
        if answer.generation_id is None or answer.is_final:
            self.close_answer(answer.stream_id)
            return
        answer = OpenAnswer(answer.stream_id, answer.key, answer.estimate_nano, answer.generation_id, is_counted=True)
        self.open_answer(answer)
        self.on_left_over(answer)

    async def _lose_file(self, exc: Exception) -> bool:
        """Closes what fails. True when it was damaged and was moved aside, so that a new file can be made.

        Otherwise counting goes on in memory; that is said once, until the file can be used again.
        """
        assert self._path is not None  # noqa: S101
        await self._close_file()
        if is_damaged(exc):
            with suppress(OSError):
                aside = move_aside(self._path)
                logger.error(_DAMAGED, self._path, exc, aside)
                self._begin_anew()
                return True
        if not self._has_trouble:
            self._has_trouble = True
            logger.error(_UNUSABLE, self._path, reason_of(exc), RETRY_EVERY_S)
        return False

    async def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                await file.aclose()


def usage_key(day: str, caller: str, model: str) -> UsageKey:
    """A key that can be written: the model's name comes from outside."""
    return UsageKey(day, caller, fit_name(model) or _NAMELESS)


def _unreserved(answer: StartedAnswer) -> OpenAnswer:
    """A running answer for which nothing was reserved, since its caller has no budget: it counts as is found."""
    key = usage_key(_iso_day(int(answer.created_s // DAY_S)), answer.caller, answer.model)
    return OpenAnswer(f"{answer.stream_id}.cut", key, 0, answer.generation_id, is_counted=False)


def told_counts(usage: dict[str, Any], cost_nano: int) -> UsageCounts:
    """What counts for an answer whose cost upstream has stated."""
    return UsageCounts(1, *_tokens_of(usage), cost_nano, cost_nano, 0)


def _tokens_of(usage: dict[str, Any]) -> tuple[int, int]:
    return count_of(usage.get("prompt_tokens")) or 0, count_of(usage.get("completion_tokens")) or 0


@lru_cache(maxsize=8)
def _iso_day(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()

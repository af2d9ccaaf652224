"""Logs on disk (`streams.keep`): the text of answers, written in the background, and read again after a restart.

Nothing waits for the disk. What came is written each half second, so a process that is killed loses the text of that
time at most, and one that ends properly loses none. What has ended is kept for `streams.retain_s`, as in memory, and
the oldest of it goes where all together would take more than `streams.max_disk_bytes`. When the file cannot be used,
that is logged once, answers go on, and it is tried again until it can.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from client.streams.mirror import Mirror
from client.streams.readable import Summary, key_of
from client.streams.stream import Stream
from client.streams.streams import Streams
from server.restarts.endings import Endings
from server.restarts.log_file import KeptAnswer, KeptFacts, LogFile, open_log_file
from server.restarts.news import Kept, gather, kept_facts
from server.restarts.restored import restored, summary_of
from server.restarts.shelf import Shelf
from server.state.sqlite_file import is_damaged, reason_of, remove

logger = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 0.5
RETRY_EVERY_S: Final = 5.0
SWEEP_EVERY_S: Final = 30.0
_MOST_LISTED = 100_000

_UNUSABLE = (
    "The file of logs on disk, %s, cannot be used: %s. Answers go on. What is not written before it can be used "
    "again, which is tried every %g s, is not found after a restart."
)
_DAMAGED = (
    "The file of logs on disk, %s, is damaged (%s). It is removed, since it may hold text, and a new one is begun."
)
_REPLACED = "The file of logs on disk, %s, was removed or replaced while it was in use. A new one is begun."
_FULL = (
    "Running answers alone take more of %s than streams.max_disk_bytes (%d): for now no more of them is written, and "
    "they are not found as a whole after a restart."
)
_USABLE = "The file of logs on disk, %s, can be used again."

T = TypeVar("T")


class LogsOnDisk:
    """Writes logs, and knows of those that earlier processes wrote (`client.streams.elsewhere.Elsewhere`)."""

    def __init__(self, path: Path, streams: Streams, endings: Endings) -> None:
        self._path = path
        self._streams = streams
        self._endings = endings
        self._file: LogFile | None = None
        self._kept: dict[str, Kept] = {}  # of which there may be more to write
        self._next_row = 1
        self._is_loaded = False
        self._has_trouble = self._is_full = False
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._swept_s = 0.0
        self._loading = asyncio.Lock()
        self._shelf = Shelf(streams.mirrors)

    async def open(self) -> None:
        """Opens the file, if it can be, and begins to write in the background. Never raises for the file's sake."""
        await self._open_file()
        self._writer = asyncio.create_task(self._write_on(), name="logs on disk")

    async def aclose(self) -> None:
        """Writes what is left and closes the file. The logs must still be there."""
        self._closing.set()
        self._wake.set()
        if self._writer is not None:
            await self._writer
        self._shelf.clear()
        await self._close_file()

    # -- answers of this process --------------------------------------------------------------------------------

    def begin(self, stream: Stream) -> None:
        """An answer has been begun: it is written from now on, to its end."""
        self._kept[stream.key] = Kept(stream)
        self._wake.set()

    def _described(self, stream: Stream) -> KeptFacts:
        return kept_facts(stream, self._streams.names.of(stream), self._endings.encode_asked(stream.asked))

    # -- finding ------------------------------------------------------------------------------------------------

    async def find(self, stream_id: str, owner: str) -> Mirror | None:
        """The owner's answer of that id, as the file has it.

        Raises:
            StreamsFull: there is no room for it.
        """
        async with self._loading:  # one mirror for all who come at once
            keys = [stream_id, key_of(stream_id, owner)]
            answer = await self._ask(lambda file: file.find(keys, owner))
            if answer is None or not self._is_told(answer):
                return None
            return self._shelf.get(answer.key) or await self._load(answer)

    def _is_told(self, answer: KeptAnswer) -> bool:
        """Whether it has ended, and not for too long."""
        is_over = answer.ended_s is None or answer.ended_s < time.time() - self._streams.config.retain_s
        kept = self._kept.get(answer.key)
        return not is_over and (kept is None or kept.is_whole)

    async def _load(self, answer: KeptAnswer) -> Mirror | None:
        size_bytes = await self._ask(lambda file: file.size_of(answer))
        with self._streams.holding(size_bytes or 0):
            pieces = await self._ask(lambda file: file.pieces_of(answer))
        if pieces is None:
            return None
        facts, asked = answer.kept.facts, answer.kept.asked
        told = None if asked is None else self._endings.decode_asked(facts.protocol, asked)
        mirror = await restored(self._streams, answer, pieces, told)
        settlement = self._endings.settlement_of(answer.key, facts.owner, facts.generation_id)
        if settlement is not None and not mirror.settlement.is_settled:
            mirror.settlement = settlement
        self._shelf.put(mirror)
        return mirror

    async def list_of(self, owner: str, most: int | None) -> list[Summary]:
        """The owner's, newest first."""
        found = await self._ask(lambda file: file.list_of(owner, _MOST_LISTED if most is None else most))
        return [summary_of(answer, last) for answer, last in found or () if self._is_told(answer)]

    async def find_name(self, owner: str, kind: str, name: str) -> tuple[str, float] | None:
        """The id of the owner's answer that was given that name last, and when, in epoch seconds."""
        found = await self._ask(lambda file: file.named(owner, kind, name))
        return None if found is None or not self._is_told(found[0]) else (found[0].kept.facts.id, found[1])

    async def forget(self, stream_id: str, owner: str) -> None:
        """Nobody finds it any more."""
        for key in (stream_id, key_of(stream_id, owner)):
            kept = self._kept.get(key)
            if kept is not None and kept.stream.owner == owner:
                del self._kept[key]
        answer = await self._ask(lambda file: file.find([stream_id, key_of(stream_id, owner)], owner))
        if answer is not None:
            self._shelf.drop(answer.key)
            await self._ask(lambda file: file.remove(answer))

    async def _ask(self, what: Callable[[LogFile], Awaitable[T]]) -> T | None:
        """What the file says; None where it cannot be asked: whoever writes finds out why."""
        if self._file is None:
            return None
        try:
            return await what(self._file)
        except (sqlite3.Error, ValueError) as exc:  # ValueError: it was closed just now
            logger.warning("the file of logs on disk could not be read: %s", exc)
            return None

    # -- writing ------------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        """Gathers for a while, and writes."""
        while not self._closing.is_set():
            if not self._kept:
                self._wake.clear()
                await self._wait(self._wake, RETRY_EVERY_S if self._file is None else SWEEP_EVERY_S)
            await self._wait(self._closing, RETRY_EVERY_S if self._file is None else WRITE_EVERY_S)
            await self._write_safely()
        await self._write_safely()

    async def _wait(self, event: asyncio.Event, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await event.wait()

    async def _write_safely(self) -> None:
        try:
            if self._file is not None and not self._file.is_in_place():
                logger.warning(_REPLACED, self._path)
                await self._close_file()
                self._begin_anew()
            if self._file is not None or await self._open_file():
                await self._write()
        except Exception:
            logger.exception("logs could not be written to disk")

    async def _write(self) -> None:
        file = self._file
        assert file is not None  # noqa: S101
        has_more = True
        try:
            while has_more:
                gathered = await gather(
                    self._kept.values(), self._new_row, self._described, with_text=not self._is_full
                )
                if gathered.news:
                    await file.write(gathered.news)
                gathered.note_written()
                self._let_go(gathered.lost)
                has_more = gathered.is_cut_short
                await self._keep_room(file)
            await self._sweep(file)
        except Exception as exc:
            await self._lose_file(exc)
            return
        if self._has_trouble:
            self._has_trouble = False
            logger.warning(_USABLE, self._path)

    def _new_row(self) -> int:
        row, self._next_row = self._next_row, self._next_row + 1
        return row

    def _let_go(self, lost: list[Kept]) -> None:
        """Of what is over nothing more will be written, nor of what was lost."""
        for kept in [*lost, *(kept for kept in self._kept.values() if kept.is_over)]:
            if self._kept.get(kept.stream.key) is kept:
                del self._kept[kept.stream.key]

    async def _keep_room(self, file: LogFile) -> None:
        most_bytes = self._streams.config.max_disk_bytes
        is_full = not await file.make_room(most_bytes)
        if is_full and not self._is_full:
            logger.warning(_FULL, self._path, most_bytes)
        self._is_full = is_full

    async def _sweep(self, file: LogFile) -> None:
        """Removes now and then what was kept for long enough."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._swept_s + SWEEP_EVERY_S:
            await file.remove_ended_before(time.time() - self._streams.config.retain_s)
            self._swept_s = now_s

    # -- the file -----------------------------------------------------------------------------------------------

    async def _open_file(self) -> bool:
        is_renewed = True
        while is_renewed:
            try:
                file = self._file = await open_log_file(self._path)
                if not self._is_loaded:
                    self._next_row = max(self._next_row, await file.begin(time.time()))
                    self._is_loaded = True
                    await self._sweep(file)
                break
            except Exception as exc:
                is_renewed = await self._lose_file(exc)
        return self._file is not None

    def _begin_anew(self) -> None:
        """There is another file, which has nothing of the answers of this process."""
        for kept in self._kept.values():
            kept.begin_anew()

    async def _lose_file(self, exc: Exception) -> bool:
        """Closes what fails. True when it was damaged and was removed, so that a new file can be made: of one that is
        put aside nobody would ever delete the text."""
        await self._close_file()
        if is_damaged(exc):
            with suppress(OSError):
                remove(self._path)
                logger.error(_DAMAGED, self._path, exc)
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

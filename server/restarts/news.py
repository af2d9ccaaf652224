"""What the file of logs on disk does not have yet of the answers of this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from client.streams.mirror import facts_of
from client.streams.stream import Stream
from server.restarts.log_file import KeptAnswer, KeptFacts, News, Piece

PIECE_BYTES = 262_144
MOST_BYTES = 16 * 1_048_576
"""Of one write: it is held in memory until it is done."""
_A_TURN = 50
"""Answers that are looked at in one turn of the loop."""


@dataclass(slots=True, eq=False)
class Kept:
    """An answer of this process of which the file is to be told more.

    Attributes:
        row: 0 until it has one.
        written: number of the last event that the file has.
        first: number of the first event that it may have.
        told: what its row says; None until there is one.
    """

    stream: Stream
    row: int = 0
    written: int = 0
    first: int = 1
    told: KeptAnswer | None = None

    def begin_anew(self) -> None:
        """The file has nothing of it any more."""
        self.row, self.written, self.first, self.told = 0, 0, 1, None

    @property
    def is_whole(self) -> bool:
        """Whether the file has all of it, and its end."""
        return self.told is not None and self.told.ended_s is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known of it: its cost may be looked up for a while."""
        return self.is_whole and not (self.stream.settlement.is_sought and self.stream.lease is not None)


@dataclass(slots=True)
class _Step:
    """What is true of one answer once it has been written."""

    kept: Kept
    written: int
    first: int
    told: KeptAnswer | None


class Gathered:
    """What is to be written, and what is true then.

    Attributes:
        news: for the file.
        lost: answers whose logs were dropped before they could be written as a whole: they are not kept.
    """

    def __init__(self) -> None:
        self.news = News()
        self.lost: list[Kept] = []
        self._steps: list[_Step] = []

    @property
    def is_cut_short(self) -> bool:
        """Whether there was more than is written at once."""
        return self.news.size_bytes >= MOST_BYTES

    def note_written(self) -> None:
        """The file has all of it."""
        for step in self._steps:
            step.kept.written, step.kept.first, step.kept.told = step.written, step.first, step.told

    def add(self, kept: Kept, describe: Callable[[Stream], KeptFacts], *, with_text: bool) -> None:
        """What is new of one answer."""
        if kept.is_whole:
            self._add_cost(kept)
            return
        stream, log, has_ended = kept.stream, kept.stream.log, not kept.stream.is_running
        if log.count != log.last or (has_ended and log.first > kept.written + 1):  # sealed by others, or forgotten
            self._lose(kept)
            return
        first, written = max(kept.first, log.first), max(kept.written, log.first - 1)
        if first > kept.first and kept.told is not None:
            self.news.trims[kept.row] = first
        while with_text and written < log.last and not self.is_cut_short:
            data, last = log.piece_after(written, PIECE_BYTES)
            self.news.pieces.append(Piece(kept.row, last, last - written, data))
            self.news.size_bytes += len(data)
            written = last
        told = kept.told
        if has_ended and written == log.last:
            told = KeptAnswer(kept.row, stream.key, describe(stream), time.time(), log.last)
        elif told is None or told.kept.facts.generation_id != stream.generation_id:
            told = KeptAnswer(kept.row, stream.key, describe(stream), None, 0)
        if told is not kept.told:
            self.news.answers.append(told)
        self._steps.append(_Step(kept, written, first, told))

    def _add_cost(self, kept: Kept) -> None:
        """It has ended: all that may have become known is what it has cost."""
        told, settlement = kept.told, kept.stream.settlement
        if told is not None and settlement.is_settled and not told.kept.facts.is_settled:
            facts = msgspec.structs.replace(
                told.kept.facts, usage=settlement.usage, total_cost=settlement.total_cost, is_settled=True
            )
            told = replace(told, kept=msgspec.structs.replace(told.kept, facts=facts))
            self.news.answers.append(told)
            self._steps.append(_Step(kept, kept.written, kept.first, told))

    def _lose(self, kept: Kept) -> None:
        self.lost.append(kept)
        if kept.told is not None:
            self.news.removed.append(kept.row)


async def gather(
    all_kept: Iterable[Kept],
    next_row: Callable[[], int],
    describe: Callable[[Stream], KeptFacts],
    *,
    with_text: bool,
) -> Gathered:
    """What is new of all of them, some in each turn of the loop.

    Args:
        with_text: whether there is room for more of it.
    """
    gathered = Gathered()
    for number, kept in enumerate(tuple(all_kept), 1):
        kept.row = kept.row or next_row()
        gathered.add(kept, describe, with_text=with_text)
        if number % _A_TURN == 0:
            await asyncio.sleep(0)
    return gathered


def kept_facts(stream: Stream, names: list[tuple[str, str, float]], asked: bytes | None) -> KeptFacts:
    """What readers of a stream need beside its log."""
    return KeptFacts(msgspec.structs.replace(facts_of(stream), asked=None, refusal=None), asked, names)

"""Writes what answers of this process have said, behind them: all that has changed, in one command a flush.

Each write says which number it follows, and changes nothing where that is not what stands there. So one that was
late, lost, repeated, or of a process that others have given up, does no harm, and what the engine lost is written
again from where it stands. There is no buffer here: what waits to be written stands in the answers' own logs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from client.streams.log import EventsGone
from client.streams.stream import Stream
from server.shared.copied import Copy
from server.shared.engine.lines import EngineError, EngineUnfit, Word
from server.shared.engine.scripts import Script, run
from server.shared.engine.values import number_of
from server.shared.records import Records
from server.shared.store import LUA, Store

logger = logging.getLogger(__name__)

_APPEND: Final = Script.read(LUA, "append")
_KEYS: Final = 2
"""Of each answer: its meta and its log."""
_MOST_STREAMS: Final = 200
_MOST_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_FEW: Final = 16
"""So many answers go with every flush, whoever reads them."""
_TIDY_S: Final = 0.25
_MOST_LEFT: Final = 100
_RENEW_S: Final = 60.0
_SPARE_S: Final = 600.0
"""How long keys outlive two leases, while nobody renews them."""

_encode: Final = msgspec.msgpack.Encoder().encode
_Piece = tuple[Copy, int, int | None, bool, tuple[object, ...]]
"""A copy, the number of the last event that was written, how many bytes the log had up to there where that is known,
whether it was the end, its state then."""
_Told = tuple[int, int, bytes, bytes, int, int]
"""What `append` is told of one answer: as there, but its bytes in the place of their sizes."""
Verdict = Literal["unknown", "stands", "foreign", "ended", "sealed", "begun", "unfit"]


class Outbox:
    """Writes copies.

    Attributes:
        changed: answers with something that may not stand there yet; the answers put themselves in.
        copies: all that are not over.
        by_place: the same by what they are called there.
    """

    def __init__(self, store: Store, records: Records, retain_s: Callable[[], float]) -> None:
        self.changed: set[Stream] = set()
        self.copies: dict[Stream, Copy] = {}
        self.by_place: dict[str, Copy] = {}
        self.misfits: list[tuple[Copy, Verdict, int]] = []
        self._left: list[Sequence[Word]] = []
        self._tidy_at_s = 0.0
        self._retain_s = retain_s
        self._store = store
        self._records = records

    @property
    def retain_ms(self) -> int:
        """How long an answer can be read there that has ended; others take a moment to read the end."""
        return round(max(self._retain_s(), 2 * self._store.lease_s) * 1000)

    @property
    def unacked_bytes(self) -> int:
        """What waits to be written, about: a log whose head is dropped counts as a whole."""
        return sum(
            copy.stream.log.written_bytes * (copy.stream.log.last - copy.acked) // max(1, copy.stream.log.last)
            for copy in self.copies.values()
        )

    @property
    def oldest_unacked_s(self) -> float:
        """For how long the oldest of it waits."""
        since = [each.behind_since_s for each in self.copies.values() if each.behind_since_s is not None]
        return asyncio.get_running_loop().time() - min(since) if since else 0.0

    def add(self, copy: Copy) -> None:
        """An answer begins."""
        self.copies[copy.stream] = copy
        self.by_place[copy.place] = copy

    def remove(self, copy: Copy) -> None:
        """Nothing will be written of it any more."""
        self.copies.pop(copy.stream, None)
        if self.by_place.get(copy.place) is copy:
            del self.by_place[copy.place]
        self.changed.discard(copy.stream)
        copy.settled.set()
        copy.stream.note_progress()

    async def flush(self, *, takes_all: bool = True) -> None:
        """Writes what has changed, at most so much. What does not fit there waits in `misfits`.

        Args:
            takes_all: of many also what nobody waits for.
        """
        loop = asyncio.get_running_loop()
        takes_all = takes_all or len(self.changed) <= _FEW
        pieces, keys, told = self._gather(loop.time(), takes_all=takes_all)
        if not pieces:
            return
        began_s = loop.time()
        try:
            replies = await self._append(keys, told)
        except EngineError as exc:
            self.changed.update(copy.stream for copy, *_ in pieces if copy.stream in self.copies)
            self._store.suspect(exc)
            return
        figures = self._store.figures
        figures.flush_s.observe(loop.time() - began_s)
        figures.entries += len(pieces) - len(replies)
        for place, piece in enumerate(pieces):
            if place in replies:
                self.misfits.append((piece[0], *replies[place]))
            else:
                self._taken(piece)

    async def _append(self, keys: Sequence[Word], told: Sequence[_Told]) -> dict[int, tuple[Verdict, int]]:
        """What `append` answers of those that it did not take, by their places. Where one is unfit halves are tried:
        it shall hold up no other."""
        try:
            replies = await run(self._store.writer, _APPEND, keys, [self._store.rid, *_packed(told)])
        except EngineUnfit as exc:
            if len(told) == 1:
                self._store.suspect(exc)
                return {0: ("unfit", 0)}
            half = len(told) // 2
            first = await self._append(keys[: _KEYS * half], told[:half])
            second = await self._append(keys[_KEYS * half :], told[half:])
            return first | {half + place: verdict for place, verdict in second.items()}
        return {place - 1: verdict_of(verdict) for place, *verdict in replies}

    def _gather(self, now_s: float, *, takes_all: bool) -> tuple[list[_Piece], list[Word], list[_Told]]:
        """The next piece of everything that has changed, with the keys and what is told of each."""
        pieces: list[_Piece] = []
        keys: list[Word] = []
        told: list[_Told] = []
        size_bytes = 0
        for stream in tuple(self.changed):
            copy = self.copies.get(stream)
            if copy is None:
                self.changed.discard(stream)
                continue
            if copy.behind_since_s is None:
                copy.behind_since_s = now_s
            if not copy.stands or not (takes_all or copy.is_awaited(_PIECE_BYTES)):
                continue
            self.changed.discard(stream)
            found = self._piece(copy, now_s)
            if found is None:
                continue
            piece, words = found
            pieces.append(piece)
            keys += copy.keys
            told.append(words)
            size_bytes += len(words[2])
            if len(pieces) >= _MOST_STREAMS or size_bytes >= _MOST_BYTES:
                break
        return pieces, keys, told

    def _piece(self, copy: Copy, now_s: float) -> tuple[_Piece, _Told] | None:
        stream, acked = copy.stream, copy.acked
        log = stream.log
        data = None if copy.acked_bytes is None else log.rest_behind(copy.acked_bytes, _PIECE_BYTES)
        if data is not None:
            last = log.last
        else:
            try:
                data, last = log.piece_after(acked, _PIECE_BYTES)
            except EventsGone:
                self.misfits.append((copy, "stands", acked))
                return None
        is_whole = last == log.last
        is_end = log.closed and is_whole
        state_now = copy.state_now()
        state = b""
        if is_end or state_now != copy.state:
            state = self._records.state_of(stream, copy.place)
        elif not data:
            copy.behind_since_s = None
            return None
        life_ms = 0
        if is_end:
            life_ms = self.retain_ms
        elif now_s >= copy.renew_at_s or not copy.has_log:
            life_ms = self.life_ms
            copy.renew_at_s = now_s + _RENEW_S
        sealed = self._records.text.seal(data, f"{copy.place} {last}-{last - acked}") if data else b""
        end = 0 if not is_end else 2 if stream.has_come_to_nothing else 1
        piece = copy, last, log.written_bytes if is_whole else None, is_end, state_now
        return piece, (acked, last, sealed, state, life_ms, end)

    @property
    def life_ms(self) -> int:
        """How long keys of a running answer live that nobody renews."""
        return 2 * self._store.lease_ms + round(_SPARE_S * 1000)

    def _taken(self, piece: _Piece) -> None:
        copy, last, written_bytes, is_end, state = piece
        stream = copy.stream
        copy.acked, copy.acked_bytes, copy.state, copy.has_log = last, written_bytes, state, True
        keys, first = self._store.keys, stream.log.first
        if first > copy.trimmed:
            copy.trimmed = first
            self._left.append(("XTRIM", keys.log(copy.place), "MINID", f"{first}-0"))
        if is_end:
            self._left.append(("SREM", keys.own(copy.rid), copy.place))
            self.remove(copy)
            return
        if stream.log.last > last or stream.log.closed:
            self.changed.add(stream)
        else:
            copy.behind_since_s = None
        if stream.has_full_log:
            stream.note_progress()

    async def tidy(self) -> None:
        """The head of a log goes there too once it is gone here, and who has ended is not owned any more. Nobody
        waits for it, and nothing goes wrong where it is never done: it is done for many at once."""
        now_s = asyncio.get_running_loop().time()
        if not self._left or (self.copies and now_s < self._tidy_at_s and len(self._left) < _MOST_LEFT):
            return
        self._tidy_at_s = now_s + _TIDY_S
        commands, self._left = self._left, []
        try:
            await self._store.writer.ask_many(commands)
        except EngineError as exc:
            self._store.suspect(exc)

    async def renew(self) -> None:
        """Longer life for the keys of answers that have said nothing for long."""
        now_s, life_ms, keys = asyncio.get_running_loop().time(), self.life_ms, self._store.keys
        due = [each for each in self.copies.values() if each.stands and now_s >= each.renew_at_s]
        commands = [("PEXPIRE", key(copy.place), life_ms) for copy in due for key in (keys.meta, keys.log)]
        for copy in due:
            copy.renew_at_s = now_s + _RENEW_S
        try:
            await self._store.writer.ask_many(commands)
        except EngineError as exc:
            self._store.suspect(exc)


def verdict_of(reply: Any) -> tuple[Verdict, int]:
    """What a script said of an answer: a word, and a number where there is one; -1 for one that makes no sense.
    'unfit' where it could not say anything."""
    if isinstance(reply, EngineUnfit):
        return "unfit", 0
    return reply[0].decode(), number_of(reply[1], -1) if len(reply) > 1 else 0


def _packed(told: Sequence[_Told]) -> tuple[bytes, bytes]:
    """The numbers, and the bytes, of all."""
    numbers: list[int] = []
    pieces: list[bytes] = []
    for follows, last, data, state, life_ms, end in told:
        numbers += (follows, last, len(data), len(state), life_ms, end)
        pieces.append(data)
        pieces.append(state)
    return _encode(numbers), b"".join(pieces)

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
_ARGS: Final = 7
"""What `append` takes for each answer."""
_MOST_STREAMS: Final = 200
_MOST_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_RENEW_S: Final = 60.0
_SPARE_S: Final = 600.0
"""How long keys outlive two leases, while nobody renews them."""

_Piece = tuple[Copy, int, bool, tuple[object, ...]]
"""A copy, the number of the last event that was written, whether it was the end, its state then."""
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

    async def flush(self) -> None:
        """Writes what has changed, at most so much. What does not fit there waits in `misfits`."""
        loop = asyncio.get_running_loop()
        pieces, keys, args = self._gather(loop.time())
        if not pieces:
            return
        began_s = loop.time()
        try:
            replies = await self._append(keys, args)
        except EngineError as exc:
            self.changed.update(copy.stream for copy, *_ in pieces if copy.stream in self.copies)
            self._store.suspect(exc)
            return
        figures = self._store.figures
        figures.flush_s.observe(loop.time() - began_s)
        over: list[Copy] = []
        for piece, reply in zip(pieces, replies, strict=True):
            if reply == b"taken":
                figures.entries += 1
                self._taken(piece, over)
            else:
                self.misfits.append((piece[0], *verdict_of(reply)))
        await self._tidy([copy for copy, *_ in pieces], over)

    async def _append(self, keys: Sequence[Word], args: Sequence[Word]) -> list[Any]:
        """What `append` answers for each. Where one is unfit halves are tried: it shall hold up no other."""
        try:
            return list(await run(self._store.writer, _APPEND, keys, [self._store.rid, *args]))
        except EngineUnfit as exc:
            count = len(keys) // _KEYS
            if count == 1:
                self._store.suspect(exc)
                return [[b"unfit"]]
            half = count // 2
            first = await self._append(keys[: _KEYS * half], args[: _ARGS * half])
            return first + await self._append(keys[_KEYS * half :], args[_ARGS * half :])

    def _gather(self, now_s: float) -> tuple[list[_Piece], list[Word], list[Word]]:
        """The next piece of everything that has changed, as keys and arguments of `append`."""
        pieces: list[_Piece] = []
        keys: list[Word] = []
        args: list[Word] = []
        size_bytes = 0
        for stream in tuple(self.changed):
            copy = self.copies.get(stream)
            if copy is None:
                self.changed.discard(stream)
                continue
            copy.behind_since_s = copy.behind_since_s or now_s
            if not copy.stands:
                continue
            self.changed.discard(stream)
            found = self._piece(copy, now_s)
            if found is None:
                continue
            piece, words, data_bytes = found
            pieces.append(piece)
            keys += [self._store.keys.meta(copy.place), self._store.keys.log(copy.place)]
            args += words
            size_bytes += data_bytes
            if len(pieces) >= _MOST_STREAMS or size_bytes >= _MOST_BYTES:
                break
        return pieces, keys, args

    def _piece(self, copy: Copy, now_s: float) -> tuple[_Piece, Sequence[Word], int] | None:
        stream, place = copy.stream, copy.place
        log = stream.log
        try:
            data, last = log.piece_after(copy.acked, _PIECE_BYTES)
        except EventsGone:
            self.misfits.append((copy, "stands", copy.acked))
            return None
        is_end = log.closed and last == log.last
        state_now = copy.state_now()
        state = b""
        if is_end or state_now != copy.state:
            state = self._records.state_of(stream, place)
        elif not data:
            copy.behind_since_s = None
            return None
        count = last - copy.acked
        life: Word = ""
        if is_end:
            life = self.retain_ms
        elif now_s >= copy.renew_at_s or not copy.has_log:
            life = self.life_ms
        sealed = self._records.text.seal(data, f"{place} {last}-{count}") if count else b""
        end = "" if not is_end else "2" if stream.has_come_to_nothing else "1"
        words: Sequence[Word] = (copy.acked, last, count, sealed, life, state, end)
        if life and not is_end:
            copy.renew_at_s = now_s + _RENEW_S
        return (copy, last, is_end, state_now), words, len(data)

    @property
    def life_ms(self) -> int:
        """How long keys of a running answer live that nobody renews."""
        return 2 * self._store.lease_ms + round(_SPARE_S * 1000)

    def _taken(self, piece: _Piece, over: list[Copy]) -> None:
        copy, last, is_end, state = piece
        stream = copy.stream
        copy.acked, copy.state, copy.has_log = last, state, True
        if is_end:
            over.append(copy)
            return
        if stream.log.last > last or stream.log.closed:
            self.changed.add(stream)
        else:
            copy.behind_since_s = None
        if stream.has_full_log:
            stream.note_progress()

    async def _tidy(self, written: Sequence[Copy], over: Sequence[Copy]) -> None:
        """The head of a log goes there too once it is gone here, and who has ended is not owned any more."""
        keys, commands = self._store.keys, list[Sequence[Word]]()
        for copy in written:
            first = copy.stream.log.first
            if first > copy.trimmed:
                copy.trimmed = first
                commands.append(("XTRIM", keys.log(copy.place), "MINID", f"{first}-0"))
        for copy in over:
            commands.append(("SREM", keys.own(copy.rid), copy.place))
            self.remove(copy)
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
    """What a script said of an answer: a word, and a number where there is one; -1 for one that makes no sense."""
    return reply[0].decode(), number_of(reply[1], -1) if len(reply) > 1 else 0

"""Several processes' streams in one, and what they share in a table between them: the seam of `client.streams` with
nothing behind it that could be slow or break, but when a test wants it to.

Nothing moves by itself: `Table.step` carries everything one step further.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

from client.errors import Failure
from client.streams.elsewhere import StoreUnavailable
from client.streams.mirror import Facts, Mirror, facts_of
from client.streams.readable import Summary, key_of
from client.streams.stream import Stream
from client.streams.streams import Streams
from server.protocols.asked import decode_asked, encode_asked


@dataclass
class Sheet:
    """One answer on the table.

    Attributes:
        desk: who runs it.
        pieces: bytes, how many events, number of the last.
        last: number of the last event.
        has_end: whether the answer's own end is there.
        sealed: the number behind which somebody else has ended it.
    """

    desk: Desk
    facts: Facts
    pieces: list[tuple[bytes, int, int]] = field(default_factory=list)
    last: int = 0
    has_end: bool = False
    sealed: int | None = None

    @property
    def is_over(self) -> bool:
        """Nothing can be added any more."""
        return self.has_end or self.sealed is not None


class Table:
    """What all share.

    Attributes:
        is_there: false while nobody can reach it.
        piece_bytes: how much of an answer is carried in a step.
    """

    def __init__(self, piece_bytes: int = 4096) -> None:
        self.sheets: dict[str, Sheet] = {}
        self.names: dict[tuple[str, str, str], tuple[str, float]] = {}
        self.readers: dict[str, dict[Desk, int]] = {}
        self.desks: list[Desk] = []
        self.is_there = True
        self.piece_bytes = piece_bytes

    def step(self) -> None:
        """Carries what is new to the table and from there to all mirrors."""
        if self.is_there:
            for desk in self.desks:
                desk.bring()
            for desk in self.desks:
                desk.fetch()

    async def settle(self) -> None:
        """Steps, with a turn for everybody else in between, until nothing moves any more."""
        quiet = 0
        while quiet < 20:
            before = [(sheet.last, sheet.is_over) for sheet in self.sheets.values()]
            self.step()
            await asyncio.sleep(0)
            quiet = quiet + 1 if before == [(sheet.last, sheet.is_over) for sheet in self.sheets.values()] else 0

    def bury(self, desk: Desk) -> None:
        """Ends what that one runs, as far as it is here."""
        for sheet in self.sheets.values():
            if sheet.desk is desk and not sheet.is_over:
                sheet.sealed = sheet.last


class Desk:
    """One process's place at the table: `Copies`, `Elsewhere` and `Source` of its streams.

    Attributes:
        is_frozen: it does nothing now, and is told nothing.
    """

    def __init__(self, table: Table, streams: Streams) -> None:
        self.table = table
        self.streams = streams
        self.changed: set[Stream] = set()
        self._running: set[Stream] = set()
        self._placed: set[str] = set()
        self.is_frozen = False
        self.given_up: set[Stream] = set()
        self.mirrors: dict[str, Mirror] = {}
        self.stopped: list[str] = []
        table.desks.append(self)
        streams.join(self, self)

    # -- moving -------------------------------------------------------------------------------------------------

    def bring(self) -> None:
        """What changed here goes to the table."""
        if self.is_frozen:
            return
        for stream in self._running:
            if stream.has_full_log:
                stream.note_progress()  # others may have read on
        for stream in tuple(self.changed):
            self.changed.discard(stream)
            if stream not in self.given_up and not self._bring(stream, self.table.sheets[stream.key]):
                self.changed.add(stream)

    def _bring(self, stream: Stream, sheet: Sheet) -> bool:
        if sheet.desk is not self or sheet.is_over:
            if sheet.sealed is not None:
                stream.fence(sheet.sealed)
            return True
        sheet.facts = _told(stream)
        data, last = stream.log.piece_after(sheet.last, self.table.piece_bytes)
        if data:
            sheet.pieces.append((data, last - sheet.last, last))
            sheet.last = last
            stream.note_progress()
        sheet.has_end = stream.log.closed and last == stream.log.last
        return last == stream.log.last

    def fetch(self) -> None:
        """What is new on the table goes to the mirrors here."""
        if not self.is_frozen:
            for key, mirror in tuple(self.mirrors.items()):
                self._fill(mirror, self.table.sheets[key])
                if mirror.readers:
                    self.table.readers.setdefault(key, {})[self] = mirror.position

    def _fill(self, mirror: Mirror, sheet: Sheet) -> None:
        for data, count, last in sheet.pieces:
            if last > mirror.position and not mirror.is_full:
                mirror.take(data, count, last)
        mirror.note(sheet.facts)
        if mirror.position >= sheet.last:
            if sheet.sealed is not None:
                mirror.seal(sheet.sealed)
            elif sheet.has_end:
                mirror.finish(sheet.facts.finish_reason)

    def _reach(self) -> Table:
        if not self.table.is_there:
            raise StoreUnavailable
        return self.table

    # -- Copies -------------------------------------------------------------------------------------------------

    @property
    def has_contact(self) -> bool:
        return self.table.is_there

    async def claim(self, key: str, stream_id: str, owner: str, fingerprint: bytes) -> bool:
        sheets = self._reach().sheets
        await asyncio.sleep(0)
        known = sheets.get(key)
        if known is not None and not (known.is_over and known.facts.has_come_to_nothing):
            return False
        facts = Facts(
            id=stream_id,
            owner=owner,
            created_s=time.time(),
            protocol="chat",
            upstream_protocol="chat",
            requested_model="",
            fingerprint=fingerprint,
        )
        sheets[key] = Sheet(self, facts)
        self._placed.add(key)
        await asyncio.sleep(0)
        return True

    def unclaim(self, key: str) -> None:
        if key in self._placed:
            self._placed.discard(key)
            del self.table.sheets[key]

    def begin(self, stream: Stream) -> None:
        self._placed.discard(stream.key)
        self.table.sheets[stream.key] = Sheet(self, _told(stream))
        self._running.add(stream)

    async def known(self, stream: Stream) -> None:
        await asyncio.sleep(0)

    def settled(self, stream: Stream) -> None:
        self.table.sheets[stream.key].facts = _told(stream)

    def name(self, stream: Stream, kind: str, name: str) -> None:
        self.table.names[stream.owner, kind, name] = stream.id, time.time()

    def acknowledged(self, stream: Stream) -> int:
        return stream.log.last if stream in self.given_up else self.table.sheets[stream.key].last

    def read_elsewhere(self, stream: Stream) -> int | None:
        return min(self.table.readers.get(stream.key, {}).values(), default=None)

    def give_up(self, stream: Stream) -> None:
        self.given_up.add(stream)

    async def has_readers_elsewhere(self, stream: Stream) -> bool:
        readers = self._reach().readers
        await asyncio.sleep(0)
        return bool(readers.get(stream.key))

    # -- Elsewhere ----------------------------------------------------------------------------------------------

    async def find(self, stream_id: str, owner: str) -> Mirror | None:
        table = self._reach()
        await asyncio.sleep(0)
        for key in (stream_id, key_of(stream_id, owner)):
            sheet = table.sheets.get(key)
            if sheet is not None and sheet.facts.owner == owner:
                if key not in self.mirrors:
                    self.mirrors[key] = Mirror(self.streams, sheet.facts, self)
                self._fill(self.mirrors[key], sheet)
                return self.mirrors[key]
        return None

    async def list_of(self, owner: str, most: int | None) -> list[Summary]:
        sheets = [sheet for sheet in reversed(self._reach().sheets.values()) if sheet.facts.owner == owner]
        return [_summary(sheet) for sheet in sheets[:most]]

    async def find_name(self, owner: str, kind: str, name: str) -> tuple[str, float] | None:
        return self._reach().names.get((owner, kind, name))

    async def forget(self, stream_id: str, owner: str) -> None:
        sheets = self._reach().sheets
        for key in (stream_id, key_of(stream_id, owner)):
            if key in sheets and sheets[key].facts.owner == owner:
                del sheets[key]

    # -- Source -------------------------------------------------------------------------------------------------

    def attached(self, mirror: Mirror) -> None:
        self.table.readers.setdefault(mirror.key, {})[self] = mirror.position

    def detached(self, mirror: Mirror) -> None:
        del self.table.readers[mirror.key][self]
        if (stream := self._owned(mirror)) is not None:
            stream.look_again()

    def dropped(self, mirror: Mirror) -> None:
        del self.mirrors[mirror.key]

    def abandon(self, mirror: Mirror) -> None:
        if (stream := self._owned(mirror)) is not None:
            stream.abandon()

    async def stop(self, mirror: Mirror, reason: str, failure: Failure | None) -> None:
        self._reach()
        if (stream := self._owned(mirror)) is not None:
            stream.stop(reason, failure)
        await mirror.ended.wait()

    def _owned(self, mirror: Mirror) -> Stream | None:
        desk = self.table.sheets[mirror.key].desk
        return None if desk.is_frozen else desk.streams.get(mirror.id, mirror.owner)


def _told(stream: Stream) -> Facts:
    """What others know of it, having come to them as bytes."""
    facts = facts_of(stream)
    asked = decode_asked(stream.protocol, encode_asked(stream.asked))
    return msgspec.structs.replace(facts, asked=asked)


def _summary(sheet: Sheet) -> Summary:
    facts = sheet.facts
    return Summary(
        facts.id,
        facts.owner,
        facts.generation_id,
        facts.model or facts.requested_model,
        not sheet.is_over,
        facts.finish_reason,
        facts.created_s,
        facts.protocol,
        facts.upstream_protocol,
        0,
        sheet.last,
    )

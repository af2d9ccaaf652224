"""An answer that somebody else runs, or ran: its log as far as it is known here, and readers who cannot tell.

Whoever knows of it fills the log, in order and without a gap, and says how it ended. One is shared by all who read
that answer here, and forgotten when nobody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec

from client.errors import Failure
from client.streams.readable import KEPT_BYTES, Keeper, Readable
from client.streams.seal import DIED, ENDING_COUNT, JUMP, ending_of
from client.streams.steps import take_each

_END = b"\n\n"


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an answer beside its log: the attributes of `Readable` and `Settlement` of the same names."""

    id: str
    owner: str
    created_s: float
    protocol: str
    upstream_protocol: str
    requested_model: str
    fingerprint: bytes | None = None
    asked: Any = None
    model: str = ""
    generation_id: str | None = None
    has_verdict: bool = False
    refusal: Failure | None = None
    finish_reason: str | None = None
    has_come_to_nothing: bool = False
    usage: dict[str, Any] | None = None
    total_cost: float | None = None
    is_settled: bool = False
    is_sought: bool = False


def facts_of(stream: Readable) -> Facts:
    """What others must know of an answer, as it is now."""
    settlement = stream.settlement
    return Facts(
        id=stream.id,
        owner=stream.owner,
        created_s=stream.created_s,
        protocol=stream.protocol,
        upstream_protocol=stream.upstream_protocol,
        requested_model=stream.requested_model,
        fingerprint=stream.fingerprint,
        asked=stream.asked,
        model=stream.model,
        generation_id=stream.generation_id,
        has_verdict=stream.has_verdict,
        refusal=stream.refusal,
        finish_reason=stream.finish_reason,
        has_come_to_nothing=stream.has_come_to_nothing,
        usage=settlement.usage,
        total_cost=settlement.total_cost,
        is_settled=settlement.is_settled,
        is_sought=settlement.is_sought,
    )


class Source(Protocol):
    """Who fills a mirror, and speaks to whoever runs its answer. Nothing of it raises, or waits but where awaited."""

    def attached(self, mirror: Mirror) -> None:
        """It has its first reader."""

    def detached(self, mirror: Mirror) -> None:
        """It has no reader any more."""

    def dropped(self, mirror: Mirror) -> None:
        """It is forgotten, and filled for nobody."""

    def abandon(self, mirror: Mirror) -> None:
        """Its owner finds it no more: without readers it shall end."""

    async def stop(self, mirror: Mirror, reason: str, failure: Failure | None) -> None:
        """Has the answer ended, and returns when its end is in the mirror.

        Raises:
            Refusal: nobody can be asked now.
        """


class Host(Keeper, Protocol):
    """Who keeps all streams, as far as a mirror needs to know.

    Attributes:
        mirrors: all there are.
    """

    mirrors: set[Mirror]

    def hold(self, size_bytes: int) -> None:
        """Counts bytes that somebody keeps, until they are released.

        Raises:
            StreamsFull: there is no room for them.
        """

    async def forget_here(self, is_meant: Callable[[str], bool], asking: object) -> None:
        """An answer that was run here was forgotten elsewhere (`Streams.forget_here`)."""


class Mirror(Readable):
    """One answer of somebody else's.

    Attributes:
        idle_since_s: the loop's time since which nobody reads it, or since which it is there.

    Args:
        source: None for an answer of which nothing will be known any more.

    Raises:
        StreamsFull: there is no room for another.
    """

    __slots__ = ("_host", "_source", "idle_since_s")
    may_lag = True

    def __init__(self, host: Host, facts: Facts, source: Source | None = None) -> None:
        host.hold(KEPT_BYTES)
        super().__init__(
            host,
            facts.id,
            facts.owner,
            fingerprint=facts.fingerprint,
            protocol=facts.protocol,
            upstream_protocol=facts.upstream_protocol,
            asked=facts.asked,
            requested_model=facts.requested_model,
            created_s=facts.created_s,
        )
        self._host = host
        self._source = source
        self.idle_since_s = asyncio.get_running_loop().time()
        host.mirrors.add(self)
        if isinstance(facts.asked, bytes):
            self.count_kept(len(facts.asked))
        self.note(facts)

    # -- filling it ---------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Number of the last event that is here; its readers may be further behind, or ahead."""
        return self.log.last

    def note(self, facts: Facts) -> None:
        """More is known now."""
        settlement = self.settlement
        self._model = facts.model or self._model
        self.generation_id = facts.generation_id
        self.has_come_to_nothing = facts.has_come_to_nothing
        if self.is_running:
            self.finish_reason = facts.finish_reason
        settlement.usage, settlement.total_cost = facts.usage, facts.total_cost
        settlement.is_settled, settlement.is_sought = facts.is_settled, facts.is_sought
        if facts.has_verdict and not self.has_verdict:
            self.has_verdict, self.refusal = True, facts.refusal
            self._wake_readers()

    def begin_behind(self, number: int) -> None:
        """The events up to that number are gone; nothing was taken yet."""
        self.log.begin_behind(number)

    def take(self, data: bytes, count: int, last: int) -> None:
        """Adds whole events, `count` of them up to number `last`, but for those that are here.

        Raises:
            LookupError: they do not follow what is here: some are missing before them.
        """
        log = self.log
        before, known = log.last, log.last - (last - count)
        if not self.is_running or known >= count:
            return
        if known < 0:
            raise LookupError(f"{self}: events {before + 1} to {last - count} are missing")
        if known:
            data = data[_offset_behind(data, known) :]
        log.append(data, count - known)
        self._streams.total_bytes += len(data)
        self._pass_on(data, before)
        self._make_room()

    def _pass_on(self, data: bytes, before: int) -> None:
        """What was appended last, behind the event of that number, to all readers."""
        last = self.log.last
        self.appended_s = asyncio.get_running_loop().time()
        for reader in self._readers:
            if reader.position <= before:
                take_each(self, partial(reader.push, data, last))
            elif reader.position < last:  # it had more than was known here: the rest is in the log
                take_each(self, reader.wake)

    def finish(self, finish_reason: str | None) -> None:
        """The answer's own end is in the log."""
        if self.is_running:
            self.is_running = False
            self.has_verdict = True
            self.finish_reason = finish_reason
            self.log.close()
            self._wake_readers()
            if self._ended is not None:
                self._ended.set()
            self._let_go()

    def seal(self, last: int, failure: Failure = DIED) -> None:
        """Whoever ran the answer is gone: it ends behind the event of that number (`client.streams.seal`)."""
        if self.is_running:
            before = self.log.last
            data = ending_of(self.id, last, holds_chunks=self.holds_chunks, failure=failure)
            self.log.jump(last + JUMP)
            self.log.append(data, ENDING_COUNT)
            self._streams.total_bytes += len(data)
            self.log.close()  # readers write the end with the end of their response
            self._pass_on(data, before)
            self.finish("interrupted")

    # -- its end ------------------------------------------------------------------------------------------------

    async def end(self, reason: str, failure: Failure | None = None) -> None:
        """Has whoever runs it end it.

        Raises:
            Refusal: nobody can be told now.
        """
        if self.is_running and self._source is not None:
            await self._source.stop(self, reason, failure)

    def abandon(self) -> None:
        """Its owner finds it no more: without readers it ends."""
        if self.is_running and self._source is not None:
            self._source.abandon(self)

    # -- readers, and its room ----------------------------------------------------------------------------------

    def _note_read(self) -> None:
        if len(self._readers) == 1 and self._source is not None:
            self._source.attached(self)

    def _note_unread(self) -> None:
        self.idle_since_s = asyncio.get_running_loop().time()
        if self._source is not None:
            self._source.detached(self)
        self._let_go()

    def note_progress(self) -> None:
        """A reader has read on: there may be room in the log again."""
        self._make_room()

    def _make_room(self) -> None:
        """Drops what every reader has; without a reader nothing, since one may come."""
        if self._readers and self.is_full:
            self._streams.release(self.log.drop_through(min(reader.position for reader in self._readers)))

    def drop(self) -> None:
        """Whoever looks for it again finds another: forgets the log, once its last reader has gone."""
        if not self._is_dropped:
            self._is_dropped = True
            self._host.mirrors.discard(self)
            if self._source is not None:
                self._source.dropped(self)
            self._let_go()

    def _let_go(self) -> None:
        freed_bytes = 0
        if self._is_dropped and not self.is_in_use:
            freed_bytes = self.log.expire() + self._counted_bytes
            self._counted_bytes = 0
        self._streams.release(freed_bytes)


def _offset_behind(data: bytes, count: int) -> int:
    at = 0
    for _ in range(count):
        at = data.index(_END, at) + len(_END)
    return at

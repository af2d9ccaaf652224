"""One answer that outlives its connection: its log, its readers, and the pump that writes it while it runs.

A reader that keeps up is pushed the bytes of every read in the same turn of the loop; one that lags reads from the
log. An answer nobody reads any more goes on for a grace time and is then stopped. What it asks of those around it,
it says in protocols: `Keeper`, `Reader`, `Lease`, `Span`. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from client.border.fit import fit_name
from client.errors import Failure, Refusal
from client.streams.last_words import INTERNAL, encode_each, last_words
from client.streams.pump import Pump
from client.streams.raw_log import RawEncoder
from client.streams.readable import CHAT, KEPT_BYTES, Keeper, Readable, Reader, shared
from client.streams.seal import DIED, ENDING_COUNT, JUMP, ending_of
from client.streams.steps import take_each, tell_each
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent
from client.translation.foreign.fronts import CHAT as UPSTREAM_CHAT
from client.translation.translate import DONE
from client.upstream.openrouter import OpenRouterClient

logger = logging.getLogger(__name__)

_LOOK_ELSEWHERE_S = 2.0
"""How often is looked for readers elsewhere of whom nobody has told that they have gone."""
_NO_ENCODER = EventEncoder("")
"""That of answers that have ended."""


class Lease(Protocol):
    """What a caller was granted for one answer; it is told what becomes of it."""

    def opened(self, stream: Stream) -> None:
        """Upstream accepted the request."""

    def end(self, stream: Stream) -> None:
        """The answer has ended; its cost is known, or being looked up (`settlement.is_sought`), or neither."""

    def settled(self, stream: Stream) -> None:
        """The look-up has ended, with a cost or without."""

    def give_back(self) -> None:
        """It was granted, and yet nothing was started."""


class Span(Protocol):
    """One answer in a trace.

    Attributes:
        headers: sent upstream with the request.
    """

    headers: Mapping[str, str]

    def end(self, stream: Stream) -> None:
        """The answer has ended."""


class Copies(Protocol):
    """Who sees to it that other processes can read what this one runs, and speaks for their readers.

    Nothing of it waits, raises, or does much, but for what is awaited.

    Attributes:
        changed: streams with events that are to be copied, or that have ended; whoever copies empties it.
        has_contact: whether anybody else can be told anything now.
    """

    changed: set[Stream]

    @property
    def has_contact(self) -> bool: ...

    async def claim(self, key: str, stream_id: str, owner: str, fingerprint: bytes) -> bool:
        """Takes the place of an id that its owner has chosen, before anything is begun under it: false where it is
        somebody's answer already, unless that has come to nothing.

        Raises:
            Refusal: nobody knows now.
        """

    def unclaim(self, key: str) -> None:
        """Nothing was begun under it after all."""

    def begin(self, stream: Stream) -> None:
        """It runs from now on."""

    async def known(self, stream: Stream) -> None:
        """Returns when others can find it, or soon if that takes long: its id is about to be told."""

    def settled(self, stream: Stream) -> None:
        """More is known of what it cost than at its end."""

    def name(self, stream: Stream, kind: str, name: str) -> None:
        """It is its owner's answer of that name."""

    def acknowledged(self, stream: Stream) -> int:
        """Number of the last event that others have, or need to have."""

    def read_elsewhere(self, stream: Stream) -> int | None:
        """Number of the last event that all who read it elsewhere have; None where nobody does."""

    def give_up(self, stream: Stream) -> None:
        """From now on its events are dropped before others have them: it can be read here alone."""

    async def has_readers_elsewhere(self, stream: Stream) -> bool:
        """Whether somebody reads it elsewhere, now.

        Raises:
            Refusal: nobody knows now.
        """


class Runner(Keeper, Protocol):
    """Who keeps all streams, as far as one that runs needs to know.

    Attributes:
        copies: None where there are no other processes.
    """

    copies: Copies | None

    def note_end(self, stream: Stream) -> None:
        """The last event is in its log."""


class Stream(Readable):
    """One answer that this process runs: the pump, beside the log and the readers (`Readable`).

    Attributes:
        grace_s: seconds it goes on with no reader.
        stop_reason: our word when it was stopped, else None.
        lease: what its caller was granted; None without one, and once it is settled.
        span: its place in a trace, while it runs.
    """

    __slots__ = (
        "_encoder",
        "_fence",
        "_gaps_s",
        "_grace_timer",
        "_has_begun",
        "_pump",
        "_request_bytes",
        "_room",
        "_stop_failure",
        "_task",
        "grace_s",
        "lease",
        "span",
        "stop_reason",
    )
    _streams: Runner

    def __init__(
        self,
        streams: Runner,
        openrouter: OpenRouterClient,
        body: Mapping[str, Any],
        *,
        owner: str,
        grace_s: float,
        lease: Lease | None = None,
        span: Span | None = None,
        headers: Mapping[str, str] | None = None,
        request_bytes: int = 0,
        protocol: str = CHAT,
        stream_id: str | None = None,
        fingerprint: bytes | None = None,
        asked: object = None,
        upstream_protocol: str = UPSTREAM_CHAT,
    ) -> None:
        super().__init__(
            streams,
            stream_id or secrets.token_urlsafe(16),
            owner,
            fingerprint=fingerprint,
            protocol=protocol,
            upstream_protocol=upstream_protocol,
            asked=asked,
            requested_model=fit_name(body.get("model")) or "",
            created_s=time.time(),
        )
        self.grace_s = grace_s
        self.stop_reason: str | None = None
        self.lease = lease
        self.span = span
        self._encoder: EventEncoder | RawEncoder = (
            RawEncoder(self._chunks_read, openrouter.hide) if self.holds_chunks else EventEncoder(self.id)
        )
        self._grace_timer: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._fence: tuple[int, Failure] | None = None
        self._room: asyncio.Event | None = None
        self._stop_failure: Failure | None = None
        self._has_begun = False
        self._gaps_s = streams.gaps_s
        self._request_bytes = request_bytes
        self._pump: Pump | None = Pump(
            openrouter, body, self, headers, keeps_chunks=self.holds_chunks, protocol=upstream_protocol
        )
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run(), name=str(self))

    @property
    def pump(self) -> Pump:
        """What runs it; for whoever hears of its end, and gone after that."""
        if self._pump is None:
            raise LookupError(f"{self} has ended")
        return self._pump

    @property
    def model(self) -> str:
        """The model that answers, or the one asked for until it does."""
        model = self._model if self._pump is None else self._pump.translator.model
        return model or self.requested_model

    # -- readers ------------------------------------------------------------------------------------------------

    def _note_read(self) -> None:
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None

    def _note_unread(self) -> None:
        """The grace time begins."""
        if not self.is_running:
            self._let_go()
        elif self.grace_s <= 0:
            self._stop_unread()
        elif self._grace_timer is None:
            self._grace_timer = asyncio.get_running_loop().call_later(self.grace_s, self._stop_unread)

    def _stop_unread(self) -> None:
        """Nobody has read it here for as long as it goes on so; somebody may elsewhere."""
        copies = self._streams.copies
        if copies is None:
            self.stop("abandoned")
        elif not isinstance(self._grace_timer, asyncio.Task):
            self._grace_timer = asyncio.create_task(self._stop_unread_elsewhere(copies), name=f"{self}: readers?")

    async def _stop_unread_elsewhere(self, copies: Copies) -> None:
        loop, was_read = asyncio.get_running_loop(), False
        until_s = loop.time() + self._streams.config.max_grace_s  # for as long nobody may know
        while True:
            try:
                is_read = was_read = await copies.has_readers_elsewhere(self)
            except Refusal:
                is_read = loop.time() < until_s
            if not is_read:
                break
            await asyncio.sleep(_LOOK_ELSEWHERE_S)
        self._grace_timer = None
        if was_read:
            self._note_unread()
        else:
            self.stop("abandoned")

    def look_again(self) -> None:
        """Somebody who read it elsewhere has gone: if nobody else reads it, the grace time begins."""
        if self.is_running and not self._readers:
            self._note_read()
            self._note_unread()

    def abandon(self) -> None:
        """Nobody finds it any more: without readers it ends, at once."""
        self.grace_s = 0.0
        self.look_again()

    def note_progress(self) -> None:
        """A reader has read on: there may be room in the log again."""
        if self._room is not None:
            self._make_room()
            if not self.is_full:
                self._room.set()

    # -- the pump's sink ----------------------------------------------------------------------------------------

    def opened(self, generation_id: str | None) -> None:
        """Upstream accepted the request."""
        self.generation_id = generation_id
        self._note_verdict(None)
        if self.lease is not None:
            tell_each(self, self.lease.opened)

    def refused(self, failure: Failure) -> None:
        """Upstream refused the request."""
        self._note_verdict(failure)

    def let_request_go(self) -> None:
        """The request is not needed any more: upstream has begun to answer it, or will not."""
        held_bytes, self._request_bytes = self._request_bytes, 0
        if held_bytes:
            self._streams.release(held_bytes)

    def _note_verdict(self, refusal: Failure | None) -> None:
        """The first one stands."""
        if not self.has_verdict:
            self.has_verdict, self.refusal = True, refusal
            self._wake_readers()

    def append(self, events: list[ChatEvent]) -> bool:
        """Numbers, keeps and passes on the events of one read; false when no more may be kept now.

        It raises for nothing that the events hold, and for no reader.
        """
        log, translator, streams = self.log, self._pump.translator, self._streams  # type: ignore[union-attr]
        try:
            data = self._encoder.encode_texts(events, translator) if translator.same else self._encoder.encode(events)
        except Exception:
            data = encode_each(events, self._encoder, translator, whose=str(self))
        count = self._encoder.count - log.last
        log.append(data, count)
        streams.total_bytes += len(data)
        if streams.copies is not None:
            streams.copies.changed.add(self)
        has_ended = translator.state is DONE
        if has_ended:
            self._finish()
        last = log.last
        for reader in self._readers:
            try:
                reader.push(data, last)
            except Exception:
                self._leave_behind(reader)
        gap_s, appended_s = translator.last_event_s - self.appended_s, self.appended_s
        self.appended_s = translator.last_read_s
        if has_ended:
            self._settle_up()
        if appended_s and (gap_s > 0 or not has_ended):  # an end from outside is no event of upstream
            self._gaps_s.observe(gap_s)
        return log.size_bytes < self.max_log_bytes and (
            streams.total_bytes < streams.config.max_total_bytes or not streams.is_over
        )

    def _chunks_read(self) -> tuple[list[bytes], list[bytes], bool]:
        """Upstream's chunks since the last time, those behind a failure, and whether upstream told of that."""
        translator = self.pump.translator
        return *translator.take_payloads(), translator.has_told_failure

    @property
    def alike(self) -> type[ChatEvent] | None:
        """Of what kind the pieces are that the chunks of upstream that were appended last have, and nothing else at
        all; None for any other."""
        return self._encoder.alike

    def _push(self, data: bytes) -> None:
        for reader in self._readers:
            take_each(self, partial(reader.push, data, self.log.last))

    def _leave_behind(self, reader: Reader) -> None:
        """A reader that could not take what it was pushed finds out for itself; the others read on."""
        logger.exception("%s: a reader failed", self)
        take_each(self, reader.wake)

    async def wait_room(self) -> None:
        """Waits until readers have read what can then be dropped."""
        self._make_room()
        while self.is_full:
            self._room = asyncio.Event()
            try:
                await self._streams.wait(self._room)
            finally:
                self._room = None
            self._make_room()

    def _make_room(self) -> None:
        """Drops what every reader has; without a reader nothing, since one may come back."""
        positions = [reader.position for reader in self._readers]
        copies = self._streams.copies
        if (positions or copies is not None) and self.is_full:
            if copies is not None:
                positions = self._bounded(positions, copies)
            if positions:
                self._streams.release(self.log.drop_through(min(positions)))

    def _bounded(self, positions: list[int], copies: Copies) -> list[int]:
        """With what readers elsewhere have, and others need yet: that stays, unless nobody can be given it."""
        elsewhere = copies.read_elsewhere(self)
        if elsewhere is not None:
            positions.append(elsewhere)
        if not positions:
            return []
        acknowledged = copies.acknowledged(self)
        if acknowledged < min(positions) and not copies.has_contact:
            copies.give_up(self)
            return positions
        return [*positions, acknowledged]

    # -- its end ------------------------------------------------------------------------------------------------

    def stop(self, reason: str, failure: Failure | None = None) -> None:
        """Ends the stream as `reason` and closes upstream at once; nothing happens when it has ended."""
        if self.is_running and self.stop_reason is None:
            self.stop_reason = reason
            self._stop_failure = failure
            if self._has_begun and self._task is not None:  # cancelled before its first step it would never run
                self._task.cancel()

    async def end(self, reason: str, failure: Failure | None = None) -> None:
        """The same, and returns when it has ended."""
        self.stop(reason, failure)
        await self.ended.wait()

    def fence(self, last: int, failure: Failure = DIED) -> None:
        """Somebody took whoever runs it for dead, and has told its end behind the event of that number
        (`client.streams.seal`): that end is its readers', too, and upstream is closed. Nothing happens when it has
        ended."""
        if self.is_running and self._fence is None:
            self._fence = last, failure
            self.stop("interrupted", failure)

    async def wait_closed(self) -> None:
        """Returns when the task is gone, or in its last step."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        failure: Failure | None = self._stop_failure
        self._has_begun = True
        try:
            if self.stop_reason is None:
                await self.pump.run()
        except asyncio.CancelledError:
            failure = self._stop_failure
        except Exception:
            logger.exception("%s failed", self)
            failure = INTERNAL
        finally:
            self._stop_failure = failure
            take_each(self, self._close, self.pump.release, self.let_request_go, self._release)

    def _close(self) -> None:
        """The end, where the pump did not come to one."""
        failure = self._stop_failure
        if not self.is_running:
            return
        if failure is not None:
            self.refused(failure)
        if self._fence is not None:
            self._close_fenced(*self._fence)
            return
        reason = self.stop_reason or (None if failure is not None else "shutting_down")
        self.append(last_words(self.pump.translator, failure, reason, whose=str(self)))

    def _close_fenced(self, last: int, failure: Failure) -> None:
        last_words(self.pump.translator, failure, "interrupted", whose=str(self))  # it is told in other words
        data = ending_of(self.id, last, holds_chunks=self.holds_chunks, failure=failure)
        self.log.jump(last + JUMP)
        self.log.append(data, ENDING_COUNT)
        self._streams.total_bytes += len(data)
        self._finish()
        self._push(data)
        self._settle_up()

    def _release(self) -> None:
        """Lets go of all that only a running answer needs: finished ones are kept, and there may be many.

        What is looked up still needs the lease; usage that upstream told is in the log.
        """
        model = self.pump.translator.model
        self._model = None if model is None else shared(model)
        self._pump = self._task = self._grace_timer = self._ended = self._stop_failure = self.span = None
        self._encoder = _NO_ENCODER
        self.appended_s = 0.0
        if not self.settlement.is_sought:
            self.settlement.usage = self.lease = None
        self._let_go()

    def _finish(self) -> None:
        """The last event is in the log: nothing that comes after this may keep anybody waiting."""
        self.is_running = False
        self.has_verdict = True
        reason = self.pump.translator.finish_reason
        self.finish_reason = None if reason is None else shared(reason)
        take_each(self, self.log.close)

    def _settle_up(self) -> None:
        """Tells everybody of the end; each hears of it whatever the others do."""
        steps: list[Callable[[], object]] = [self._note_usage, self._wake_readers]
        if self._grace_timer is not None:
            steps.append(self._grace_timer.cancel)
        if self._ended is not None:
            steps.append(self._ended.set)
        take_each(self, *steps)
        tell_each(self, self._streams.note_end)

    def _note_usage(self) -> None:
        pump = self.pump
        translator = pump.translator
        self.has_come_to_nothing = not translator.has_begun and self.stop_reason is None
        self.generation_id = translator.generation_id or self.generation_id
        self.settlement.earlier = pump.earlier
        if translator.reckoned is not None:
            self.settlement.take(*translator.reckoned)

    def note_settled(self) -> None:
        """The look-up of its cost has ended."""
        if self.lease is not None:
            tell_each(self, self.lease.settled)
        self.lease = None
        if self._streams.copies is not None:
            self._streams.copies.settled(self)
        if self.settlement.usage is not None:
            self.count_kept(KEPT_BYTES)

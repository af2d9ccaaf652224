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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from client.border.fit import fit_name
from client.config import StreamsConfig
from client.errors import Failure
from client.streams.histogram import Histogram
from client.streams.last_words import INTERNAL, encode_each, last_words
from client.streams.log import StreamLog
from client.streams.pump import Pump
from client.streams.raw_log import RawEncoder, TypedView
from client.streams.settlement import Settlement
from client.streams.steps import take_each, tell_each
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent
from client.translation.foreign.fronts import CHAT as UPSTREAM_CHAT
from client.translation.translate import DONE
from client.upstream.openrouter import OpenRouterClient

logger = logging.getLogger(__name__)

CHAT = "chat"
"""Our own protocol, of typed events."""
STALLED_S = 10.0
"""How long a reader may take nothing while there is no room for others."""
KEPT_BYTES = 1024
"""What a stream is counted with beside its log, for as long as it is known: its object, names, places in tables."""
_ENDED = asyncio.Event()
_ENDED.set()
_NO_ENCODER = EventEncoder("")
"""That of answers that have ended."""


def key_of(chosen_id: str, owner: str) -> str:
    """What no id that is made here can be."""
    return f"{chosen_id} {owner}"


class StreamsFull(Exception):
    """No new stream can be started now; the text says which limit was reached."""


class Reader(Protocol):
    """One reader's place in a stream.

    Attributes:
        position: number of the last event that it was given.
    """

    position: int

    def push(self, data: bytes, last: int) -> None:
        """Takes events that directly follow `position`, or leaves them to be read from the log. Never waits."""

    def wake(self) -> None:
        """Upstream has given its verdict, or the stream has ended."""

    def stalled_s(self) -> float:
        """For how long it has taken nothing of what waits for it, as far as was seen when this was asked before."""

    def leave(self) -> None:
        """Goes, since its room is needed; it may come back."""


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


class Keeper(Protocol):
    """Who keeps all streams, as far as one of them needs to know: their limits, and what they take together.

    Attributes:
        total_bytes: what all of them take.
        readers: of all of them.
        gaps_s: seconds between the reads that brought events.
    """

    config: StreamsConfig
    total_bytes: int
    readers: int
    gaps_s: Histogram

    @property
    def is_over(self) -> bool:
        """True when all of them together have reached their limit, and nothing is left to drop."""

    def release(self, freed_bytes: int) -> None:
        """A log has shrunk, or may be dropped from now on."""

    async def wait(self, room: asyncio.Event) -> None:
        """Returns when that event is set, or there may be room again."""

    def note_end(self, stream: Stream) -> None:
        """The last event is in its log."""


class Stream:
    """One answer: its log, its readers, and the pump while it runs.

    Attributes:
        id: unguessable; part of every event id.
        owner: name of the caller that started it.
        log: its events.
        max_log_bytes: size from which it takes no more until readers have read.
        appended_s: the loop's time at the read whose events came last.
        created_s: epoch seconds.
        grace_s: seconds it goes on with no reader.
        is_running: until the last event is in the log.
        stop_reason: our word when it was stopped, else None.
        has_verdict: whether upstream has accepted or refused the request, or the stream has ended.
        refusal: why it was refused; None when it was not, or not yet.
        settlement: what is known of its cost.
        finish_reason: that of the `done` event; None until then.
        fingerprint: of the request, for an id that the caller has chosen; else None.
        has_come_to_nothing: whether upstream refused it, or it failed before the model's first word.
        protocol: in whose words it was asked for.
        asked: what of the request its protocol's readers need, whenever they come; something small, or bytes, as it
            stays with the log.
        holds_chunks: whether the log holds upstream's chunks (`client.streams.raw_log`), else typed events.
        upstream_protocol: in which upstream was asked and answers: its chunks are events of that.
    """

    __slots__ = (
        "_counted_bytes",
        "_encoder",
        "_ended",
        "_gaps_s",
        "_grace_timer",
        "_has_begun",
        "_is_dropped",
        "_model",
        "_pins",
        "_pump",
        "_readers",
        "_request_bytes",
        "_room",
        "_stop_failure",
        "_streams",
        "_task",
        "appended_s",
        "asked",
        "created_s",
        "fingerprint",
        "finish_reason",
        "generation_id",
        "grace_s",
        "has_come_to_nothing",
        "has_verdict",
        "holds_chunks",
        "id",
        "is_running",
        "lease",
        "log",
        "max_log_bytes",
        "owner",
        "protocol",
        "refusal",
        "requested_model",
        "settlement",
        "span",
        "stop_reason",
        "upstream_protocol",
    )

    def __init__(
        self,
        streams: Keeper,
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
        self.id = stream_id or secrets.token_urlsafe(16)
        self.fingerprint = fingerprint
        self.has_come_to_nothing = False
        self.protocol = protocol
        self.asked = asked
        self.holds_chunks = protocol != CHAT
        self.upstream_protocol = upstream_protocol
        self.owner = owner
        self.requested_model = fit_name(body.get("model")) or ""
        self.log = StreamLog()
        self.created_s = time.time()
        self.grace_s = grace_s
        self.is_running = True
        self.stop_reason: str | None = None
        self.has_verdict = False
        self.refusal: Failure | None = None
        self.generation_id: str | None = None
        self._ended: asyncio.Event | None = None
        self.settlement = Settlement()
        self.lease = lease
        self.span = span
        self._streams = streams
        self.max_log_bytes = streams.config.max_log_bytes  # new settings leave a running answer alone
        self._encoder: EventEncoder | RawEncoder = EventEncoder(self.id)
        self.appended_s = 0.0
        self._readers: tuple[Reader, ...] = ()  # replaced, never changed: it may be while events are passed on
        self._pins = 0
        self._grace_timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Event | None = None
        self._stop_failure: Failure | None = None
        self._has_begun = False
        self._is_dropped = False
        self._gaps_s = streams.gaps_s
        self.finish_reason: str | None = None
        self._model: str | None = None
        self._counted_bytes = KEPT_BYTES
        self._request_bytes = request_bytes
        self._pump: Pump | None = Pump(
            openrouter, body, self, headers, keeps_chunks=self.holds_chunks, protocol=upstream_protocol
        )
        if self.holds_chunks:
            self._encoder = RawEncoder(self._chunks_read, openrouter.hide)
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

    @property
    def ended(self) -> asyncio.Event:
        """Set once the last event is in the log; made when somebody asks, since most streams have nobody who does."""
        if not self.is_running:
            return _ENDED
        if self._ended is None:
            self._ended = asyncio.Event()
        return self._ended

    @property
    def key(self) -> str:
        """Under which it is kept: an id that its owner has chosen is unique among the owner's only."""
        return self.id if self.fingerprint is None else key_of(self.id, self.owner)

    def __str__(self) -> str:
        return f"stream {self.id}"  # for the log

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.time() - self.created_s

    # -- readers ------------------------------------------------------------------------------------------------

    @property
    def readers(self) -> int:
        """How many readers are attached."""
        return len(self._readers)

    def attach(self, reader: Reader) -> None:
        """Adds a reader; it gets every event from its position on."""
        self._readers += (reader,)
        self._streams.readers += 1
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None

    def detach(self, reader: Reader) -> None:
        """Removes a reader; when it was the last one, the grace time begins."""
        before = len(self._readers)
        self._readers = tuple(other for other in self._readers if other is not reader)
        self._streams.readers -= before - len(self._readers)
        self.note_progress()
        if self._readers:
            return
        if not self.is_running:
            self._let_go()
            return
        if self.grace_s <= 0:
            self.stop("abandoned")
        elif self._grace_timer is None:
            loop = asyncio.get_running_loop()
            self._grace_timer = loop.call_later(self.grace_s, self.stop, "abandoned")

    def note_progress(self) -> None:
        """A reader has read on: there may be room in the log again."""
        if self._room is not None:
            self._make_room()
            if not self.is_full:
                self._room.set()

    def drop(self) -> None:
        """Nobody can come back to it: forgets the log, once its last reader has gone."""
        self._is_dropped = True
        self._let_go()

    @property
    def is_in_use(self) -> bool:
        """Whether somebody reads it, or makes a result of it."""
        return bool(self._readers or self._pins)

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Its log stays inside the context, however old it is. Keeps no answer running, as a reader does."""
        self._pins += 1
        try:
            yield
        finally:
            self._pins -= 1
            self._let_go()

    def _let_go(self) -> None:
        """Forgets the log when that was asked for and nobody uses it; those that wait for room look again."""
        freed_bytes = 0
        if not (self.is_in_use or self.is_running):
            self.refusal = None  # told to whoever asked
            if self._is_dropped:
                self.asked = None
                freed_bytes = self.log.expire() + self._counted_bytes
                self._counted_bytes = 0
        self._streams.release(freed_bytes)

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
            data = self._encoder.encode_texts(events) if translator.same else self._encoder.encode(events)
        except Exception:
            data = encode_each(events, self._encoder, translator, whose=str(self))
        count = self._encoder.count - log.last
        log.append(data, count)
        streams.total_bytes += len(data)
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

    def _chunks_read(self) -> tuple[list[bytes], list[bytes], bool, object | None]:
        """Upstream's chunks since the last time, those behind a failure, whether upstream told of that, and what all
        of them are like."""
        translator = self.pump.translator
        return *translator.take_payloads(), translator.has_told_failure, translator.same

    @property
    def has_text_alone(self) -> bool:
        """Whether what was appended last is chunks of upstream with pieces of the answer, and nothing else at all."""
        return self._encoder.has_text_alone

    def typed_view(self, after: int = 0) -> TypedView | None:
        """What makes typed events of a log that holds chunks; None where it holds events."""
        return TypedView(self.id, after, self.upstream_protocol) if self.holds_chunks else None

    def _leave_behind(self, reader: Reader) -> None:
        """A reader that could not take what it was pushed finds out for itself; the others read on."""
        logger.exception("%s: a reader failed", self)
        take_each(self, reader.wake)

    def keep_whole(self) -> None:
        """Somebody wants all of it at once: the log may be larger than that of an answer that is read as it comes."""
        self.max_log_bytes = max(self.max_log_bytes, self._streams.config.max_result_bytes)

    def part_with_stalled(self) -> None:
        """Readers that have taken nothing for long give way."""
        for reader in self._readers:
            if reader.stalled_s() >= STALLED_S:
                logger.info("%s: a reader took nothing for %g s, and its room is needed", self, STALLED_S)
                take_each(self, reader.leave)

    def hold(self, size_bytes: int) -> None:
        """Somebody keeps so much more of it beside the log; less, when that is below zero."""
        self._streams.release(-size_bytes)

    @property
    def has_full_log(self) -> bool:
        """Whether the log has reached its own limit."""
        return self.log.size_bytes >= self.max_log_bytes

    @property
    def is_full(self) -> bool:
        """True when no more may be kept now."""
        streams = self._streams
        if self.log.size_bytes >= self.max_log_bytes:
            return True
        return streams.total_bytes >= streams.config.max_total_bytes and streams.is_over

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
        if self._readers and self.is_full:
            self._streams.release(self.log.drop_through(min(reader.position for reader in self._readers)))

    # -- its end ------------------------------------------------------------------------------------------------

    def stop(self, reason: str, failure: Failure | None = None) -> None:
        """Ends the stream as `reason` and closes upstream at once; nothing happens when it has ended."""
        if self.is_running and self.stop_reason is None:
            self.stop_reason = reason
            self._stop_failure = failure
            if self._has_begun and self._task is not None:  # cancelled before its first step it would never run
                self._task.cancel()

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
        reason = self.stop_reason or (None if failure is not None else "shutting_down")
        self.append(last_words(self.pump.translator, failure, reason, whose=str(self)))

    def _release(self) -> None:
        """Lets go of all that only a running answer needs: finished ones are kept, and there may be many.

        What is looked up still needs the lease; usage that upstream told is in the log.
        """
        self._model = self.pump.translator.model
        self._pump = self._task = self._grace_timer = self._ended = self._stop_failure = self.span = None
        self._encoder = _NO_ENCODER
        if not self.settlement.is_sought:
            self.settlement.usage = self.lease = None
        self._let_go()

    def _finish(self) -> None:
        """The last event is in the log: nothing that comes after this may keep anybody waiting."""
        self.is_running = False
        self.has_verdict = True
        self.finish_reason = self.pump.translator.finish_reason
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

    def _wake_readers(self) -> None:
        for reader in self._readers:
            take_each(self, reader.wake)

    def note_settled(self) -> None:
        """The look-up of its cost has ended."""
        if self.lease is not None:
            tell_each(self, self.lease.settled)
        self.lease = None
        if self.settlement.usage is not None:
            self.count_kept(KEPT_BYTES)

    def count_kept(self, size_bytes: int) -> None:
        """So much more is kept beside the log, for as long as the stream is known."""
        if self._counted_bytes:
            self._counted_bytes += size_bytes
            self.hold(size_bytes)

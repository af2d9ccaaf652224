"""All streams of the process: what is started, found again, counted, kept for a while and forgotten.

A finished answer can be read for a while. All of them together are held to limits of memory and number. Knows nothing
of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Protocol

from client.config import StreamsConfig
from client.errors import Failure, Refusal
from client.streams.chosen_ids import ChosenIds
from client.streams.elsewhere import Elsewhere
from client.streams.figures import StreamFigures
from client.streams.finding import find_anywhere, list_anywhere, newest_named
from client.streams.mirror import Mirror
from client.streams.names import StreamNames
from client.streams.readable import CHAT, KEPT_BYTES, Readable, StreamsFull, Summary, key_of
from client.streams.room import LOOK_S, Room
from client.streams.settlement import Settled
from client.streams.settler import Settler
from client.streams.steps import take_each, tell_each
from client.streams.stream import Copies, Lease, Span, Stream
from client.translation.foreign.fronts import CHAT as UPSTREAM_CHAT
from client.upstream.openrouter import OpenRouterClient
from client.upstream.tracing import TraceContext

logger = logging.getLogger(__name__)

_MOST_SWEPT = 1000
"""Answers that are forgotten in one turn of the loop."""

_IDLE_S = 5.0
"""How long a mirror that nobody reads is kept, where its room is needed."""

SHUTTING_DOWN = Failure(
    error="The server is restarting and had to end this answer; send the request again.",
    type="shutting_down",
    status=503,
    retryable=True,
    retry_after_s=5.0,
)


class Admit(Protocol):
    """Judges a request before anything is sent. `key` is that of the stream to be (`Stream.key`).

    Whoever is cancelled while asking was granted nothing.

    Raises:
        Refusal: the caller may not start this answer now.
    """

    async def __call__(self, body: Mapping[str, Any], owner: str, key: str) -> Lease | None: ...


class StartSpan(Protocol):
    """Begins an answer's span, below the caller's where there is one."""

    def __call__(self, body: Mapping[str, Any], trace: TraceContext | None) -> Span: ...


class Streams(Room):
    """All streams of the process.

    Attributes:
        readers: of all streams.
        is_draining: true when nothing new is started any more.
        figures: what the answers did so far.
        gaps_s: of these, what is noted while they run.
        names: what callers call their answers.
        copies: who tells other processes of them; None where there are none.
        mirrors: of answers that others run, which are read here.
    """

    def __init__(
        self,
        openrouter: OpenRouterClient,
        config: StreamsConfig,
        *on_end: Callable[[Stream], None],
        admit: Admit | None = None,
        start_span: StartSpan | None = None,
        on_start: Callable[[Stream], None] | None = None,
    ) -> None:
        super().__init__(config)
        self.readers = 0
        self.is_draining = False
        self._openrouter = openrouter
        self._on_end = on_end
        self._admit = admit
        self._start_span = start_span
        self._on_start = on_start
        self.figures = StreamFigures()
        self.gaps_s = self.figures.gaps_s
        self.names = StreamNames()
        self.copies: Copies | None = None
        self.mirrors: set[Mirror] = set()
        self._elsewhere: tuple[Elsewhere, ...] = ()
        self._streams: dict[str, Stream] = {}
        self._running: set[Stream] = set()
        self._chosen = ChosenIds()
        self._asked_for = 0  # streams of which it is not known yet whether they may start
        self._finished: dict[str, float] = {}  # the loop's time at which each ended, oldest first
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._next_look_s = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._settler = Settler(openrouter, figures=self.figures)

    def configure(self, config: StreamsConfig) -> None:
        """Keeps to other limits from now on; the logs of running answers keep theirs."""
        self.config = config
        if self._finished:
            self._sweep()

    @property
    def active(self) -> int:
        """Streams that run."""
        return len(self._running)

    @property
    def kept(self) -> int:
        """Streams that can be read, running or finished."""
        return len(self._streams)

    @property
    def events(self) -> int:
        """Events of all streams, those that are gone included."""
        return self.figures.events + sum(stream.log.last for stream in self._running)

    @property
    def event_bytes(self) -> int:
        """Bytes of those events; each counts once, however many read it."""
        return self.figures.event_bytes + sum(stream.log.written_bytes for stream in self._running)

    @property
    def pending_settlements(self) -> int:
        """Costs that are being looked up."""
        return self._settler.pending

    async def start(
        self,
        body: Mapping[str, Any],
        *,
        owner: str,
        grace_s: float | None = None,
        trace: TraceContext | None = None,
        request_bytes: int = 0,
        protocol: str = CHAT,
        stream_id: str | None = None,
        fingerprint: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        asked: object = None,
        upstream_protocol: str = UPSTREAM_CHAT,
    ) -> Stream:
        """Sends a request upstream and returns its stream at once.

        `trace` says where the caller's request stands in a trace; it goes on to upstream. `request_bytes` is what the
        request takes until upstream begins to answer. `protocol` says in whose words it was asked for: the log holds
        upstream's chunks unless these are our own. `stream_id` is one that the owner has chosen, with the request's
        `fingerprint`; a stream of that id that has come to nothing is forgotten. `headers` go up with it, before the
        settings' of the same name. `asked` is kept for its protocol's readers; bytes are counted.
        `upstream_protocol` is that of the body: chat completions, or one of `upstream.protocols`.

        Whoever attaches a reader before the next turn of the loop misses nothing, and is missed by nobody.

        Raises:
            AlreadyBegun: the owner has a stream of that id.
            StreamsFull: a limit was reached.
            Refusal: the owner may not, or the server is about to end.
        """
        key = stream_id = stream_id or secrets.token_urlsafe(16)
        if fingerprint is not None:
            key = key_of(stream_id, owner)
            await self._chosen.take(self, stream_id, owner, fingerprint)
        lease: Lease | None = None
        held_bytes = 0
        try:
            held_bytes = self._take_place(KEPT_BYTES + request_bytes)
            if self._admit is not None:
                lease = await self._admit(body, owner, key)
            if self.is_draining:
                raise Refusal(SHUTTING_DOWN)
            span = self._begin_span(body, trace)
            stream = Stream(
                self,
                self._openrouter,
                body,
                owner=owner,
                grace_s=self.config.grace_s if grace_s is None else grace_s,
                lease=lease,
                span=span,
                headers=_headers_of(span, trace, headers),
                request_bytes=request_bytes,
                protocol=protocol,
                stream_id=stream_id,
                fingerprint=fingerprint,
                upstream_protocol=upstream_protocol,
                asked=asked,
            )
        except BaseException:
            self._leave_place(held_bytes, lease)
            if fingerprint is not None:
                self._chosen.leave(self, key, has_begun=False)
            raise
        self._add(stream)
        if fingerprint is not None:
            self._chosen.leave(self, key, has_begun=True)
        return stream

    def _take_place(self, size_bytes: int) -> int:
        """Room for one more stream while it is asked whether it may start: so many bytes.

        Raises:
            StreamsFull: there is none.
        """
        if self.active + self._asked_for >= self.config.max_active:
            raise StreamsFull(f"{self.active} answers are running, as many as streams.max_active allows")
        if not self.has_room(max(1, size_bytes - KEPT_BYTES)):
            raise StreamsFull("the running answers take all the memory that streams.max_total_bytes allows")
        self._asked_for += 1
        self.total_bytes += size_bytes
        return size_bytes

    def _leave_place(self, held_bytes: int, lease: Lease | None) -> None:
        """It does not start after all."""
        if held_bytes:
            self._asked_for -= 1
            self.release(held_bytes)
        if lease is not None:
            lease.give_back()

    def _add(self, stream: Stream) -> None:
        self._asked_for -= 1
        self._drop(stream.key)
        if isinstance(stream.asked, bytes):
            stream.count_kept(len(stream.asked))
        self._streams[stream.key] = stream
        self._running.add(stream)
        self._idle.clear()
        if self.copies is not None:
            self.copies.begin(stream)
        if self._on_start is not None:
            take_each(stream, partial(self._on_start, stream))

    # -- finding them ---------------------------------------------------------------------------------------------

    def join(self, elsewhere: Elsewhere, copies: Copies | None = None) -> None:
        """From now on answers are found that others know of, and others are told of those that are begun here."""
        self._elsewhere += (elsewhere,)
        self.copies = copies or self.copies

    @property
    def is_shared(self) -> bool:
        """Whether other processes can read what this one runs."""
        return self.copies is not None

    async def find(self, stream_id: str, owner: str) -> Readable | None:
        """The owner's stream of that id, wherever it runs; None when there is none, or it is somebody else's.

        Raises:
            Refusal: nobody knows now.
            StreamsFull: there is no room for one that others run.
        """
        return await find_anywhere(self, self._elsewhere, stream_id, owner)

    def get(self, stream_id: str, owner: str) -> Stream | None:
        """The same of those that this process began."""
        stream = self._streams.get(stream_id) or self._streams.get(key_of(stream_id, owner))
        return stream if stream is not None and stream.owner == owner else None

    async def list_of(self, owner: str, most: int | None = None) -> list[Summary]:
        """The owner's streams, newest first, wherever they run; the first `most` of them, where that is given.

        Raises:
            Refusal: nobody knows now.
        """
        return await list_anywhere(self, self._elsewhere, owner, most)

    def kept_of(self, owner: str, most: int | None = None) -> list[Stream]:
        """The same of those that this process began."""
        return list(islice((stream for stream in reversed(self._streams.values()) if stream.owner == owner), most))

    async def find_named(self, owner: str, kind: str, name: str) -> Readable | None:
        """The owner's answer of that name (`give_name`), wherever it runs; None when there is none, or no more.

        Raises:
            Refusal, StreamsFull: as of `find`.
        """
        mine = self.names.find(owner, kind, name)
        if not self._elsewhere:
            return mine
        since_s = None if mine is None else self.names.given_s(mine, kind, name)
        newest = await newest_named(self._elsewhere, owner, kind, name, since_s=since_s)
        return mine if newest is None else await self.find(newest, owner) or mine

    def give_name(self, stream: Readable, kind: str, name: str) -> None:
        """From now on this is the owner's answer of that name (`StreamNames.give`); one that others run has it."""
        if isinstance(stream, Stream):
            self.names.give(stream, kind, name)
            if self.copies is not None:
                self.copies.name(stream, kind, name)

    async def told(self, stream: Readable) -> None:
        """Returns when others can find it, too, as far as they can be told: its caller is about to know its id."""
        if self.copies is not None and isinstance(stream, Stream):
            await self.copies.known(stream)

    def running_of(self, owner: str) -> int:
        """How many of the owner's streams run."""
        return sum(stream.owner == owner for stream in self._running)

    def note_end(self, stream: Stream) -> None:
        """Keeps a finished stream for `retain_s`, and looks up what it cost when upstream did not say."""
        self._running.discard(stream)
        if not self._running:
            self._idle.set()
        steps: list[Callable[[Stream], object]] = [self._keep, self._settler.settle, self.figures.note_end]
        if stream.span is not None:
            steps.append(stream.span.end)
        if stream.lease is not None:
            steps.append(stream.lease.end)
        tell_each(stream, *steps, *self._on_end)

    def _keep(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        self._finished[stream.key] = loop.time()
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self.config.retain_s, self._sweep)
        self.release(0)  # its log may be dropped from now on

    def _begin_span(self, body: Mapping[str, Any], trace: TraceContext | None) -> Span | None:
        """An answer that was granted goes on without a span rather than not at all."""
        if self._start_span is None:
            return None
        try:
            return self._start_span(body, trace)
        except Exception:
            logger.exception("an answer's span could not be begun")
            return None

    def settle(self, answer: Settled) -> None:
        """Looks up the cost of an answer that an earlier process began."""
        self._settler.settle(answer)

    async def wait_idle(self) -> None:
        """Returns when no stream runs."""
        await self._idle.wait()

    async def stop_all(self, reason: str, failure: Failure | None = None) -> None:
        """Stops every running stream and waits until each has said so to its readers."""
        running = tuple(self._running)
        for stream in running:
            stream.stop(reason, failure)
        for stream in running:
            await stream.wait_closed()

    async def aclose(self) -> None:
        """Stops everything and forgets every log."""
        await self.stop_all("shutting_down", SHUTTING_DOWN)
        for key in tuple(self._finished):
            self._drop(key)
        for mirror in tuple(self.mirrors):
            mirror.drop()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._look_no_more()
        await self._settler.aclose()

    def _evict(self, most_bytes: int) -> None:
        """Drops the oldest finished logs; one that is being read would free nothing yet."""
        while self.total_bytes > most_bytes:
            if (idle := self._idle_mirror()) is not None:
                idle.drop()
                continue
            unused = (key for key in self._finished if not self._streams[key].is_in_use)
            oldest = next(unused, None)
            if oldest is None:
                self._look_for_stalled()
                return
            self._drop(oldest)

    def _idle_mirror(self) -> Mirror | None:
        """One that nobody reads, and nobody is about to: it can be had again."""
        if not self.mirrors:
            return None
        until_s = asyncio.get_running_loop().time() - _IDLE_S
        return next((each for each in self.mirrors if not each.is_in_use and each.idle_since_s <= until_s), None)

    def _look_for_stalled(self) -> None:
        """What readers that have stopped reading hold is the last that can be had back."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            for stream in (*self._streams.values(), *self.mirrors):
                stream.part_with_stalled()

    def _sweep(self) -> None:
        """Drops what was kept for long enough. One timer for all, set for the oldest: there may be very many."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        loop = asyncio.get_running_loop()
        until_s = loop.time() - self.config.retain_s
        for _ in range(_MOST_SWEPT):
            key, ended_s = next(iter(self._finished.items()), (None, 0.0))
            if key is None:
                return
            if ended_s > until_s:
                self._sweep_timer = loop.call_at(ended_s + self.config.retain_s, self._sweep)
                return
            self._drop(key)
        self._sweep_timer = loop.call_later(0, self._sweep)

    async def forget(self, stream: Readable) -> None:
        """Its owner wants it no longer: it cannot be found any more. One that runs has to be stopped first.

        Raises:
            Refusal: it can still be found elsewhere, and nobody there can be told.
        """
        for each in self._elsewhere:
            await each.forget(stream.id, stream.owner)
        if isinstance(stream, Mirror):
            stream.drop()
        else:
            self._drop(stream.key)

    async def forget_here(self, is_meant: Callable[[str], bool], asking: object) -> None:
        """Another process was asked to forget an answer that this one ran: it is not found here either.

        Args:
            is_meant: told `Stream.key`. An answer of that key that runs is a later one.
            asking: who was told, and has forgotten it.
        """
        for key in [key for key in self._finished if is_meant(key)]:
            stream = self._streams[key]
            self._drop(key)
            for each in self._elsewhere:
                if each is not asking:
                    await each.forget(stream.id, stream.owner)

    def _drop(self, key: str) -> None:
        self._finished.pop(key, None)
        stream = self._streams.pop(key, None)
        if stream is not None:
            self.names.forget(stream)
            stream.drop()


def _headers_of(
    span: Span | None, trace: TraceContext | None, others: Mapping[str, str] | None
) -> Mapping[str, str] | None:
    traced = span.headers if span is not None else None if trace is None else trace.headers
    return {**others, **(traced or {})} if others else traced

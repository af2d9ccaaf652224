"""An answer that can be read, whoever runs it: what handlers, readers and views may know of one.

`Stream` is one that this process runs or ran, `Mirror` one of somebody else's. What an answer asks of those around
it, it says in protocols: `Keeper`, `Reader`. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol

import msgspec

from client.config import StreamsConfig
from client.errors import Failure
from client.streams.histogram import Histogram
from client.streams.log import StreamLog
from client.streams.raw_log import TypedView
from client.streams.settlement import Settlement
from client.streams.steps import take_each
from client.translation.events import ChatEvent

logger = logging.getLogger(__name__)

CHAT = "chat"
"""Our own protocol, of typed events."""
STALLED_S = 10.0
"""How long a reader may take nothing while there is no room for others."""
KEPT_BYTES = 1024
"""What a stream is counted with beside its log, for as long as it is known: its object, names, places in tables."""
_ENDED = asyncio.Event()
_ENDED.set()


_MOST_SHARED = 256
_LONGEST_SHARED = 100
_shared: dict[str, str] = {}


def shared(word: str) -> str:
    """One copy of a word that many streams have, of models and reasons: every answer brings its own."""
    found = _shared.get(word)
    if found is None:
        if len(word) > _LONGEST_SHARED:
            return word
        if len(_shared) >= _MOST_SHARED:
            _shared.clear()
        found = _shared[word] = word
    return found


def key_of(chosen_id: str, owner: str) -> str:
    """What no id that is made here can be."""
    return f"{chosen_id} {owner}"


class StreamsFull(Exception):
    """No new stream can be started or kept now; the text says which limit was reached."""


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


class Summary(msgspec.Struct, frozen=True):
    """An answer in a list.

    Attributes:
        created_s: epoch seconds.
        events: how many there are by now.
    """

    id: str
    owner: str
    generation_id: str | None
    model: str
    is_running: bool
    finish_reason: str | None
    created_s: float
    protocol: str
    upstream_protocol: str
    readers: int
    events: int

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.time() - self.created_s


class Readable(ABC):
    """One answer: its log and its readers.

    Attributes:
        id: unguessable; part of every event id.
        owner: name of the caller that started it.
        log: its events.
        max_log_bytes: size from which it takes no more until readers have read.
        appended_s: the loop's time at the read whose events came last.
        created_s: epoch seconds.
        is_running: until the last event is in the log.
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
        requested_model: the one asked for.
    """

    __slots__ = (
        "_counted_bytes",
        "_ended",
        "_is_dropped",
        "_model",
        "_pins",
        "_readers",
        "_streams",
        "appended_s",
        "asked",
        "created_s",
        "fingerprint",
        "finish_reason",
        "generation_id",
        "has_come_to_nothing",
        "has_verdict",
        "holds_chunks",
        "id",
        "is_running",
        "log",
        "max_log_bytes",
        "owner",
        "protocol",
        "refusal",
        "requested_model",
        "settlement",
        "upstream_protocol",
    )

    def __init__(
        self,
        streams: Keeper,
        stream_id: str,
        owner: str,
        *,
        fingerprint: bytes | None,
        protocol: str,
        upstream_protocol: str,
        asked: object,
        requested_model: str,
        created_s: float,
    ) -> None:
        self.id = stream_id
        self.owner = owner
        self.fingerprint = fingerprint
        self.protocol = protocol
        self.holds_chunks = protocol != CHAT
        self.upstream_protocol = upstream_protocol
        self.asked = asked
        self.requested_model = shared(requested_model)
        self.created_s = created_s
        self.log = StreamLog()
        self.max_log_bytes = streams.config.max_log_bytes  # new settings leave a running answer alone
        self.is_running = True
        self.has_verdict = False
        self.refusal: Failure | None = None
        self.has_come_to_nothing = False
        self.generation_id: str | None = None
        self.finish_reason: str | None = None
        self.settlement = Settlement()
        self.appended_s = 0.0
        self._model: str | None = None
        self._ended: asyncio.Event | None = None
        self._streams = streams
        self._readers: tuple[Reader, ...] = ()  # replaced, never changed: it may be while events are passed on
        self._pins = 0
        self._is_dropped = False
        self._counted_bytes = KEPT_BYTES

    def __str__(self) -> str:
        return f"stream {self.id}"  # for the log

    @property
    def model(self) -> str:
        """The model that answers, or the one asked for until it does."""
        return self._model or self.requested_model

    @property
    def key(self) -> str:
        """Under which it is kept: an id that its owner has chosen is unique among the owner's only."""
        return self.id if self.fingerprint is None else key_of(self.id, self.owner)

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.time() - self.created_s

    @property
    def ended(self) -> asyncio.Event:
        """Set once the last event is in the log; made when somebody asks, since most streams have nobody who does."""
        if not self.is_running:
            return _ENDED
        if self._ended is None:
            self._ended = asyncio.Event()
        return self._ended

    def summary(self) -> Summary:
        """What a list says of it."""
        return Summary(
            self.id,
            self.owner,
            self.generation_id,
            self.model,
            self.is_running,
            self.finish_reason,
            self.created_s,
            self.protocol,
            self.upstream_protocol,
            self.readers,
            self.log.count,
        )

    may_lag: ClassVar[bool] = False
    """Whether readers may have had more of it than is known here."""

    @property
    def alike(self) -> type[ChatEvent] | None:
        """Of what kind the pieces are that the chunks of upstream that were appended last have, and nothing else at
        all; None for any other."""
        return None

    def typed_view(self, after: int = 0) -> TypedView | None:
        """What makes typed events of a log that holds chunks; None where it holds events."""
        return TypedView(self.id, after, self.upstream_protocol) if self.holds_chunks else None

    # -- its end ------------------------------------------------------------------------------------------------

    @abstractmethod
    async def end(self, reason: str, failure: Failure | None = None) -> None:
        """Has it ended as `reason`, and returns when it has; nothing happens to one that has ended.

        Raises:
            Refusal: whoever runs it cannot be told now.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Nobody finds it any more: without readers it ends, at once."""

    # -- readers ------------------------------------------------------------------------------------------------

    @property
    def readers(self) -> int:
        """How many readers are attached."""
        return len(self._readers)

    def attach(self, reader: Reader) -> None:
        """Adds a reader; it gets every event from its position on."""
        self._readers += (reader,)
        self._streams.readers += 1
        self._note_read()

    def detach(self, reader: Reader) -> None:
        """Removes a reader."""
        before = len(self._readers)
        self._readers = tuple(other for other in self._readers if other is not reader)
        self._streams.readers -= before - len(self._readers)
        self.note_progress()
        if not self._readers:
            self._note_unread()

    @abstractmethod
    def _note_read(self) -> None:
        """It has a reader more."""

    @abstractmethod
    def _note_unread(self) -> None:
        """Its last reader has gone."""

    @abstractmethod
    def note_progress(self) -> None:
        """A reader has read on: there may be room in the log again."""

    def _wake_readers(self) -> None:
        for reader in self._readers:
            take_each(self, reader.wake)

    def part_with_stalled(self) -> None:
        """Readers that have taken nothing for long give way."""
        for reader in self._readers:
            if reader.stalled_s() >= STALLED_S:
                logger.info("%s: a reader took nothing for %g s, and its room is needed", self, STALLED_S)
                take_each(self, reader.leave)

    # -- its room -----------------------------------------------------------------------------------------------

    def keep_whole(self) -> None:
        """Somebody wants all of it at once: the log may be larger than that of an answer that is read as it comes."""
        self.max_log_bytes = max(self.max_log_bytes, self._streams.config.max_result_bytes)

    def hold(self, size_bytes: int) -> None:
        """Somebody keeps so much more of it beside the log; less, when that is below zero."""
        self._streams.release(-size_bytes)

    def count_kept(self, size_bytes: int) -> None:
        """So much more is kept beside the log, for as long as the stream is known."""
        if self._counted_bytes:
            self._counted_bytes += size_bytes
            self.hold(size_bytes)

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

    def drop(self) -> None:
        """Nobody can come back to it: forgets the log, once its last reader has gone."""
        self._is_dropped = True
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

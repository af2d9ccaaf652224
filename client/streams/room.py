"""What answers take of memory, against what they may take together, and waiting for room."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from client.config import StreamsConfig
from client.streams.readable import StreamsFull

LOOK_S = 1.0
"""How often is looked for readers that take nothing, while somebody waits for room."""


class Room(ABC):
    """All that is kept.

    Attributes:
        config: the limits that hold now.
        total_bytes: what the answers take: logs, what each takes beside its log, what is made of them, and requests
            that are held.
        freed_bytes: what they took and take no more, since the beginning.
    """

    def __init__(self, config: StreamsConfig) -> None:
        self.config = config
        self.total_bytes = 0
        self.freed_bytes = 0
        self._waiting: set[asyncio.Event] = set()
        self._look_timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def _evict(self, most_bytes: int) -> None:
        """Drops what nobody uses, oldest first, until so much is left, or nothing can be dropped."""

    @property
    def is_over(self) -> bool:
        """True when all logs together have reached their limit, and no finished one is left to drop."""
        return not self.has_room(1)

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much more can be kept; oldest finished logs go where that takes it."""
        most_bytes = self.config.max_total_bytes - size_bytes
        if self.total_bytes > most_bytes:
            self._evict(most_bytes)
        return self.total_bytes <= most_bytes

    def release(self, freed_bytes: int) -> None:
        """A log has shrunk, or may be dropped from now on: those that wait for room look again."""
        was_over = self.total_bytes >= self.config.max_total_bytes
        self.total_bytes -= freed_bytes
        self.freed_bytes += freed_bytes
        if was_over:
            for room in self._waiting:
                room.set()

    @contextmanager
    def _held(self, size_bytes: int) -> Iterator[None]:
        try:
            yield
        finally:
            self.release(size_bytes)

    def holding(self, size_bytes: int) -> AbstractContextManager[None]:
        """Counts bytes that somebody keeps beside the logs, from now on until the context is left.

        Raises:
            StreamsFull: there is no room for them.
        """
        self.hold(size_bytes)
        return self._held(size_bytes)

    def hold(self, size_bytes: int) -> None:
        """Counts bytes that somebody keeps beside the logs, until they are given to `release`.

        Raises:
            StreamsFull: there is no room for them.
        """
        if not self.has_room(size_bytes):
            raise StreamsFull("all answers together take the memory that streams.max_total_bytes allows")
        self.total_bytes += size_bytes

    async def wait(self, room: asyncio.Event) -> None:
        """Returns when that event is set, or the logs together may have room again."""
        self._waiting.add(room)
        if self._look_timer is None:
            self._look()
        try:
            await room.wait()
        finally:
            self._waiting.discard(room)

    def _look(self) -> None:
        """Looks on for as long as somebody waits for room."""
        self._look_timer = None
        if self._waiting:
            self._look_timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
            self.has_room(1)

    def _look_no_more(self) -> None:
        if self._look_timer is not None:
            self._look_timer.cancel()

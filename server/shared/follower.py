"""The one blocking read of this process: over its inbox and the logs of all answers that are mirrored here.

One read a process, on a connection of its own: a blocking read on a connection that others wait for slows them to a
piece a second, and one a reader empties every pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from client.streams.elsewhere import StoreUnavailable
from client.streams.mirror import Facts, Mirror
from server.shared.engine.lines import EngineError, EngineUnfit, Word
from server.shared.store import Store
from server.shared.tasks import end_all

logger = logging.getLogger(__name__)

_BLOCK_MS: Final = 3000
_GAP_S: Final = 0.01
"""Between two reads, in which more may come: one read costs as much as what it brings."""
_ENTRIES: Final = 100
INBOX_MS: Final = 3_600_000
INBOX_LENGTH: Final = 1000

Fields = dict[bytes, bytes]
Message = Callable[[Fields], None]


class Followed:
    """A mirror, and how far its log was read.

    Attributes:
        facts: what was told of it last.
        entry: id of the last entry that was read.
        heard_s: the loop's time when something came last.
        missing_since_s: since when what came does not follow; None: it does.
    """

    __slots__ = ("entry", "facts", "heard_s", "mirror", "missing_since_s", "place")

    def __init__(self, place: str, mirror: Mirror, facts: Facts) -> None:
        self.place = place
        self.facts = facts
        self.mirror = mirror
        self.entry = b"0-0"
        self.missing_since_s: float | None = None
        self.heard_s = asyncio.get_running_loop().time()


Take = Callable[[Followed, bytes, Fields], None]


class Follower:
    """Reads on.

    Attributes:
        followed: what is read, by the keys of their logs.

    Args:
        take: what becomes of an entry of a log.
        hear: what becomes of a message.
    """

    def __init__(self, store: Store, take: Take, hear: Message) -> None:
        self.followed: dict[bytes, Followed] = {}
        self._store = store
        self._take = take
        self._hear = hear
        self._heard = b"0-0"
        self._inbox = b""
        self._is_blocked = False
        self._reading: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        store.on_contact.append(self._begin_anew)

    def open(self) -> None:
        """Begins to read."""
        self._task = asyncio.create_task(self._read_on(), name="reading of the shared store")

    async def aclose(self) -> None:
        """Reads no more."""
        await end_all([self._task, self._reading])

    async def follow(self, followed: Followed) -> None:
        """From now on what follows behind its last entry is read."""
        self.followed[self._store.keys.log(followed.place).encode()] = followed
        if self._is_blocked:
            self._is_blocked = False  # one knock wakes it for all that come meanwhile
            with suppress(StoreUnavailable):
                await self.send(self._store.rid, {"t": "wake"})

    def leave(self, place: str) -> None:
        """Its log is not read any more."""
        self.followed.pop(self._store.keys.log(place).encode(), None)

    async def send(self, rid: str, message: Mapping[str, Word]) -> None:
        """Puts a message into the inbox of a process.

        Raises:
            StoreUnavailable: it was not taken.
        """
        inbox = self._store.keys.inbox(rid)
        words = [word for pair in message.items() for word in pair]
        add: list[Word] = ["XADD", inbox, "MAXLEN", "~", INBOX_LENGTH, "*", *words]
        await self._store.commands([add, ("PEXPIRE", inbox, INBOX_MS)])

    async def _begin_anew(self) -> None:
        """The engine is another one, or this process has another name there."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read_on(self) -> None:
        while True:
            try:
                self._reading = asyncio.ensure_future(self._read())
                await asyncio.wait([self._reading])
                if not self._reading.cancelled() and (error := self._reading.exception()) is not None:
                    raise error
            except EngineError as exc:
                self._store.suspect(exc)
                if isinstance(exc, EngineUnfit):
                    await self._part_with_unfit()
                await asyncio.sleep(0.1)
            except Exception:
                logger.exception("what came from the shared store could not be taken")
                await asyncio.sleep(0.1)
            await asyncio.sleep(_GAP_S)

    async def _part_with_unfit(self) -> None:
        """One of the keys is not what it shall be, so that none of them can be read: which it is."""
        inbox = self._store.keys.inbox(self._store.rid).encode()
        keys = [inbox, *self.followed]
        with suppress(EngineError):
            found = await self._store.pages.ask_many([("XRANGE", key, "-", "+", "COUNT", 1) for key in keys])
            for key, reply in zip(keys, found, strict=True):
                if not isinstance(reply, EngineUnfit):
                    continue
                if key == inbox:
                    await self._store.pages.ask("DEL", key)
                elif (followed := self.followed.pop(key, None)) is not None:
                    logger.error("%s: what stands in the shared store is no log; it ends here", followed.mirror)
                    followed.mirror.seal(followed.mirror.position)

    async def _read(self) -> None:
        inbox = self._store.keys.inbox(self._store.rid).encode()
        if inbox != self._inbox:
            self._inbox, self._heard = inbox, b"0-0"
        read = {key: each for key, each in self.followed.items() if not each.mirror.is_full}
        self._is_blocked = len(read) == len(self.followed)
        block_ms = _BLOCK_MS if self._is_blocked else 50  # a full one is looked at again
        reply = await self._store.follower.ask(
            "XREAD",
            "COUNT",
            _ENTRIES,
            "BLOCK",
            block_ms,
            "STREAMS",
            inbox,
            *read,
            self._heard,
            *(each.entry for each in read.values()),
        )
        self._is_blocked = False
        now_s = asyncio.get_running_loop().time()
        for key, entries in reply or ():
            if key == inbox:
                self._listen(entries)
                continue
            followed = self.followed.get(key)
            if followed is not None:
                followed.heard_s = now_s
                for entry, fields in fields_of(entries):
                    self._take(followed, entry, fields)

    def _listen(self, entries: Any) -> None:
        for entry, fields in fields_of(entries):
            self._heard = entry
            try:
                self._hear(fields)
            except Exception:
                logger.exception("a message of another process made no sense")


def fields_of(entries: Any) -> Iterator[tuple[bytes, Fields]]:
    """Entries as they come from the engine: id, and names with values."""
    for entry, words in entries:
        yield entry, dict(zip(words[::2], words[1::2], strict=True))

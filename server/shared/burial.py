"""Ends the answers of processes whose lease has run out, once each, whoever of the others does it.

Every step can be done twice: whoever takes on a process that somebody else has half buried begins at the beginning.
Nobody buries before there has been contact for a lease: after a silence of the engine all leases look old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from client.streams.elsewhere import StoreUnavailable
from server.shared.engine.lines import Word
from server.shared.engine.scripts import Script
from server.shared.engine.values import word_of
from server.shared.outbox import verdict_of
from server.shared.store import LUA, Store, StoreUnfit
from server.shared.tasks import end_all

logger = logging.getLogger(__name__)

_CLAIM: Final = Script.read(LUA, "claim")
_SEAL: Final = Script.read(LUA, "seal")
_LOOK_S: Final = 0.5
_OLDEST_CLAIM_MS: Final = 1000
_AT_ONCE: Final = 100


class Undertaker:
    """Looks for processes that are gone.

    Args:
        retain_ms: how long their answers can be read then.
    """

    def __init__(self, store: Store, retain_ms: Callable[[], int]) -> None:
        self._store = store
        self._retain_ms = retain_ms
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._watch(), name="burial of lost processes")

    async def aclose(self) -> None:
        """Looks no more; what is half done is done again by others."""
        await end_all([self._task])

    async def _watch(self) -> None:
        store = self._store
        while True:
            await asyncio.sleep(min(_LOOK_S, store.lease_s / 4))
            if store.contact_s < store.lease_s:
                continue
            try:
                while rid := await self._claim():
                    await self.bury(rid)
            except StoreUnavailable:
                continue
            except Exception:
                logger.exception("a lost process could not be buried; it is tried again")

    async def _claim(self) -> str | None:
        """A process to be buried by this one; None: there is none, or the question came too late."""
        store = self._store
        keys = [store.keys.live, store.keys.dead]
        rid = await store.run(_CLAIM, keys, [store.lease_ms, store.now_ms(), _OLDEST_CLAIM_MS])
        return word_of(rid) if rid else None

    async def bury(self, rid: str) -> None:
        """Ends its answers, has its costs settled, and forgets it.

        Raises:
            StoreUnavailable: not all of that was done.
        """
        store, keys = self._store, self._store.keys
        places = [word_of(place) for place in await store.command("SMEMBERS", keys.own(rid))]
        ended = 0
        for at in range(0, len(places), _AT_ONCE):
            ended += await self._seal(rid, places[at : at + _AT_ONCE])
        for tell in store.on_buried:
            await tell(rid)
        await store.commands([("DEL", keys.own(rid), keys.inbox(rid)), ("ZREM", keys.dead, rid)])
        store.figures.buried += 1
        logger.warning("A process that shared the store is gone: %d of its answers were ended.", ended)

    async def _seal(self, rid: str, places: Sequence[str]) -> int:
        keys = self._store.keys
        args: list[Word] = [rid, self._retain_ms(), 0, ""]
        calls = [(_SEAL, [keys.meta(place), keys.log(place)], args) for place in places]
        try:
            replies = await self._store.run_many(calls)
        except StoreUnfit:  # what cannot be ended shall not keep the others from it
            replies = []
            for call in calls:
                with suppress(StoreUnfit):
                    replies.append(await self._store.run(*call))
        return sum(verdict_of(reply)[0] == "sealed" for reply in replies)


async def have_buried(store: Store, rid: str, place: str) -> None:
    """An answer that is silent ends with its owner, also where no list has the owner, or what it owns: the engine may
    have lost them between two commands, and the owner be gone before its next beat. One that is there comes back
    under another name within the lease that it is given.

    Raises:
        StoreUnavailable: it is not known whether that was done.
    """
    keys = store.keys
    if await store.command("ZSCORE", keys.live, rid) is None:
        buried_ms = store.now_ms() + store.lease_ms
        await store.commands([("SADD", keys.own(rid), place), ("ZADD", keys.dead, "NX", buried_ms, rid)])

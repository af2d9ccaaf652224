"""The copies of this process's answers (`client.streams.elsewhere.Copies`): begun, kept up, made good, ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from client.streams.elsewhere import StoreUnavailable
from client.streams.settlement import Settlement
from client.streams.stream import Stream
from server.shared.copied import Copy
from server.shared.engine.keys import place_of
from server.shared.engine.lines import EngineLost, Word
from server.shared.engine.scripts import Call, Script
from server.shared.engine.values import number_of
from server.shared.outbox import Outbox, verdict_of
from server.shared.records import Records
from server.shared.store import LUA, Store, StoreUnfit
from server.shared.tasks import end_all

logger = logging.getLogger(__name__)

_BEGIN: Final = Script.read(LUA, "begin")
_OWN: Final = Script.read(LUA, "own")
_PLACE: Final = Script.read(LUA, "place")
_LEAVE: Final = Script.read(LUA, "leave")
_SEAL: Final = Script.read(LUA, "seal")
_TELL: Final = Script.read(LUA, "tell")
_AT_ONCE: Final = 100
_MOST_LATER: Final = 1000
_KNOWN_S: Final = 1.0
_PLACED_MS: Final = 60_000
"""How long a chosen id is taken for an answer that is not begun."""
_LOOK_S: Final = 0.25
_LONGEST_WAIT_S: Final = 0.1
"""Longer than this nothing waits to be written, unless the settings say so."""
_CLOSE_S: Final = 3.0
_LISTED_MS: Final = 3_600_000
_OF_READERS: Final = 2
"""What a process says of its readers: the position of the slowest, and until when they count."""

_Later = Callable[[], Awaitable[object]]


class SharedCopies:
    """Keeps the copies.

    Attributes:
        changed: answers with something to write; they put themselves in.
        outbox: what writes them.
        on_taken: told of the place of a chosen id that is this process's now: what others had there is gone.

    Args:
        flush_s: between two writes.
        retain_s: how long a finished answer can be read.
    """

    def __init__(self, store: Store, records: Records, *, flush_s: float, retain_s: Callable[[], float]) -> None:
        self._store = store
        self._records = records
        self.outbox = Outbox(store, records, retain_s)
        self.changed = self.outbox.changed
        self.on_taken: Callable[[str], None] = lambda place: None
        self._flush_s = flush_s
        self._new: list[Copy] = []
        self._later: deque[_Later] = deque(maxlen=_MOST_LATER)
        self._wake_writer = asyncio.Event()
        self._wake_clerk = asyncio.Event()
        self._look_at_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        store.on_contact.append(self._refit)
        store.on_settled = self._settled_for
        store.leaves_open.append(lambda: bool(self.outbox.copies or self._later))

    def open(self) -> None:
        """Begins to write in the background."""
        for name, work in (("copies of answers", self._write_on), ("places of answers", self._keep_places)):
            self._tasks.append(asyncio.create_task(work(), name=name))

    async def aclose(self) -> None:
        """Writes what is left, if there is somebody to take it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                while (self.outbox.copies or self._later or self._new) and self._store.has_contact:  # noqa: ASYNC110
                    await asyncio.sleep(self._flush_s)
        await end_all(self._tasks)

    # -- what `client.streams` asks -----------------------------------------------------------------------------

    @property
    def has_contact(self) -> bool:
        """Whether the engine can be written to."""
        return self._store.has_contact

    async def claim(self, key: str, stream_id: str, owner: str, fingerprint: bytes) -> bool:
        """Takes the place of a chosen id; False: somebody has it."""
        store, place = self._store, place_of(key)
        if not store.has_contact:
            raise StoreUnavailable
        keys = [store.keys.meta(place), store.keys.log(place)]
        is_mine = bool(await store.run(_PLACE, keys, [store.rid, _PLACED_MS]))
        if is_mine:
            self.on_taken(place)
        return is_mine

    def unclaim(self, key: str) -> None:
        """Nothing came of a chosen id."""
        store, place = self._store, place_of(key)
        self._do_later(lambda: store.run(_LEAVE, [store.keys.meta(place)], [store.rid]))

    def begin(self, stream: Stream) -> None:
        """An answer begins."""
        place, keys = place_of(stream.key), self._store.keys
        copy = Copy(stream, place, (keys.meta(place).encode(), keys.log(place).encode()))
        self.outbox.add(copy)
        self._begin(copy)
        self._wake_writer.set()

    def _begin(self, copy: Copy) -> None:
        copy.stands = False
        if not any(each is copy for each in self._new):
            self._new.append(copy)
        self._wake_clerk.set()

    async def known(self, stream: Stream) -> None:
        """Returns when others can find it, or it makes no sense to wait."""
        copy = self.outbox.copies.get(stream)
        if copy is not None and not copy.stands and self._store.has_contact:
            with suppress(TimeoutError):
                async with asyncio.timeout(_KNOWN_S):
                    await copy.settled.wait()

    def settled(self, stream: Stream) -> None:
        """Its cost was found after its end."""
        self._do_later(lambda: self._tell(stream))

    def _settled_for(self, place: str, settlement: Settlement) -> None:
        """The cost of an answer was found whose process is gone."""
        self._do_later(lambda: self._tell_of(place, settlement))

    async def _tell_of(self, place: str, settlement: Settlement) -> None:
        meta = self._store.keys.meta(place)
        state: bytes | None = await self._store.command("HGET", meta, "state")
        if state is not None:
            told, is_nothing = self._records.settled(state, settlement, place)
            await self._store.run(_TELL, [meta], [told, "1" if is_nothing else ""])

    async def _tell(self, stream: Stream) -> None:
        place = place_of(stream.key)
        args = [self._records.state_of(stream, place), "1" if stream.has_come_to_nothing else ""]
        await self._store.run(_TELL, [self._store.keys.meta(place)], args)

    def name(self, stream: Stream, kind: str, name: str) -> None:
        """Its owner calls it so."""
        store = self._store
        key, value = store.keys.named(stream.owner, kind, name), f"{time.time()!r} {stream.id}"
        life_ms = self.outbox.life_ms + self.outbox.retain_ms
        self._do_later(lambda: store.command("SET", key, value, "PX", life_ms))

    def acknowledged(self, stream: Stream) -> int:
        """Up to which number the engine has it, or needs it no more."""
        copy = self.outbox.copies.get(stream)
        return stream.log.last if copy is None else copy.acked

    def read_elsewhere(self, stream: Stream) -> int | None:
        """Where the slowest reader in another process is; None: there is none."""
        copy = self.outbox.copies.get(stream)
        return None if copy is None else min(copy.positions, default=None)

    def give_up(self, stream: Stream) -> None:
        """What was not written is dropped: it goes on for its own readers alone."""
        copy = self.outbox.copies.get(stream)
        if copy is not None:
            self._leave(copy)

    async def has_readers_elsewhere(self, stream: Stream) -> bool:
        """Whether somebody reads it in another process."""
        copy = self.outbox.copies.get(stream)
        if copy is None or not copy.rid:
            return False
        if self._store.may_lack or not copy.stands:  # those who read it may not have come back yet
            raise StoreUnavailable
        return bool(await self._positions(copy))

    # -- writing ------------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        """One flush at a time; what comes meanwhile goes with the next. Of many answers those that nobody waits for
        wait until several events are there: what is written costs much more than what is in it."""
        outbox, store, flushes = self.outbox, self._store, 0
        of_all = max(1, int(_LONGEST_WAIT_S / self._flush_s))
        while True:
            if not outbox.copies:
                outbox.changed.clear()  # what has ended, and need not be told there
                self._wake_writer.clear()
                await self._wake_writer.wait()
            await asyncio.sleep(self._flush_s)
            if not store.has_contact:
                self._part_with_lost()
                await asyncio.sleep(_LOOK_S)
                continue
            try:
                flushes += 1
                if outbox.changed:
                    await outbox.flush(takes_all=flushes % of_all == 0)
                if outbox.misfits:
                    await self._make_fit()
                await outbox.tidy()
                await self._look_around()
            except StoreUnavailable:
                continue
            except Exception:
                logger.exception("copies of answers could not be written; it is tried again")

    async def _make_fit(self) -> None:
        """What did not follow on what stands there."""
        misfits, self.outbox.misfits = self.outbox.misfits, []
        foreign = [copy for copy, verdict, _ in misfits if verdict == "foreign"]
        for copy, verdict, number in misfits:
            if verdict != "foreign":
                self._fit(copy, verdict, number)
        if foreign:
            await self._own(foreign)

    def _fit(self, copy: Copy, verdict: str, number: int) -> None:
        """What is to be done about a copy, by what stands there."""
        stream = copy.stream
        if self.outbox.copies.get(stream) is not copy:
            return
        match verdict:
            case "sealed":
                self._store.figures.fenced += 1
                self.outbox.remove(copy)
                stream.fence(number if number >= 0 else stream.log.last)
            case "ended":
                self.outbox.remove(copy)
            case "stands" if stream.log.first - 1 <= number <= stream.log.last:
                self._store.figures.refits += number != copy.acked
                copy.stand_at(number)
                copy.stands = True
                copy.settled.set()
                self.outbox.changed.add(stream)
            case "unknown":
                self._store.figures.refits += copy.acked > 0
                self._begin(copy)
            case "begun":
                copy.stand_at(number)
                copy.trimmed = number + 1
                copy.stands, copy.has_log, copy.renew_at_s = True, False, 0.0
                copy.settled.set()
                self.outbox.changed.add(stream)
            case _:
                self._leave(copy)

    def _leave(self, copy: Copy) -> None:
        """Others can have no more of it than stands there: for them it ends."""
        self.outbox.remove(copy)
        if copy.rid:
            logger.warning("%s: the shared store lacks a part of it; others get its end", copy.stream)
            self._do_later(lambda: self._seal(copy))

    async def _seal(self, copy: Copy) -> None:
        keys = self._store.keys
        sealed: list[Word] = [copy.rid, self.outbox.retain_ms, 0, ""]
        await self._store.run(_SEAL, [keys.meta(copy.place), keys.log(copy.place)], sealed)
        await self._store.command("SREM", keys.own(copy.rid), copy.place)

    def _part_with_lost(self) -> None:
        """Without contact: answers that are kept here no longer will never be written."""
        for copy in tuple(self.outbox.copies.values()):
            if not copy.stream.is_running and copy.stream.log.first - 1 > copy.acked:
                self._leave(copy)

    async def _look_around(self) -> None:
        """Now and then: who reads elsewhere what has no room here, and whose keys need a longer life."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + _LOOK_S
        await self.outbox.renew()
        for copy in tuple(self.outbox.copies.values()):
            if copy.stream.has_full_log and copy.stands:
                with suppress(StoreUnfit):
                    copy.positions = await self._positions(copy)
                copy.stream.note_progress()

    async def _positions(self, copy: Copy) -> list[int]:
        """Where readers in other processes are, of processes that have told so lately."""
        found: Sequence[bytes] = await self._store.command("HVALS", self._store.keys.readers(copy.place))
        told = [tuple(number_of(word) for word in each.split()) for each in found]
        return [each[0] for each in told if len(each) == _OF_READERS and each[1] > self._store.now_ms()]

    # -- places -------------------------------------------------------------------------------------------------

    def _do_later(self, work: _Later) -> None:
        """In the background, in order, and again when there is contact."""
        self._later.append(work)
        self._wake_clerk.set()

    async def _keep_places(self) -> None:
        """Makes answers known there, and does what nobody waits for."""
        while True:
            await self._wake_clerk.wait()
            self._wake_clerk.clear()
            try:
                while self._store.has_contact and (self._new or self._later):
                    await self._keep_some()
            except StoreUnfit:
                if self._later and not self._new:
                    self._later.popleft()
                self._wake_clerk.set()
                await asyncio.sleep(_LOOK_S)
            except StoreUnavailable:
                self._wake_clerk.set()
                await asyncio.sleep(_LOOK_S)
            except Exception:
                logger.exception("places of answers could not be kept")
                if self._later and not self._new:
                    self._later.popleft()
                self._wake_clerk.set()
                await asyncio.sleep(_LOOK_S)

    async def _keep_some(self) -> None:
        if self._new:
            copies = [copy for copy in self._new[:_AT_ONCE] if copy.stream in self.outbox.copies]
            if copies:
                await self._make_known(copies)
            done = set(map(id, copies))
            self._new = [copy for copy in self._new if id(copy) not in done and copy.stream in self.outbox.copies]
        elif self._later:
            work = self._later[0]
            await work()
            if self._later and self._later[0] is work:  # else too many came meanwhile, and it made room for them
                self._later.popleft()

    async def _make_known(self, copies: Sequence[Copy]) -> None:
        """They are owned before they are there, so that none is ever there that nobody would bury."""
        store, keys = self._store, self._store.keys
        listed: dict[str, list[Word]] = {}
        calls: list[Call] = []
        behind: list[int] = []
        for copy in copies:
            stream = copy.stream
            copy.rid = store.rid
            listed.setdefault(stream.owner, []).extend((stream.created_s, copy.place))
            copy.state = copy.state_now()
            behind.append(stream.log.first - 1)
            head = self._records.head_of(stream, copy.place)
            state = self._records.state_of(stream, copy.place)
            args: list[Word] = [store.rid, head, state, behind[-1], self.outbox.life_ms]
            calls.append((_BEGIN, [keys.meta(copy.place), keys.log(copy.place)], args))
        commands: list[Sequence[Word]] = [("SADD", keys.own(store.rid), *(copy.place for copy in copies))]
        for owner, words in listed.items():
            commands.append(("ZADD", keys.listed(owner), *words))
            life_ms = self.outbox.life_ms + self.outbox.retain_ms + _LISTED_MS
            commands.append(("PEXPIRE", keys.listed(owner), life_ms))
        commands.append(("ZSCORE", keys.live, store.rid))
        if (await store.put(commands))[-1] is None:  # nobody would bury one whose lease the engine has lost
            store.suspect(EngineLost("its data are others"))
            raise StoreUnavailable
        replies = await store.run_many(calls, bears_unfit=True)
        for copy, number, reply in zip(copies, behind, replies, strict=True):
            verdict, stands = verdict_of(reply)
            self._fit(copy, verdict, number if verdict == "begun" else stands)

    # -- contact ------------------------------------------------------------------------------------------------

    async def _refit(self) -> None:
        """There is contact again: what this process owned under another name is its own again, where it stands."""
        moved = [each for each in self.outbox.copies.values() if each.rid != self._store.rid]
        for at in range(0, len(moved), _AT_ONCE):
            await self._own(moved[at : at + _AT_ONCE])
        self._wake_clerk.set()
        self._wake_writer.set()

    async def _own(self, copies: Sequence[Copy]) -> None:
        store, keys = self._store, self._store.keys
        begun = [copy for copy in copies if copy.rid]
        await store.put([("SADD", keys.own(store.rid), copy.place) for copy in begun])
        calls: list[Call] = [(_OWN, [keys.meta(copy.place)], [store.rid]) for copy in begun]
        replies = await store.run_many(calls, bears_unfit=True)
        given_up = [(copy.rid, copy.place) for copy in begun if copy.rid != store.rid]
        for copy, reply in zip(begun, replies, strict=True):
            copy.rid = store.rid
            self._fit(copy, *verdict_of(reply))
        # under its old name it owns them no more: nobody may ever bury that
        await store.commands([("SREM", keys.own(rid), place) for rid, place in given_up], bears_unfit=True)


async def forget_place(store: Store, owner: str, place: str) -> None:
    """Nobody finds it there any more."""
    keys = store.keys
    await store.commands(
        [
            ("DEL", keys.log(place), keys.meta(place), keys.readers(place)),
            ("ZREM", keys.listed(owner), place),
        ]
    )

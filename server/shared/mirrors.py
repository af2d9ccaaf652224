"""Answers of other processes (`client.streams.elsewhere.Elsewhere`, `Source`): found, filled, listed, stopped.

Each is one log here, whoever reads it. It first catches up in pages, and is then read on from its last entry by the
follower: there is no gap between the two. The order of events is that of their numbers; what was written again and
cut elsewhere overlaps, and what is missing is never passed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from client.border.json_codec import decode_json, encode_json
from client.errors import Failure
from client.streams.elsewhere import StoreUnavailable
from client.streams.mirror import Facts, Host, Mirror
from client.streams.readable import Summary
from server.shared.burial import have_buried
from server.shared.copies import SharedCopies, forget_place
from server.shared.engine.keys import place_of, places_of
from server.shared.engine.lines import EngineError, Word
from server.shared.engine.scripts import Script
from server.shared.engine.values import number_of, word_of
from server.shared.follower import Fields, Followed, Follower, fields_of
from server.shared.listing import KNOWN, Meta, find_name, list_of
from server.shared.outbox import verdict_of
from server.shared.records import Records
from server.shared.store import LUA, Store, StoreUnfit
from server.shared.tasks import end_all
from server.shared.text import Unreadable

logger = logging.getLogger(__name__)

_SEAL: Final = Script.read(LUA, "seal")
_PAGE: Final = 100
_PAGES_S: Final = 20.0
_PLACED_S: Final = 1.0
"""How long an answer may be on its way there whose id is taken."""
_ASK_AGAIN_S: Final = 2.0
_TEND_S: Final = 1.0
_UNUSED_S: Final = 5.0


class SharedMirrors:
    """Finds answers of other processes, and follows them."""

    def __init__(self, store: Store, records: Records, copies: SharedCopies, host: Host) -> None:
        self._store = store
        self._records = records
        self._copies = copies
        self._host = host
        self._mirrors: dict[str, Followed] = {}
        self._places: dict[Mirror, str] = {}
        self._catching: dict[str, asyncio.Future[Followed]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tending: asyncio.Task[None] | None = None
        self.follower = Follower(store, self._take, self._hear)
        copies.on_taken = self._forget_at

    @property
    def count(self) -> int:
        """Answers of others that are kept here."""
        return len(self._mirrors)

    def open(self) -> None:
        """Begins to read."""
        self.follower.open()
        self._tending = asyncio.create_task(self._tend_on(), name="answers of other processes")

    async def aclose(self) -> None:
        """Reads no more."""
        await self.follower.aclose()
        await end_all([*self._tasks, self._tending])

    # -- finding ------------------------------------------------------------------------------------------------

    async def find(self, stream_id: str, owner: str) -> Mirror | None:
        """The caller's answer of that id; None when nobody has it."""
        try:
            return await self._found(stream_id, owner)
        except StoreUnavailable:
            self._store.figures.note_refused("find")
            raise

    async def _found(self, stream_id: str, owner: str) -> Mirror | None:
        for place in places_of(stream_id, owner):
            meta = await self._meta_placed(place)
            if meta is None:
                continue
            if meta[1] is None:  # others ended it where all else of it was lost: whoever has read it knows what it is
                known = self._mirrors.get(place)
                if known is None or known.mirror.owner != owner:
                    continue
                return known.mirror
            facts = self._facts(meta, place)
            if facts.owner != owner:
                continue
            followed = self._mirrors.get(place)
            if followed is None or _is_behind(followed.mirror, meta):
                followed = await self._caught_up(place, meta)
            elif not followed.mirror.is_running:
                followed.mirror.note(facts)
            return followed.mirror
        if self._store.may_lack or not self._store.has_contact:  # what is begun while it is full is not there
            raise StoreUnavailable
        return None

    def _facts(self, meta: Meta, place: str) -> Facts:
        try:
            return self._records.facts_of(meta[1] or b"", meta[2] or b"", place)
        except Unreadable as exc:
            logger.error("An answer in the shared store cannot be read: it %s.", exc)
            raise StoreUnavailable from None

    async def _meta_placed(self, place: str) -> Meta | None:
        """What is known at a place; an answer whose id was taken only just is waited for."""
        until_s = asyncio.get_running_loop().time() + _PLACED_S
        while True:
            meta: Meta = await self._store.command("HMGET", self._store.keys.meta(place), *KNOWN)
            if meta[0] is None:
                return None
            if meta[1] is not None or meta[4] is not None:
                return meta
            if asyncio.get_running_loop().time() > until_s:
                raise StoreUnavailable
            await asyncio.sleep(0.02)

    async def _caught_up(self, place: str, meta: Meta) -> Followed:
        """A mirror that has what stood there; those who want the same one at once wait for one and the same."""
        catching = self._catching.get(place)
        if catching is None:
            catching = self._catching[place] = asyncio.ensure_future(self._make(place, meta))
            catching.add_done_callback(lambda _: self._catching.pop(place, None))
        try:
            return await asyncio.shield(catching)
        except (EngineError, TimeoutError) as exc:
            self._store.suspect(exc)
            raise StoreUnavailable from None

    async def _make(self, place: str, meta: Meta) -> Followed:
        known = self._mirrors.get(place)
        if known is not None:  # the follower brings the same, a moment later
            await self._catch_up(known)
            return known
        facts = self._facts(meta, place)
        followed = Followed(place, Mirror(self._host, facts, self), facts)
        try:
            async with asyncio.timeout(_PAGES_S):
                await self._catch_up(followed)
        except BaseException:
            followed.mirror.drop()
            raise
        self._mirrors[place] = followed
        self._places[followed.mirror] = place
        if followed.mirror.is_running:
            await self.follower.follow(followed)
        return followed

    async def _catch_up(self, followed: Followed) -> None:
        """Everything that stands there, page by page; a log that is full has to wait for its readers."""
        key, mirror = self._store.keys.log(followed.place), followed.mirror
        while mirror.is_running and not mirror.is_full:
            start = "-" if followed.entry == b"0-0" else b"(" + followed.entry
            entries = await self._store.pages.ask("XRANGE", key, start, "+", "COUNT", _PAGE)
            for entry, fields in fields_of(entries):
                self._take(followed, entry, fields)
            if len(entries) < _PAGE:
                return

    # -- filling ------------------------------------------------------------------------------------------------

    def _take(self, followed: Followed, entry: bytes, fields: Fields) -> None:
        """One entry of a log."""
        mirror, place = followed.mirror, followed.place
        if not mirror.is_running:
            return
        try:
            if (sealed := fields.get(b"s")) is not None:
                mirror.seal(_sealed_behind(sealed))
            else:
                self._take_events(followed, entry.decode(), fields)
        except LookupError:
            self._miss(followed)
            return
        except (Unreadable, ValueError, ArithmeticError) as exc:
            why = exc if isinstance(exc, Unreadable) else "makes no sense"
            logger.error("%s: what another process wrote of it cannot be read: it %s", mirror, why)
            mirror.seal(mirror.position)
        followed.entry, followed.missing_since_s = entry, None
        if not mirror.is_running:
            self.follower.leave(place)

    def _take_events(self, followed: Followed, entry: str, fields: Fields) -> None:
        mirror, place = followed.mirror, followed.place
        last, count = map(int, entry.split("-"))
        data = self._records.text.unseal(fields[b"d"], f"{place} {entry}")
        if not mirror.position and last > count:
            mirror.begin_behind(last - count)  # its head was dropped there
        mirror.take(data, count, last)
        if (state := fields.get(b"e")) is not None:
            followed.facts = self._records.facts_with(followed.facts, state, place)
            mirror.note(followed.facts)
            mirror.finish(followed.facts.finish_reason)

    def _miss(self, followed: Followed) -> None:
        """Something is missing. An owner that has it writes it again; else it will not come any more."""
        now_s = asyncio.get_running_loop().time()
        if followed.missing_since_s is None:
            followed.missing_since_s = now_s
        if now_s - followed.missing_since_s < 2 * self._store.lease_s:
            self._go_back(followed)
            return
        logger.error("%s: a part of it is missing in the shared store; it ends here", followed.mirror)
        followed.mirror.seal(followed.mirror.position)
        self.follower.leave(followed.place)

    def _go_back(self, followed: Followed) -> None:
        """Something is missing: it is read again from where the mirror stands, and again until it is there."""
        self.follower.leave(followed.place)
        self._spawn(self._read_again(followed))

    async def _read_again(self, followed: Followed) -> None:
        await asyncio.sleep(0.1)
        position = followed.mirror.position
        followed.entry = f"{position}-18446744073709551615".encode() if position else b"0-0"
        await self.follower.follow(followed)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what others ask ----------------------------------------------------------------------------------------

    def _hear(self, message: Fields) -> None:
        """Another process asks something of an answer of this one."""
        if message.get(b"t") == b"forget":
            self._spawn(self._forget_here(word_of(message[b"p"])))
            return
        copy = self._copies.outbox.by_place.get(word_of(message.get(b"p", b"")))
        if copy is None:
            return
        match message.get(b"t"):
            case b"stop":
                told = decode_json(message.get(b"f", b"null"))
                failure = None if told is None else msgspec.convert(told, Failure)
                copy.stream.stop(word_of(message[b"r"]), failure)
            case b"read":
                copy.note_reading(word_of(message.get(b"r", b"")), is_read=True)
            case b"gone":
                copy.note_reading(word_of(message.get(b"r", b"")), is_read=False)
                copy.stream.look_again()
            case b"abandon":
                copy.stream.abandon()

    async def _forget_here(self, place: str) -> None:
        with suppress(StoreUnavailable):
            await self._host.forget_here(lambda key: place_of(key) == place, self)

    # -- what mirrors ask (`client.streams.elsewhere.Source`) ---------------------------------------------------

    def attached(self, mirror: Mirror) -> None:
        """Its first reader has come: its owner shall know before it looks."""
        self._spawn(self._tell_read(mirror))

    def detached(self, mirror: Mirror) -> None:
        """Its last reader has gone."""
        place = self._places.get(mirror)
        if place is not None:
            self._spawn(self._tell_gone(place))

    def dropped(self, mirror: Mirror) -> None:
        """It is not kept here any more."""
        place = self._places.pop(mirror, None)
        if place is not None:
            self._mirrors.pop(place, None)
            self.follower.leave(place)

    def abandon(self, mirror: Mirror) -> None:
        """Its owner shall end it where nobody reads it."""
        place = self._places.get(mirror)
        if place is not None:
            self._spawn(self._ask_owner(place, {"t": "abandon", "p": place}))

    async def stop(self, mirror: Mirror, reason: str, failure: Failure | None) -> None:
        """Has its owner stop it, whoever that is by then; returns when it has ended.

        Raises:
            StoreUnavailable: nobody can be asked.
        """
        place = self._places.get(mirror)
        while place is not None and mirror.is_running:
            if not self._store.has_contact:
                raise StoreUnavailable
            message = {"t": "stop", "p": place, "r": reason, "f": encode_json(failure)}
            await self._ask_owner(place, message)
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await mirror.ended.wait()

    async def _ask_owner(self, place: str, message: dict[str, Any]) -> None:
        (rid,) = await self._store.command("HMGET", self._store.keys.meta(place), "rid")
        if rid:
            await self.follower.send(word_of(rid), message)

    async def _tell_gone(self, place: str) -> None:
        with suppress(StoreUnavailable):
            await self._store.command("HDEL", self._store.keys.readers(place), self._store.rid)
            await self._ask_owner(place, {"t": "gone", "p": place, "r": self._store.rid})

    async def _tell_read(self, mirror: Mirror) -> None:
        """Its owner is told, too, so that it writes it as soon as it can: without this word it does so a little
        later."""
        await self._tell_reading([mirror])
        place = self._places.get(mirror)
        if place is not None and mirror.is_running:
            with suppress(StoreUnavailable):
                await self._ask_owner(place, {"t": "read", "p": place, "r": self._store.rid})

    async def _tell_reading(self, mirrors: Sequence[Mirror]) -> None:
        """Puts this process among the readers of answers, with how far each has come here."""
        store = self._store
        until_ms = store.now_ms() + 2 * store.lease_ms
        commands: list[Sequence[Word]] = []
        for mirror in mirrors:
            place = self._places.get(mirror)
            if place is not None and mirror.is_running:
                key = store.keys.readers(place)
                commands.append(("HSET", key, store.rid, f"{mirror.position} {until_ms}"))
                commands.append(("PEXPIRE", key, 4 * store.lease_ms))
        with suppress(StoreUnavailable):
            await store.commands(commands)

    # -- tending ------------------------------------------------------------------------------------------------

    async def _tend_on(self) -> None:
        while True:
            await asyncio.sleep(min(_TEND_S, self._store.lease_s / 3))
            try:
                await self._tend()
            except StoreUnavailable:
                continue
            except Exception:
                logger.exception("answers of other processes could not be looked after")

    async def _tend(self) -> None:
        """Lets go what nobody uses, renews what is read, and looks after what has been silent for long."""
        now_s = asyncio.get_running_loop().time()
        for followed in tuple(self._mirrors.values()):
            mirror = followed.mirror
            if not mirror.is_in_use and now_s - mirror.idle_since_s > _UNUSED_S:
                mirror.drop()
        if not self._store.has_contact:
            return
        read = [each.mirror for each in self._mirrors.values() if each.mirror.readers and each.mirror.is_running]
        if read:
            await self._tell_reading(read)
        for followed in tuple(self._mirrors.values()):
            if followed.mirror.is_running and now_s - followed.heard_s > 2 * self._store.lease_s:
                followed.heard_s = now_s
                await self._look_after(followed)

    async def _look_after(self, followed: Followed) -> None:
        """It was silent: whether it is there at all, and has ended meanwhile."""
        store, place = self._store, followed.place
        try:
            meta: Meta = await store.command("HMGET", store.keys.meta(place), *KNOWN)
        except StoreUnfit:
            self._miss(followed)
            return
        if meta[0] is None and not store.may_lack:
            args: list[Word] = ["", self._copies.outbox.retain_ms, followed.mirror.position, "1"]
            reply = await store.run(_SEAL, [store.keys.meta(place), store.keys.log(place)], args)
            verdict, number = verdict_of(reply)
            if verdict == "sealed":
                followed.mirror.seal(number if number >= 0 else followed.mirror.position)
                self.follower.leave(place)
        elif meta[3] is not None or meta[4] is not None:
            self._miss(followed)
        elif meta[0]:
            await have_buried(store, word_of(meta[0]), place)

    # -- lists and names ----------------------------------------------------------------------------------------

    async def list_of(self, owner: str, most: int | None) -> list[Summary]:
        """The caller's answers in all processes, newest first."""
        return await list_of(self._store, self._records, self._mirrors, owner, most)

    async def find_name(self, owner: str, kind: str, name: str) -> tuple[str, float] | None:
        """Id of the answer that the caller calls so, and when it was called so."""
        return await find_name(self._store, owner, kind, name)

    async def forget(self, stream_id: str, owner: str) -> None:
        """Nobody finds it any more, anywhere; whoever ran it is told, and has it from its own memory no more."""
        for place in places_of(stream_id, owner):
            meta: Meta = await self._store.command("HMGET", self._store.keys.meta(place), *KNOWN)
            if meta[1] is None or self._facts(meta, place).owner != owner:
                continue
            self._forget_at(place)
            await forget_place(self._store, owner, place)
            # whoever ran it may have another name by now
            for rid in await self._store.command("ZRANGE", self._store.keys.live, 0, -1):
                if word_of(rid) != self._store.rid:
                    await self.follower.send(word_of(rid), {"t": "forget", "p": place})

    def _forget_at(self, place: str) -> None:
        followed = self._mirrors.get(place)
        if followed is not None:
            followed.mirror.drop()


def _sealed_behind(told: bytes) -> int:
    number = number_of(told, -1)
    if number < 0:
        raise Unreadable("makes no sense")
    return number


def _is_behind(mirror: Mirror, meta: Meta) -> bool:
    """Whether more stands there than is here."""
    return mirror.is_running and (meta[3] is not None or number_of(meta[5]) > mirror.position)

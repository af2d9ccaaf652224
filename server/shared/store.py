"""This process among the others: its lease, the engine's clock and epoch, and whether there is contact at all.

Whether there is contact is known from the beat, so that no request waits for a time-out. A process that was given up
by the others, or finds an engine that has lost its data, comes back under another name.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from client.streams.elsewhere import StoreUnavailable
from server.shared.engine.keys import Keys
from server.shared.engine.lines import Dialler, EngineError, EngineFull, EngineRefused, EngineUnfit, Line, Lines, Word
from server.shared.engine.scripts import Call, Script, run, run_many
from server.shared.settling import Tell
from server.shared.tasks import end_all
from server.telemetry.shared_figures import SharedFigures

logger = logging.getLogger(__name__)

LUA: Final = Path(__file__).parent / "lua"
_BEAT: Final = Script.read(LUA, "beat")
_CALLERS: Final = 4
_PAGES: Final = 8
_PATIENCE_S: Final = 1.0
"""What a caller waits for the engine at most."""
_RETRY_S: Final = 0.25
_SLACK_S: Final = 0.5
"""So far the engine's clock may jump against ours before it counts as another engine's."""
_MOST_BLOCKED_S: Final = 3.0

Hook = Callable[[], Awaitable[None]]
EpochHook = Callable[[str], Awaitable[None]]


class StoreUnfit(StoreUnavailable):
    """What stands there under one name is not what was put there; asked again it will be the same."""


class Store:
    """The engine, as far as this process is in contact with it.

    Attributes:
        keys: what everything is called there.
        rid: this process's name there: random, new at every start and whenever it was given up.
        epoch: that of the engine's data; None before the first contact.
        has_contact: whether it may be asked, and what is lost has been made good.
        is_readable: whether it can be read at least: it may be full.
        replicas: processes that live, this one included.
        lease_s, when_lost: settings.
        on_epoch: awaited when the engine's data are new to this process, first of all.
        on_contact: awaited whenever there is contact again, after those.
        on_buried: awaited for a process that is being buried; one that raises has it done again.
        on_settled: told what was looked up of an answer at a place whose process is gone.
        leaves_open: what says at the close that something is left for the others to do.
        writer, pages: connections for writes of logs, and for reads of them.
    """

    def __init__(
        self,
        dialler: Dialler,
        keys: Keys,
        *,
        lease_s: float,
        when_lost: Literal["refuse", "serve"] = "refuse",
        figures: SharedFigures | None = None,
    ) -> None:
        self.keys = keys
        self.lease_s = lease_s
        self.when_lost = when_lost
        self.figures = SharedFigures() if figures is None else figures
        self.rid = _new_rid()
        self.epoch: str | None = None
        self.has_contact = False
        self.is_readable = False
        self.has_lost_data = False
        self.replicas = 0
        self.on_epoch: list[EpochHook] = []
        self.on_contact: list[Hook] = []
        self.on_buried: list[EpochHook] = []
        self.on_settled: Tell = lambda place, settlement: None
        self.leaves_open: list[Callable[[], bool]] = []
        self._dialler = dialler
        name = keys.prefix
        self.writer = Line(dialler.maker(f"{name}-writer"))
        self.follower = Line(dialler.maker(f"{name}-follower"), 2 * _MOST_BLOCKED_S)
        self.pages = Lines(dialler.maker(f"{name}-pages"), _PAGES)
        self._callers = Lines(dialler.maker(f"{name}-callers"), _CALLERS)
        self._life = Line(dialler.maker(f"{name}-life"), max(_PATIENCE_S, min(2.0, lease_s / 3)))
        self._answers = False
        self._is_new = True
        self._offset_s: tuple[float, float] | None = None
        self._contact_since_s = 0.0
        self._lost_since_s: float | None = None
        self._epoch_since_s = 0.0
        self._beat_now = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return self.keys.prefix

    @property
    def lease_ms(self) -> int:
        """The lease, as the engine counts."""
        return round(self.lease_s * 1000)

    def now_ms(self) -> int:
        """The engine's clock, as far as it is known from the last beat: epoch milliseconds."""
        low_s, high_s = self._offset_s or (0.0, 0.0)
        return round((_now_s() + (low_s + high_s) / 2) * 1000)

    @property
    def contact_s(self) -> float:
        """For how long there has been contact without a break, by one and the same clock."""
        return _now_s() - self._contact_since_s if self.has_contact else 0.0

    @property
    def may_lack(self) -> bool:
        """Whether the engine has lost its data so lately that others may still be writing theirs again."""
        return self.has_lost_data and _now_s() - self._epoch_since_s < 2 * self.lease_s

    # -- asking -------------------------------------------------------------------------------------------------

    async def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word]) -> Any:
        """What a script answers.

        Raises:
            StoreUnavailable: within a second, and at once where there is no contact.
        """
        return await self._asked(lambda: run(self._callers, script, keys, args))

    async def run_many(self, calls: Sequence[Call], *, bears_unfit: bool = False) -> list[Any]:
        """What several scripts answer that are sent at once. Each may be run twice.

        Args:
            bears_unfit: where what stands there is not what was put there, the error is the reply.

        Raises:
            StoreUnavailable: as above; also when one of them failed.
        """
        return _whole(await self._asked(lambda: run_many(self._callers, calls)), bears_unfit=bears_unfit)

    async def command(self, *words: Word) -> Any:
        """The reply to one command; raises as `run`."""
        return await self._asked(lambda: self._callers.ask(*words))

    async def commands(self, commands: Sequence[Sequence[Word]], *, bears_unfit: bool = False) -> list[Any]:
        """The replies to several commands that are sent at once; as `run_many`."""
        return _whole(await self._asked(lambda: self._callers.ask_many(commands)), bears_unfit=bears_unfit)

    async def put(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """The same for commands that write, each to the key that it names first: what stands there under such a name,
        and is not what was put there, is removed. Raises as `run_many`."""
        replies = await self.commands(commands, bears_unfit=True)
        unfit = [words for words, reply in zip(commands, replies, strict=True) if isinstance(reply, EngineUnfit)]
        if not unfit:
            return replies
        logger.error("Something else stood in the shared store in the place of %d of our keys: removed.", len(unfit))
        await self.commands([("DEL", words[1]) for words in unfit])
        return await self.commands(commands)

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        if not self.is_readable:
            raise StoreUnavailable
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await ask()
        except (EngineError, TimeoutError) as exc:
            self.suspect(exc)
            raise (StoreUnfit if isinstance(exc, EngineUnfit) else StoreUnavailable) from None

    def suspect(self, error: Exception) -> None:
        """Something failed: the next beat shall tell at once what there is to it."""
        if isinstance(error, EngineRefused):
            logger.error("The shared store refuses what was asked of it: %s", error)
        self._beat_now.set()

    # -- living -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begins to live. What is there already is known when this returns; an engine that cannot be reached is tried
        on in the background."""
        await self._beat()
        self._beating = asyncio.create_task(self._live(), name="lease in the shared store")

    async def _live(self) -> None:
        while True:
            wait_s = self.lease_s / 3 if self.has_contact else min(_RETRY_S, self.lease_s / 3)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._beat_now.wait()
                    await asyncio.sleep(0.05)  # what fails at once is not asked for in a tight loop
            self._beat_now.clear()
            try:
                await self._beat()
            except Exception:
                logger.exception("the beat to the shared store failed")

    async def _beat(self) -> None:
        """Renews the lease, and makes good what has changed; whatever fails, there is no contact."""
        keys = self.keys
        sent_s = _now_s()
        try:
            lives, now_ms, epoch, replicas = await run(
                self._life,
                _BEAT,
                [keys.live, keys.dead, keys.epoch],
                [self.rid, self.lease_ms, "1" if self._is_new else "0", secrets.token_hex(8)],
            )
        except EngineError as exc:
            self._lose(exc)
            return
        received_s = _now_s()
        self._note_clock(now_ms / 1000 - received_s, now_ms / 1000 - sent_s)
        self.replicas = replicas
        if not lives:
            await self._come_back()
            return
        had_contact, is_new, self._is_new = self.has_contact, self._is_new, False
        self.is_readable = True
        if had_contact and not is_new and self.epoch == epoch.decode():
            return
        try:
            await self._make_good(epoch.decode())
        except (StoreUnavailable, EngineError) as exc:
            self._lose(exc)
            return
        if not had_contact:
            self._find()

    async def _come_back(self) -> None:
        """The others have given this process up, or the engine has forgotten it."""
        self.rid, self._is_new, self.has_contact = _new_rid(), True, False
        await self._beat()

    async def _make_good(self, epoch: str) -> None:
        """Everybody is told what is new, before anybody may ask."""
        if epoch != self.epoch:
            self.has_lost_data = self.epoch is not None
            self._epoch_since_s = _now_s()
            if self.has_lost_data:
                self.has_contact = False
                logger.warning("The shared store has lost its data; what this process knows is written there again.")
                self.figures.restored += 1
            for tell in self.on_epoch:
                await tell(epoch)
            self.epoch = epoch
        for wake in self.on_contact:
            await wake()

    def _find(self) -> None:
        self.has_contact = True
        self._contact_since_s = _now_s()
        if self._lost_since_s is not None:
            logger.warning("The shared store is back after %.1f s.", _now_s() - self._lost_since_s)
            self._lost_since_s = None

    def _lose(self, error: Exception) -> None:
        self.has_contact = False
        self.is_readable = isinstance(error, EngineFull)
        self.replicas = 0
        for line in (self.writer, self.pages, self._callers):
            line.renew()
        if self._lost_since_s is None:
            self._lost_since_s = _now_s()
            logger.warning(
                "The shared store cannot be used: %s. Answers go on for their own readers; it is tried on.",
                str(error).rstrip("."),
            )

    def _note_clock(self, low_s: float, high_s: float) -> None:
        """Where the engine's clock stands against ours. A jump means that another engine answers."""
        before, self._offset_s = self._offset_s, (low_s, high_s)
        if before is not None and (low_s > before[1] + _SLACK_S or high_s < before[0] - _SLACK_S):
            self._contact_since_s = _now_s()

    async def aclose(self) -> None:
        """Gives the lease back, or leaves to the others what is left to do, and closes every connection."""
        await end_all([self._beating])
        keys = self.keys
        if self.has_contact:
            with suppress(EngineError):
                if any(is_left() for is_left in self.leaves_open):
                    await self._life.ask("ZADD", keys.live, 0, self.rid)
                else:
                    await self._life.ask("ZREM", keys.live, self.rid)
                    await self._life.ask("DEL", keys.own(self.rid), keys.inbox(self.rid), keys.accounts(self.rid))
        self.has_contact = self.is_readable = False
        for line in (self.writer, self.follower, self.pages, self._callers, self._life):
            await line.aclose()
        await self._dialler.aclose()


def _whole(replies: list[Any], *, bears_unfit: bool) -> list[Any]:
    """Raises:
    StoreUnavailable: one of them is an error.
    """
    borne = EngineUnfit if bears_unfit else ()
    errors = [reply for reply in replies if isinstance(reply, EngineError) and not isinstance(reply, borne)]
    if errors:
        failed = errors[0]
        logger.error("The shared store refuses what was asked of it: %s", failed)
        raise StoreUnfit if isinstance(failed, EngineUnfit) else StoreUnavailable
    return replies


def _new_rid() -> str:
    return secrets.token_hex(8)


def _now_s() -> float:
    return asyncio.get_running_loop().time()

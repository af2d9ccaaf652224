"""Whatever happens to processes and engine, in any order: every answer counts once, and no budget is overrun."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from client.errors import Refusal
from client.streams.elsewhere import StoreUnavailable
from server.budgets.ledger_file import UsageCounts
from tests.shared.money.offices import Office, Played
from tests.shared.waiting import until
from tests.support.engines import Engine

NANOS = 10**9
STEPS = 60
PROCESSES = 3


@dataclass
class World:
    """Three processes, their files, and what upstream has billed.

    Attributes:
        running: answers that upstream has accepted, and by which process.
        cut: those that have ended, and are looked up.
        dead: processes that nobody has buried.
    """

    engine: Engine
    folder: Path
    seed: int
    offices: list[Office] = field(default_factory=list)
    running: list[tuple[Office, Any, Played]] = field(default_factory=list)
    cut: list[tuple[Office, Any, Played]] = field(default_factory=list)
    dead: list[Office] = field(default_factory=list)
    billed: int = 0
    given: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    async def open(self, number: int) -> Office:
        one = Office(self.engine.url, self.folder / f"{number}.sqlite", 1.0, "refuse")
        one.limit(budget_usd_per_day=Decimal(10) if number else None)
        await one.open()
        return one

    @property
    def one(self) -> Office:
        return self.dice.choice(self.offices)

    # -- steps --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        one, name = self.one, f"s{self.number}"
        self.number += 1
        try:
            lease = await one.start_now(1000, name)
        except (Refusal, StoreUnavailable):
            return
        if self.dice.random() < 0.1:
            lease.give_back()
            return
        played = Played(name)
        lease.opened(played.stream)
        self.billed += 1
        self.running.append((one, lease, played))

    async def end(self) -> None:
        if self.running:
            one, lease, played = self.running.pop(self.dice.randrange(len(self.running)))
            if self.dice.random() < 0.5:
                lease.end(played.costs(0.25))
            else:
                lease.end(played.cut())
                self.cut.append((one, lease, played))

    async def find(self) -> None:
        if self.cut:
            _, lease, played = self.cut.pop(self.dice.randrange(len(self.cut)))
            lease.settled(played.costs(0.25))
        one = self.one
        if one.sought:
            found(one.sought.pop(self.dice.randrange(len(one.sought))))

    async def kill(self) -> None:
        """What is told and written within half a second is."""
        place = self.dice.randrange(PROCESSES)
        gone = self.offices[place]
        if gone.store.has_contact:
            await gone.told()
        await gone.ledger.save()
        await gone.die()
        self.running = [each for each in self.running if each[0] is not gone]
        self.cut = [each for each in self.cut if each[0] is not gone]
        self.dead.append(gone)
        if self.dice.random() < 0.5:
            await self.bury()
        self.offices[place] = await self.open(place)

    async def bury(self) -> None:
        one = self.one
        if self.dead and one.store.has_contact and one not in self.dead:
            await one.bury(self.dead[0])
            self.dead.pop(0)

    async def lose(self) -> None:
        """The engine is away for a while, and comes back as it was, or empty."""
        is_killed = self.dice.random() < 0.5
        if is_killed:
            self.engine.kill()
        else:
            self.engine.freeze()
        await until(lambda: not any(one.store.has_contact for one in self.offices))
        for _ in range(5):
            await self.dice.choice([self.start, self.end, self.find])()
        if is_killed:
            self.engine.start()
        else:
            self.engine.thaw()
        await self.contact()

    async def empty(self) -> None:
        before = self.offices[0].store.epoch
        self.engine.empty()
        await until(lambda: all(one.store.epoch != before for one in self.offices))
        await self.contact()

    async def contact(self) -> None:
        await until(lambda: all(one.store.has_contact for one in self.offices))

    async def finish(self) -> None:
        while self.running or self.cut or self.dead or any(one.sought for one in self.offices):
            await self.end()
            await self.find()
            await self.bury()
        for one in self.offices:
            await one.told()


def found(answer: Any) -> None:
    answer.settlement.state({"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 2})
    answer.note_settled()


@pytest.mark.parametrize("seed", range(6))
async def test_every_answer_counts_once(engine: Engine, tmp_path: Path, seed: int) -> None:
    world = World(engine, tmp_path, seed)
    for number in range(PROCESSES):
        world.offices.append(await world.open(number))
    steps = [world.start] * 10 + [world.end] * 8 + [world.find] * 6 + [world.bury] * 2
    steps += [world.kill] * 2 + [world.lose, world.empty]
    for _ in range(STEPS):
        await world.dice.choice(steps)()
    await world.contact()
    await world.finish()
    billed = world.billed
    expected = UsageCounts(billed, billed, 2 * billed, billed * NANOS // 4, billed * NANOS // 4, 0)
    own = UsageCounts()
    for one in world.offices:
        own.add(await one.own())
        assert await one.counts() == expected, f"process {world.offices.index(one)}"
        assert await one.budget() == (world.billed / 4, 0)
    assert own == expected
    for one in world.offices:
        assert not one.journal.entries
        await one.aclose()

"""What a process leaves when it is lost: settled once, by whoever is there, in the book where it counts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from pathlib import Path

from server.budgets.ledger_file import UsageCounts
from tests.shared.money.offices import Office, Played, office
from tests.shared.waiting import until
from tests.support.engines import Engine

NANOS = 10**9
TOLD = UsageCounts(1, 1, 2, NANOS // 4, NANOS // 4, 0)
ESTIMATED = UsageCounts(1, 0, 0, NANOS, 0, 1)


def find(one: Office, dollars: float | None = 0.25) -> None:
    """The look-ups end."""
    for answer in one.sought:
        if dollars is not None:
            answer.settlement.state({"cost": dollars, "prompt_tokens": 1, "completion_tokens": 2})
        answer.note_settled()
    one.sought.clear()


def _is_done(one: Office) -> bool:
    return not one.journal.entries


async def lost(one: Office, path: Path | None, *, is_cut: bool = False) -> Office:
    """A process that has an answer which upstream has accepted, and is killed."""
    gone = Office(one.url, path, 1.0, "refuse")
    await gone.open()
    gone.limit(budget_usd_per_day=Decimal(5))
    lease, played = await gone.start(), Played("x")
    lease.opened(played.stream)
    if is_cut:
        lease.end(played.cut())
    await gone.told()
    await gone.ledger.save()
    await gone.die()
    return gone


async def test_what_ran_is_looked_up_and_held_until_then(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        gone = await lost(one, None)
        assert await one.budget() == (0, 1)
        await one.bury(gone)
        await one.told()
        assert await other.budget() == (0, 1)
        assert await other.counts() == ESTIMATED
        (answer,) = one.sought
        assert answer.generation_id == "gen-x"
        await other.bury(gone)
        assert not other.sought
        find(one)
        await one.told()
        assert await one.budget() == await other.budget() == (0.25, 0)
        assert await one.counts() == await other.counts() == TOLD
        assert await one.own() == UsageCounts()


async def test_what_was_looked_up_is_looked_up_on(engine: Engine) -> None:
    async with office(engine.url) as one:
        gone = await lost(one, None, is_cut=True)
        assert await one.budget() == (0, 1)
        await one.bury(gone)
        find(one)
        await one.told()
        assert await one.budget() == (0.25, 0)
        assert await one.counts() == TOLD


async def test_what_nobody_can_tell_counts_as_it_was_reserved(engine: Engine) -> None:
    async with office(engine.url) as one:
        for is_cut in (True, False):
            await one.bury(await lost(one, None, is_cut=is_cut))
        find(one, None)
        await one.told()
        assert await one.budget() == (2, 0)
        assert (await one.counts()).unsettled == 2


async def test_what_upstream_had_not_accepted_costs_nothing(engine: Engine) -> None:
    async with office(engine.url) as one:
        gone = Office(engine.url, None, 1.0, "refuse")
        await gone.open()
        gone.limit(budget_usd_per_day=Decimal(5), max_concurrent=1)
        await gone.start()
        await gone.die()
        assert await one.budget() == (0, 1)
        await one.bury(gone)
        assert await one.budget() == (0, 0)
        assert not one.sought
        one.limit(max_concurrent=1)
        (await one.start()).give_back()


async def test_whoever_has_no_limits_is_settled_too(engine: Engine) -> None:
    async with office(engine.url) as one:
        gone = Office(engine.url, None, 1.0, "refuse")
        await gone.open()
        (await gone.start()).opened(Played("x").stream)
        await gone.told()
        await gone.die()
        await one.bury(gone)
        find(one)
        await one.told()
        assert await one.counts() == TOLD


async def test_the_undertaker_dies_too(engine: Engine) -> None:
    async with office(engine.url) as last:
        undertaker = Office(engine.url, None, 1.0, "refuse")
        await undertaker.open()
        gone = await lost(last, None)
        await undertaker.bury(gone)
        await undertaker.told()
        await undertaker.die()
        await last.bury(gone)
        assert not last.sought
        await last.bury(undertaker)
        find(last)
        await last.told()
        assert await last.budget() == (0.25, 0)
        assert await last.counts() == TOLD


async def test_a_book_is_taken_up_again_after_others_have_settled_it(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    async with office(engine.url) as one:
        for number, is_cut in enumerate((True, False), 1):
            gone = await lost(one, path, is_cut=is_cut)
            await one.bury(gone)
            find(one)
            await one.told()
            async with office(engine.url, path) as again:
                assert again.ledger.book == gone.ledger.book
                find(again, 0.75)  # asked as well, and later
                await again.told()
                await until(partial(_is_done, again))
                sum_ = UsageCounts(number, number, 2 * number, number * NANOS // 4, number * NANOS // 4, 0)
                for each in (one, again):
                    assert await each.budget() == (number / 4, 0)
                    assert await each.counts() == sum_
                assert await again.own() == sum_


async def test_a_book_is_taken_up_again_before_anybody_else_has(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    async with office(engine.url) as one:
        gone = await lost(one, path)
        async with office(engine.url, path) as again:
            assert await again.budget() == (0, 1)
            await one.bury(gone)
            assert not one.sought
            find(again)
            await again.told()
            assert await one.budget() == await again.budget() == (0.25, 0)
            assert await one.counts() == await again.own() == TOLD


async def test_the_undertaker_and_who_comes_again_settle_once(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    async with office(engine.url) as one:
        gone = await lost(one, path)
        await one.bury(gone)
        await one.told()
        async with office(engine.url, path) as again:
            await again.told()
            find(again)
            find(one)
            await asyncio.gather(one.told(), again.told())
            assert await one.budget() == await again.budget() == (0.25, 0)
            assert await one.counts() == await again.own() == TOLD
            assert not one.journal.entries
            assert not again.journal.entries


async def test_who_only_stood_still_counts_what_others_have_settled(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as paused:
        paused.limit(budget_usd_per_day=Decimal(5))
        leases = {name: await paused.start(name=name) for name in ("told", "cut", "late")}
        played = {name: Played(name) for name in leases}
        for name, lease in leases.items():
            lease.opened(played[name].stream)
        await paused.told()
        await one.bury(paused)
        await one.told()
        leases["late"].end(played["late"].costs(0.5))  # before the undertaker knows
        await paused.told()
        find(one)
        await one.told()
        leases["told"].end(played["told"].costs(0.5))
        leases["cut"].end(played["cut"].cut())
        await paused.told()
        leases["cut"].settled(played["cut"].costs(0.5))
        await paused.told()
        await until(lambda: not paused.journal.entries and not one.journal.entries)
        expected = UsageCounts(3, 3, 6, NANOS, NANOS, 0)
        assert await one.counts() == await paused.counts() == await paused.own() == expected
        assert await one.budget() == await paused.budget() == (1, 0)


async def test_who_ends_leaves_what_is_looked_up_to_the_others(engine: Engine) -> None:
    async with office(engine.url) as one:
        async with office(engine.url) as leaving:
            lease, played = await leaving.start(), Played("x")
            lease.opened(played.stream)
            lease.end(played.cut())
        with engine.admin() as admin:
            assert admin.zscore(one.store.keys.live, leaving.store.rid) == 0
        await one.bury(leaving)
        find(one)
        await one.told()
        assert await one.counts() == TOLD

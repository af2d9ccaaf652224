"""The engine is gone, frozen, or comes back empty: no budget is overrun, and nothing that was counted is lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from client.errors import Refusal
from client.streams.elsewhere import StoreUnavailable
from server.budgets.ledger_file import UsageCounts
from tests.shared.money.offices import Office, Played, ask, office
from tests.shared.waiting import until
from tests.support.engines import Engine

NANOS = 10**9


async def spend(one: Office, dollars: float, name: str = "x") -> None:
    lease, played = await one.start(name=name), Played(name)
    lease.opened(played.stream)
    lease.end(played.costs(dollars))


async def emptied(engine: Engine, *offices: Office) -> None:
    """The engine has lost everything, and everybody has put back what it knows."""
    before = {one: one.store.epoch for one in offices}
    engine.empty()
    await until(lambda: all(one.store.has_contact and one.store.epoch != before[one] for one in offices))
    for one in offices:
        await one.told()


@pytest.mark.parametrize("has_files", [True, False])
async def test_an_emptied_engine_is_given_sums_and_holds_again(
    engine: Engine, tmp_path: Path, has_files: bool
) -> None:
    paths = [tmp_path / f"{number}.sqlite" if has_files else None for number in range(2)]
    async with office(engine.url, paths[0]) as one, office(engine.url, paths[1]) as other:
        for each in (one, other):
            each.limit(budget_usd_per_day=Decimal(10))
        for number, each in enumerate((one, other, one)):
            await spend(each, 0.5, f"x{number}")
        cut, played = await one.start(), Played("cut")
        cut.opened(played.stream)
        cut.end(played.cut())
        running, still = await other.start(), Played("runs")
        running.opened(still.stream)
        for each in (one, other):
            await each.told()
        assert await one.budget() == (1.5, 2)
        counts = await one.counts()
        await emptied(engine, one, other)
        assert await one.budget() == await other.budget() == (1.5, 2)
        assert await one.counts() == await other.counts() == counts
        cut.settled(played.costs(0.25))
        running.end(still.costs(0.25))
        for each in (one, other):
            await each.told()
        assert await one.budget() == await other.budget() == (2, 0)
        assert await one.counts() == await other.counts() == UsageCounts(5, 5, 10, 2 * NANOS, 2 * NANOS, 0)


async def test_nobody_with_a_budget_is_admitted_while_others_may_still_put_back(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        for each in (one, other):
            each.limit(budget_usd_per_day=Decimal(1))
        await spend(one, 1)
        await one.told()
        before = other.store.epoch
        engine.empty()
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                await other.start_now()
        await until(lambda: other.store.epoch != before and not other.store.may_lack and other.store.has_contact)
        with pytest.raises(Refusal, match=r"has spent 1\.00 USD"):
            await other.start()
        one.limit(budget_usd_per_day=None)
        (await one.start()).give_back()


async def test_what_was_looked_up_for_others_is_not_lost_with_the_engine(engine: Engine) -> None:
    async with office(engine.url) as one:
        gone = Office(engine.url, None, 1.0, "refuse")
        await gone.open()
        (await gone.start()).opened(Played("x").stream)
        await gone.told()
        await gone.die()
        await one.bury(gone)
        await one.told()
        await emptied(engine, one)
        (answer,) = one.sought
        answer.settlement.state({"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 2})
        answer.note_settled()
        await one.told()
        assert await one.counts() == UsageCounts(1, 1, 2, NANOS // 4, NANOS // 4, 0)
        assert await one.budget() == (0.25, 0)


async def test_without_contact_who_has_a_budget_is_refused_and_nobody_waits(engine: Engine) -> None:
    async with office(engine.url) as one:
        one.limit(budget_usd_per_day=Decimal(5), max_concurrent=3)
        await spend(one, 1)
        await one.told()
        engine.kill()
        await until(lambda: not one.store.has_contact)
        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                await one.start_now()
        with pytest.raises(StoreUnavailable):
            await one.admission.budget_of(one.ann)
        with pytest.raises(StoreUnavailable):
            await one.admission.usage(one.today, one.today, "ann")
        one.limit(budget_usd_per_day=None)
        for number in range(3):
            await one.start(name=f"s{number}")
        with pytest.raises(Refusal, match="ann may run 3 answers at once, and 3 are running"):
            await one.start()


async def test_or_is_served_by_what_this_process_knows(engine: Engine) -> None:
    async with office(engine.url, when_lost="serve") as one, office(engine.url) as other:
        one.limit(budget_usd_per_day=Decimal(3))
        await spend(one, 1)
        await one.told()
        engine.kill()
        await until(lambda: not one.store.has_contact and not other.store.has_contact)
        leases = [await one.start(name=f"s{number}") for number in range(2)]
        with pytest.raises(Refusal, match=r"has spent 1\.00 USD .* under way may still cost 2\.00 USD"):
            await one.start()
        leases[0].end(Played("a").costs(0.5))
        engine.start()
        await until(lambda: one.store.has_contact and other.store.has_contact)
        leases[1].end(Played("b").costs(0.5))
        await one.told()
        assert await other.counts() == UsageCounts(3, 3, 6, 2 * NANOS, 2 * NANOS, 0)
        assert await other.budget() == (2, 0)


@pytest.mark.parametrize("loss", ["killed", "frozen"])
async def test_what_ends_without_contact_is_told_afterwards(engine: Engine, loss: str) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        leases = {name: await one.start(name=name) for name in ("told", "cut", "back", "later")}
        played = {name: Played(name) for name in leases}
        for name in ("told", "cut", "later"):
            leases[name].opened(played[name].stream)
        await one.told()
        if loss == "killed":
            engine.kill()
        else:
            engine.freeze()
        await until(lambda: not one.store.has_contact)
        leases["told"].end(played["told"].costs(0.5))
        leases["cut"].end(played["cut"].cut())
        leases["back"].give_back()
        await spend(one, 1, "unheard")
        if loss == "killed":
            engine.start()
        else:
            engine.thaw()
        await until(lambda: one.store.has_contact and other.store.has_contact)
        await one.told()
        assert await other.counts() == UsageCounts(3, 2, 4, 5 * NANOS // 2, 3 * NANOS // 2, 1)
        leases["cut"].settled(played["cut"].costs(0.25))
        leases["later"].end(played["later"].costs(0.25))
        await one.told()
        assert await other.counts() == await one.own() == UsageCounts(4, 4, 8, 2 * NANOS, 2 * NANOS, 0)
        assert await other.budget() == (2, 0)
        assert not one.journal.entries


async def test_what_a_killed_process_could_not_tell_is_told_by_the_next(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    async with office(engine.url) as other:
        gone = Office(engine.url, path, 1.0, "refuse")
        await gone.open()
        leases = {name: await gone.start(name=name) for name in ("told", "cut", "runs")}
        played = {name: Played(name) for name in leases}
        for name, lease in leases.items():
            lease.opened(played[name].stream)
        await gone.told()
        engine.freeze()
        await until(lambda: not gone.store.has_contact)
        leases["told"].end(played["told"].costs(0.5))
        leases["cut"].end(played["cut"].cut())
        await spend(gone, 1, "unheard")
        await gone.ledger.save()
        await gone.die()
        engine.thaw()
        await until(lambda: other.store.has_contact)
        async with office(engine.url, path) as again:
            await again.told()
            await other.bury(gone)
            assert not other.sought
            assert (
                await other.counts() == await again.own() == UsageCounts(4, 2, 4, 5 * NANOS // 2, 3 * NANOS // 2, 2)
            )
            assert await other.budget() == (1.5, 1)
            for answer in again.sought:
                answer.settlement.state({"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 2})
                answer.note_settled()
            await again.told()
            assert await other.counts() == await again.own() == UsageCounts(4, 4, 8, 2 * NANOS, 2 * NANOS, 0)
            assert await other.budget() == (2, 0)


async def test_a_book_from_before_the_engine_is_told_as_a_whole(engine: Engine, tmp_path: Path) -> None:
    """Also after an engine that lost its data while the book's process was gone."""
    path = tmp_path / "usage.sqlite"
    async with office(engine.url, path) as one:
        await spend(one, 1)
    for _ in range(2):
        engine.empty()
        async with office(engine.url, path) as again, office(engine.url) as other:
            await again.told()
            assert await other.counts() == UsageCounts(1, 1, 2, NANOS, NANOS, 0)
            assert await other.budget() == (1, 0)


async def test_the_engine_remembers_no_more_than_somebody_may_ask_for(engine: Engine, tmp_path: Path) -> None:
    async with office(engine.url, tmp_path / "usage.sqlite") as one:
        for number in range(20):
            await spend(one, 0.1, f"x{number}")
        await one.told()
        with engine.admin() as admin:
            await until(lambda: not admin.exists(one.journal.accounts.key("ann", "settled")))
            assert not admin.exists(one.journal.accounts.key("ann", "open"))
            for name in ("acct", f"spent:{one.ledger.today}", f"usage:{one.ledger.today}"):
                assert admin.pttl(one.journal.accounts.key("ann", name)) > 0
        await until(lambda: not one.journal.entries and not one.journal._forget)


async def test_what_was_told_and_not_written_is_written_by_the_next(engine: Engine, tmp_path: Path) -> None:
    """So that it can be put back, should the engine lose it later."""
    path = tmp_path / "usage.sqlite"
    gone = Office(engine.url, path, 1.0, "refuse")
    await gone.open()
    await spend(gone, 0.25, "written")
    leases = {name: await gone.start(name=name) for name in ("cut", "runs", "ended")}
    played = {name: Played(name) for name in leases}
    for name, lease in leases.items():
        lease.opened(played[name].stream)
    leases["cut"].end(played["cut"].cut())
    await gone.told()
    await gone.ledger.save()
    gone.ledger.save = gone.ledger._write = asyncio.Event().wait  # type: ignore[method-assign, assignment]
    leases["ended"].end(played["ended"].costs(0.25))
    await spend(gone, 0.5, "unwritten")
    await gone.told()
    await gone.die()
    async with office(engine.url) as other:
        await other.bury(gone)
        for answer in other.sought:
            answer.settlement.state({"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 2})
            answer.note_settled()
        await other.told()
        async with office(engine.url, path) as again:
            await again.told()
            for answer in again.sought:
                answer.note_settled()
            await again.told()
            await until(lambda: not again.journal.entries)
            everything = UsageCounts(5, 5, 10, 3 * NANOS // 2, 3 * NANOS // 2, 0)
            assert await other.counts() == await again.counts() == await again.own() == everything
            await emptied(engine, other, again)
            assert await other.counts() == await again.counts() == everything
            assert await other.budget() == (1.5, 0)


@pytest.mark.parametrize("broken", ["acct", "usage"])
async def test_an_account_that_the_engine_cannot_take_keeps_nobody_else_waiting(engine: Engine, broken: str) -> None:
    """Here somebody has written to one of its keys."""
    async with office(engine.url) as one:
        await spend(one, 0.25, "first")
        await one.told()
        name = f"usage:{one.ledger.today}" if broken == "usage" else broken
        with engine.admin() as admin:
            admin.set(one.journal.accounts.key("bob", name), "x")
        for number in range(3):
            lease, played = await one.admission.admit(ask(), "bob", f"b{number}"), Played(f"b{number}")
            played.owner = "bob"
            lease.end(played.costs(0.25))
            await spend(one, 0.25, f"a{number}")
        await until(lambda: {entry.caller for entry in one.journal.entries.values()} == {"bob"})
        assert one.store.has_contact
        assert await one.budget() == (1, 0)
        with engine.admin() as admin:
            admin.delete(one.journal.accounts.key("bob", name))
        await one.told()
        assert not one.journal.entries
        rows = await one.admission.usage(one.today, one.today, "bob")
        assert [counts.cost_nano for counts in rows.values()] == [3 * NANOS // 4]

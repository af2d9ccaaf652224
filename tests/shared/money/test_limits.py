"""Limits of one caller over two processes: what one lets through, the other counts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from client.errors import Refusal
from client.streams.elsewhere import StoreUnavailable
from server.budgets.ledger_file import UsageCounts
from tests.shared.money.offices import Office, Played, office
from tests.shared.waiting import until
from tests.support.engines import Engine

NANOS = 10**9


async def refusal(one: Office, tokens: int = 1000) -> tuple[int, float | None, str]:
    with pytest.raises(Refusal) as caught:
        await one.start(tokens)
    failure = caught.value.failure
    return failure.status, failure.retry_after_s, failure.error


async def test_a_budget_for_ten_lets_ten_of_a_thousand_through(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.tcp_url) as other:
        for each in (one, other):
            each.limit(budget_usd_per_day=Decimal(10))

        async def tried(number: int) -> Any:
            try:
                return await (one, other)[number % 2].start(name=f"s{number}")
            except StoreUnavailable:
                raise
            except Refusal:
                return None

        leases = await asyncio.gather(*(tried(number) for number in range(1000)))
        assert sum(lease is not None for lease in leases) == 10
        await one.told()
        await other.told()
        assert await one.budget() == (0, 10)
        for lease in leases:
            if lease is not None:
                lease.end(Played().costs(1))
        await one.told()
        await other.told()
        assert await one.budget() == await other.budget() == (10, 0)
        assert await one.counts() == await other.counts() == UsageCounts(10, 10, 20, 10 * NANOS, 10 * NANOS, 0)
        status, _, said = await refusal(other, 1)
        assert (status, "ann has spent 10.00 USD of its budget of 10.00 USD a day; it resets at" in said) == (
            429,
            True,
        )


async def test_answers_at_once_are_counted_over_both(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        for each in (one, other):
            each.limit(max_concurrent=2)
        first, second = await one.start(), await other.start()
        for each in (one, other):
            status, retry_after_s, said = await refusal(each)
            assert (status, retry_after_s) == (429, 5)
            assert said == "ann may run 2 answers at once, and 2 are running; try again when one has ended."
        first.end(Played().costs(0))
        await one.told()
        third = await other.start()
        for lease in (second, third):
            lease.give_back()
        await other.told()
        for lease in [await one.start(), await one.start()]:
            lease.give_back()


async def test_starts_of_a_minute_are_counted_over_both(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        for each in (one, other):
            each.limit(requests_per_minute=2)
        (await one.start()).give_back()
        (await other.start()).give_back()
        for each in (one, other):
            status, retry_after_s, said = await refusal(each)
            assert status == 429
            assert retry_after_s is not None
            assert 50 < retry_after_s <= 60
            assert said == "ann may start 2 answers a minute; try again later."


async def test_a_lone_answer_may_cost_more_than_is_left_but_only_alone(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        for each in (one, other):
            each.limit(budget_usd_per_day=Decimal("0.5"))
        lease = await one.start(1000)
        assert await other.budget() == (0, 0.5)
        status, retry_after_s, said = await refusal(other, 100)
        assert (status, retry_after_s) == (429, 5)
        assert said.startswith(
            "ann has spent 0.00 USD of its budget of 0.50 USD a day, answers under way may still cost 0.50 USD, and "
            "this one 0.10 USD; try again when one has ended, or with a smaller max_tokens; the budget resets at "
        )
        lease.end(Played().costs(0.25))
        await one.told()
        (await other.start(1000)).give_back()
        await other.told()
        assert await other.budget() == (0.25, 0)


async def test_callers_without_limits_never_wait_for_the_engine(engine: Engine) -> None:
    async with office(engine.url) as one, office(engine.url) as other:
        await one.start()
        engine.freeze()
        try:
            starting = one.start_now()
            with pytest.raises(StopIteration) as started:  # in one turn of the loop
                starting.send(None)
            lease = started.value.value
        finally:
            engine.thaw()
        played = Played("u")
        lease.opened(played.stream)
        lease.end(played.costs(2))
        await one.told()
        await until(lambda: one.store.has_contact and other.store.has_contact)
        await one.told()
        assert await one.counts() == await other.counts() == UsageCounts(1, 1, 2, 2 * NANOS, 2 * NANOS, 0)


async def test_counters_that_have_drifted_refuse_nobody(engine: Engine) -> None:
    """They are counted anew before anybody is refused."""
    async with office(engine.url) as one:
        one.limit(budget_usd_per_day=Decimal(2), max_concurrent=2)
        lease = await one.start()
        key = one.journal.accounts.key("ann", "acct")
        day = one.ledger.today
        with engine.admin() as admin:
            admin.hset(key, mapping={"running": 50, f"held:{day}": 10**12, f"number:{day}": 7})
        other = await one.start()
        with engine.admin() as admin:
            assert admin.hmget(key, "running", f"held:{day}") == [b"2", str(2 * NANOS).encode()]
        assert (await refusal(one))[0] == 429
        lease.give_back()
        other.give_back()


async def test_what_was_granted_without_an_answer_is_given_back(engine: Engine) -> None:
    """The engine stands still, the caller is told so within a second, and the place is free when it goes on."""
    async with office(engine.url, lease_s=5) as one:
        one.limit(budget_usd_per_day=Decimal(1))
        (await one.start()).give_back()
        await one.told()
        engine.freeze()
        try:
            for _ in range(3):
                async with asyncio.timeout(5):
                    with pytest.raises(StoreUnavailable):
                        await one.start_now()
        finally:
            engine.thaw()
        async with asyncio.timeout(20):
            while True:
                try:
                    lease = await one.start()
                    break
                except Refusal:
                    await asyncio.sleep(0.05)
        await one.told()
        assert await one.budget() == (0, 1)
        lease.give_back()
        await one.told()
        assert await one.budget() == (0, 0)

"""One fetch for all callers, kept for a while, and what is given while it cannot be renewed (quirk Q107)."""

from __future__ import annotations

import asyncio

import pytest

from client.errors import Failure, OpenRouterError
from client.models.single_flight import RETRY_AFTER_S, SingleFlight


class Source:
    """Gives 1, 2, 3 …; waits for `gate`; fails while `down`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def fetch(self) -> int:
        self.asked += 1
        number = self.asked
        self.ended.clear()
        self.started.set()
        await self.gate.wait()
        if self.down:
            raise OpenRouterError(Failure(f"down {number}", "upstream_unavailable", 502, True))
        self.ended.set()
        return number

    def kept(self, ttl_s: float = 10.0, patience_s: float = 5.0) -> SingleFlight[int]:
        return SingleFlight(self.fetch, ttl_s=ttl_s, patience_s=patience_s, clock=lambda: self.now_s)


async def test_fifty_callers_share_one_fetch() -> None:
    source = Source()
    kept = source.kept(ttl_s=0)
    assert await asyncio.gather(*(kept.get() for _ in range(50))) == [(1, False)] * 50
    assert source.asked == 1


async def test_a_caller_who_leaves_does_not_take_the_fetch_from_the_others() -> None:
    source = Source()
    source.gate.clear()
    kept = source.kept()
    leaver, stayer = asyncio.create_task(kept.get()), asyncio.create_task(kept.get())
    await source.started.wait()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    source.gate.set()
    assert (await stayer, source.asked) == ((1, False), 1)


async def test_a_fetch_that_fails_after_everybody_left_is_no_trouble() -> None:
    source = Source()
    source.gate.clear()
    kept = source.kept()
    leaver = asyncio.create_task(kept.get())
    await source.started.wait()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    source.down = True
    source.gate.set()
    with pytest.raises(OpenRouterError, match="down 1"):
        await kept.get()


async def test_a_value_is_fresh_until_its_ttl_and_then_renewed() -> None:
    source = Source()
    kept = source.kept(ttl_s=10)
    ages = [kept.age_s]
    assert await kept.get() == (1, False)
    source.now_s = 9.9
    assert await kept.get() == (1, False)
    ages.append(kept.age_s)
    source.now_s = 10
    assert await kept.get() == (2, False)
    ages.append(kept.age_s)
    assert ages == [None, 9.9, 0]


async def test_q107_an_old_value_is_given_as_stale_while_upstream_is_down_and_upstream_is_not_hammered() -> None:
    source = Source()
    kept = source.kept(ttl_s=10)
    await kept.get()
    source.now_s, source.down = 100, True
    assert [await kept.get() for _ in range(3)] == [(1, True)] * 3
    assert source.asked == 2
    source.now_s += RETRY_AFTER_S
    assert (await kept.get(), source.asked) == ((1, True), 3)
    source.down = False
    assert await kept.get() == (1, True)
    source.now_s += RETRY_AFTER_S
    assert await kept.get() == (4, False)


async def test_a_renewal_that_takes_too_long_gives_the_old_value_and_goes_on() -> None:
    source = Source()
    kept = source.kept(ttl_s=10, patience_s=0)
    assert await kept.get() == (1, False)
    source.now_s = 10
    source.gate.clear()
    assert [await kept.get(), await kept.get()] == [(1, True), (1, True)]
    source.gate.set()
    await source.ended.wait()
    assert (await kept.get(), source.asked) == ((2, False), 2)


async def test_without_a_value_the_error_is_everybodys_and_the_next_caller_tries_again() -> None:
    source = Source()
    source.down = True
    kept = source.kept()
    results = await asyncio.gather(kept.get(), kept.get(), return_exceptions=True)
    assert [str(result) for result in results] == ["down 1", "down 1"]
    source.down = False
    assert await kept.get() == (2, False)


async def test_closing_ends_the_fetch() -> None:
    source = Source()
    source.gate.clear()
    kept = source.kept()
    await kept.aclose()
    caller = asyncio.create_task(kept.get())
    await source.started.wait()
    await kept.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert kept.held is None


async def test_who_cannot_wait_has_the_value_renewed_in_the_background() -> None:
    source = Source()
    kept = source.kept()
    kept.refresh()
    await source.ended.wait()
    kept.refresh()
    assert (kept.held is None, source.asked) == (False, 1)
    source.now_s, source.down = 11.0, True
    kept.refresh()
    assert await kept.get() == (1, True)
    kept.refresh()
    assert source.asked == 2  # not hammered

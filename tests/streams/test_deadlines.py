"""Who waits is called at about the time asked for, never before it, and by few timers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.streams.deadlines import Deadlines, deadlines_of


class Clock:
    """A loop's timers, as far as they are needed."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[tuple[float, Callable[[float], None], float]] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, call: Callable[[float], None], time_s: float, context: Any) -> None:
        self.timers.append((when_s, call, time_s))

    def run(self) -> None:
        while self.timers:
            self.timers.sort(key=lambda timer: timer[0])
            when_s, call, time_s = self.timers.pop(0)
            self.now_s = max(self.now_s, when_s)
            call(time_s)


class Waiting:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.called_s: list[float] = []

    def due(self) -> None:
        self.called_s.append(self.clock.now_s)


def deadlines() -> tuple[Clock, Deadlines]:
    clock = Clock()
    return clock, Deadlines(cast(asyncio.AbstractEventLoop, clock))


@given(st.floats(min_value=-5, max_value=100_000))
def test_nobody_is_called_early_nor_much_too_late(wait_s: float) -> None:
    clock, found = deadlines()
    waiting, when_s = Waiting(clock), clock.now_s + wait_s
    found.add(waiting, when_s)
    clock.run()
    [called_s] = waiting.called_s
    assert called_s >= when_s
    assert called_s <= max(when_s, 1000.0) + min(max(wait_s, 0) / 16 + 0.0001, max(1.0, wait_s / 512))


def test_a_thousand_who_wait_for_about_the_same_time_take_few_timers() -> None:
    clock, found = deadlines()
    everybody = [Waiting(clock) for _ in range(1000)]
    for number, waiting in enumerate(everybody):
        clock.now_s = 1000 + number / 1000
        found.add(waiting, clock.now_s + 15)
    assert len(clock.timers) <= 4
    clock.run()
    assert all(len(waiting.called_s) == 1 for waiting in everybody)


def test_who_is_discarded_is_not_called() -> None:
    clock, found = deadlines()
    first, second = Waiting(clock), Waiting(clock)
    found.add(first, clock.now_s + 1).discard(first)
    found.add(second, clock.now_s + 1)
    clock.run()
    assert (first.called_s, len(second.called_s)) == ([], 1)


def test_who_fails_keeps_nobody_else_from_being_called(caplog: pytest.LogCaptureFixture) -> None:
    clock, found = deadlines()
    last = Waiting(clock)

    class Failing:
        def due(self) -> None:
            raise ValueError("it fails")

    for _ in range(5):
        found.add(Failing(), clock.now_s + 1)
    found.add(last, clock.now_s + 1)
    with caplog.at_level(logging.ERROR):
        clock.run()
    assert len(last.called_s) == 1
    assert caplog.text.count("something that was due failed") == 5


def test_who_is_called_may_wait_again() -> None:
    clock, found = deadlines()

    class Again(Waiting):
        def due(self) -> None:
            super().due()
            if len(self.called_s) < 3:
                found.add(self, clock.now_s + 1)

    again = Again(clock)
    found.add(again, clock.now_s + 1)
    clock.run()
    assert len(again.called_s) == 3


def test_every_loop_has_its_own() -> None:
    async def those() -> Deadlines:
        loop = asyncio.get_running_loop()
        assert deadlines_of(loop) is deadlines_of(loop)
        return deadlines_of(loop)

    assert asyncio.run(those()) is not asyncio.run(those())


@pytest.mark.parametrize("wait_s", [300.0, 86_400.0, 31_622_400.0])
def test_a_long_limit_leaves_few_timers(wait_s: float) -> None:
    """One that is set anew every second for as long as it is."""
    clock = Clock()
    deadlines = Deadlines(cast(asyncio.AbstractEventLoop, clock))
    for second in range(100_000):
        clock.now_s = 1000.0 + second * wait_s / 100_000
        deadlines.add(Waiting(clock), clock.now_s + wait_s).clear()
    assert len(clock.timers) < 1100

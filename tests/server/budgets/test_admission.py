"""Limits of a caller: who is admitted, what is reserved, and what is left of it when the cost is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import StreamsConfig, UpstreamConfig
from client.errors import Refusal
from client.models.costs import NANOS, estimate_nano_usd
from client.sandbox import DONE, HangUp, Hold, Reply, Sandbox, chunk
from client.streams.settlement import Settled, Settlement
from client.streams.stream import Stream
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from server.access.callers import Caller
from server.budgets.admission import Admission
from server.budgets.ledger import DAY_S, Ledger
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from tests.support.chunks import event

NOON_S = 20_000 * DAY_S + DAY_S / 2
DAY = "2024-10-04"
MODEL = {"id": "acme/m", "pricing": {"prompt": "0", "completion": "0.001"}, "top_provider": {}}
FREE = {"id": "acme/free", "pricing": {"prompt": "0", "completion": "0"}}
KNOWN: dict[str, dict[str, Any]] = {"acme/m": MODEL, "acme/free": FREE}


@dataclass
class Office:
    """An admission with clocks that a test moves, and one caller, `ann`, whose limits it sets."""

    ann: Caller = field(default_factory=lambda: Caller("ann"))
    now_s: float = NOON_S

    def __post_init__(self) -> None:
        self.ledger = Ledger(None, clock=lambda: self.now_s)
        self.admission = Admission(
            self.ledger,
            lambda name: self.ann if name == "ann" else None,
            KNOWN.get,
            clock=lambda: self.now_s,
        )

    def limit(self, **limits: Any) -> None:
        self.ann = replace(self.ann, **limits)

    def budget(self) -> tuple[float, float]:
        """Spent and reserved, USD."""
        state = self.admission.budget_here(self.ann)
        assert state is not None
        return state.spent_nano / NANOS, state.reserved_nano / NANOS

    async def counts(self) -> UsageCounts:
        """Ann's figures of all models together."""
        total = UsageCounts()
        for counts in (await self.ledger.read(date(1, 1, 1), date(9999, 1, 1), "ann")).values():
            total.add(counts)
        return total


def ask(tokens: int = 1000, **more: Any) -> dict[str, Any]:
    """A request that may cost a USD per 1,000 tokens."""
    return {
        "model": "acme/m",
        "messages": [{"role": "user", "content": "?"}],
        "max_tokens": tokens,
        "stream": True,
        **more,
    }


def refusal(office: Office, body: dict[str, Any], owner: str = "ann") -> tuple[str, int, float | None, str]:
    with pytest.raises(Refusal) as caught:
        office.admission.grant(body, owner)
    failure = caught.value.failure
    return failure.type, failure.status, failure.retry_after_s, failure.error


@asynccontextmanager
async def running(office: Office, upstream: Sandbox, *, max_retries: int = 0) -> AsyncIterator[Streams]:
    """Streams that ask the office."""
    config = UpstreamConfig(base_url=upstream.base_url, max_retries=max_retries)
    async with create_session(config) as session:
        streams = Streams(OpenRouterClient(session, config), StreamsConfig(grace_s=0), admit=office.admission.admit)
        async with asyncio.timeout(10):
            yield streams
            await streams.aclose()


def answer(cost: float | None, *steps: Any) -> Reply:
    usage = {"prompt_tokens": 3, "completion_tokens": 5} | ({} if cost is None else {"cost": cost})
    return Reply.stream(*steps, chunk({"content": "x"}), chunk({}, "stop"), chunk({}, "stop", usage=usage), DONE)


# -- models, rate, concurrency ------------------------------------------------------------------------------------


def test_only_the_models_of_the_list_may_be_asked_for_also_as_fallbacks() -> None:
    office = Office()
    office.limit(models=("acme/*", "other/fine"))
    office.admission.grant(ask(models=["acme/m", "other/fine"]), "ann")
    for body in (ask(model="other/m"), ask(models=["acme/m", "other/m"]), ask(model="ACME/m")):
        type_, status, retry_after_s, error = refusal(office, body)
        assert (type_, status, retry_after_s) == ("forbidden", 403, None)
        assert "acme/*, other/fine" in error


def test_no_minute_holds_more_starts_than_allowed_and_the_wait_is_told() -> None:
    office = Office()
    office.limit(requests_per_minute=3)
    for later_s in (0, 10, 10):
        office.now_s += later_s
        office.admission.grant(ask(), "ann")
    assert refusal(office, ask())[:3] == ("too_many_requests", 429, 40.0)
    office.now_s += 39.5
    assert refusal(office, ask())[2] == 1.0
    office.now_s += 0.5
    office.admission.grant(ask(), "ann")
    assert refusal(office, ask())[2] == 10.0
    office.limit(requests_per_minute=1)  # as a reload may
    assert refusal(office, ask())[2] == 60.0


def test_what_was_refused_takes_nothing_of_any_limit() -> None:
    office = Office()
    office.limit(requests_per_minute=2, max_concurrent=1, budget_usd_per_day=Decimal(5))
    office.admission.grant(ask(), "ann")
    for _ in range(10):
        assert "at once" in refusal(office, ask())[3]
    assert office.budget() == (0, 1)
    office.limit(max_concurrent=2)
    office.admission.grant(ask(), "ann")
    assert "a minute" in refusal(office, ask())[3]


def test_others_are_not_bound_by_a_callers_limits() -> None:
    office = Office()
    office.limit(requests_per_minute=1, max_concurrent=1, budget_usd_per_day=Decimal(1))
    office.admission.grant(ask(), "ann")
    refusal(office, ask())
    for _ in range(100):
        office.admission.grant(ask(10**6), "bob")


@pytest.mark.parametrize("way", ["whole", "refused", "cut", "stopped", "abandoned", "unreachable"])
async def test_however_an_answer_ends_its_place_is_free_again(upstream: Sandbox, way: str) -> None:
    office = Office()
    office.limit(max_concurrent=1, budget_usd_per_day=Decimal(10))
    upstream.script(Reply.error(429, "no") if way == "refused" else answer(0.5))
    if way in ("stopped", "abandoned"):
        upstream.clear_scripts()
        upstream.script(answer(0.5, Hold(asyncio.Event())))
    model = {"cut": "sandbox/hangs-up"}.get(way, "acme/m")
    if way == "cut":
        upstream.clear_scripts()
    async with running(office, upstream) as streams:
        if way == "unreachable":
            streams._openrouter = OpenRouterClient(
                streams._openrouter._session, UpstreamConfig(base_url="http://127.0.0.1:9", max_retries=0)
            )
        stream = await streams.start(ask(model=model), owner="ann")
        assert refusal(office, ask())[:3] == ("too_many_requests", 429, 5.0)
        if way in ("stopped", "abandoned"):
            await upstream.wait_call()
            stream.stop(way)
        await stream.ended.wait()
        office.admission.grant(ask(), "ann")


# -- budgets ------------------------------------------------------------------------------------------------------


async def test_a_thousand_answers_at_once_against_a_budget_for_ten_over_and_over(upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script_always(answer(0.25, Hold(go_on)))
    for round_ in range(20):
        office = Office()
        office.limit(budget_usd_per_day=Decimal(10))
        go_on.clear()
        async with running(office, upstream) as streams:
            started = [stream for _ in range(1000) if (stream := await _try_start(streams)) is not None]
            assert len(started) == 10
            await upstream.wait_call((round_ + 1) * 10 - 1)
            assert office.budget() == (0, 10)
            go_on.set()
            await streams.wait_idle()
        assert office.budget() == (2.5, 0)
        assert (await office.counts()).requests == 10
    assert len(upstream.calls) == 200


HOSTILE: list[dict[str, Any]] = [
    {"prompt_tokens": -(10**9), "completion_tokens": 1},
    {"prompt_tokens": 1, "completion_tokens": -5, "cost": -1000},
    {"cost": float("nan")},
    {"cost": float("-inf"), "is_byok": True, "cost_details": {"upstream_inference_cost": float("inf")}},
    {"prompt_tokens": "all", "completion_tokens": [], "cost": {"usd": 1}},
]


async def test_a_thousand_answers_at_once_against_a_budget_for_ten_and_an_upstream_that_states_nonsense(
    upstream: Sandbox,
) -> None:
    """break-it 8: whatever is stated, ten run, and the budget is used up by what they reserved."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(10))
    go_on = asyncio.Event()
    for number in range(10):
        usage = HOSTILE[number % len(HOSTILE)]
        upstream.script(Reply.stream(Hold(go_on), chunk({"content": "x"}), chunk({}, "stop", usage=usage), DONE))
    async with running(office, upstream) as streams:
        started = [stream for _ in range(1000) if (stream := await _try_start(streams)) is not None]
        assert len(started) == 10
        await upstream.wait_call(9)
        go_on.set()
        await streams.wait_idle()
        assert office.budget() == (10, 0)
        assert not any([await _try_start(streams) for _ in range(1000)])


async def test_places_are_free_again_whenever_callers_leave(upstream: Sandbox) -> None:
    """Answers that are stopped before their first step, while they are asked for, and while they run."""
    office = Office()
    office.limit(max_concurrent=5, budget_usd_per_day=Decimal(1000))
    go_on = asyncio.Event()
    upstream.script_always(answer(0.1, chunk({"content": "x"}), Hold(go_on)))
    async with running(office, upstream) as streams:
        for turns in range(60):
            started = [stream for _ in range(9) if (stream := await _try_start(streams)) is not None]
            assert len(started) == 5
            for _ in range(turns % 20):
                await asyncio.sleep(0)
            for stream in started:
                stream.stop(("cancelled", "abandoned")[turns % 2])
            for stream in started:
                await stream.ended.wait()
            account = office.admission._account("ann")
            assert (account.running, account.holds_on(DAY).running_nano) == (0, 0)


async def _try_start(streams: Streams) -> Stream | None:
    try:
        return await streams.start(ask(), owner="ann")
    except Refusal:
        return None


async def test_what_was_reserved_gives_way_to_the_true_cost(upstream: Sandbox) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal("2.5"))
    upstream.script(answer(0.1), answer(0.2))
    async with running(office, upstream) as streams:
        for _ in range(2):
            await streams.start(ask(), owner="ann")
        assert office.budget() == (0, 2)
        type_, status, retry_after_s, error = refusal(office, ask())
        assert (type_, status, retry_after_s) == ("too_many_requests", 429, 5.0)
        assert "answers under way may still cost 2.00 USD" in error
        assert "smaller max_tokens" in error
        await streams.wait_idle()
    assert office.budget() == (0.3, 0)
    office.admission.grant(ask(2200), "ann")


def test_a_small_budget_stays_of_use_one_answer_at_a_time() -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal("0.5"))
    office.admission.grant(ask(100_000), "ann")
    assert office.budget() == (0, 0.5)
    assert refusal(office, ask(1))[2] == 5.0


async def test_a_used_up_budget_says_how_much_and_until_when_and_is_whole_again_the_next_day(
    upstream: Sandbox,
) -> None:
    office = Office(now_s=NOON_S - 0.25)
    office.limit(budget_usd_per_day=Decimal("0.3"))
    upstream.script(answer(0.5))
    async with running(office, upstream) as streams:
        await streams.start(ask(), owner="ann")
        await streams.wait_idle()
    assert refusal(office, ask()) == (
        "too_many_requests",
        429,
        DAY_S / 2 + 1,
        "ann has spent 0.50 USD of its budget of 0.30 USD a day; it resets at 2024-10-05T00:00:00Z.",
    )
    office.admission.grant(ask(model="acme/free"), "ann")
    office.now_s += DAY_S / 2 + 0.25
    office.admission.grant(ask(300), "ann")
    assert office.budget() == (0, 0.3)


async def test_an_answer_over_midnight_belongs_to_the_day_on_which_it_began(upstream: Sandbox) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(1))
    go_on = asyncio.Event()
    upstream.script(answer(0.5, Hold(go_on)))
    async with running(office, upstream) as streams:
        await streams.start(ask(), owner="ann")
        office.now_s += DAY_S
        assert office.budget() == (0, 0)
        go_on.set()
        await streams.wait_idle()
    assert office.budget() == (0, 0)
    assert office.ledger.spent_nano(DAY, "ann") == NANOS // 2


def admitted(office: Office, tokens: int = 100) -> int:
    """How many of a hundred answers of a tenth of a USD may start."""
    count = 0
    for _ in range(100):
        with suppress(Refusal):
            office.admission.grant(ask(tokens), "ann")
            count += 1
    return count


@pytest.mark.parametrize("step_s", [10, DAY_S, 400 * DAY_S])
def test_a_clock_that_is_set_back_over_midnight_forgets_nothing(step_s: float) -> None:
    """break-it 30: what runs stays reserved on its day, however often the clock is set."""
    office = Office(now_s=20_001 * DAY_S - 5)
    office.limit(budget_usd_per_day=Decimal(1))
    found = []
    for step in (0, step_s, -step_s, step_s, 3 * step_s, -3 * step_s, -step_s):
        office.now_s += step
        found.append(admitted(office))
    assert found[:4] == [10, 10, 0, 0]
    assert found[5:] == [0, 0]


async def test_what_ends_after_the_clock_was_set_back_is_spent_on_the_day_on_which_it_began(
    upstream: Sandbox,
) -> None:
    """break-it 30: neither day loses or gains anything."""
    office = Office(now_s=20_001 * DAY_S - 5)
    office.limit(budget_usd_per_day=Decimal(1))
    go_on = asyncio.Event()
    upstream.script_always(answer(0.1, Hold(go_on)))
    async with running(office, upstream) as streams:
        await streams.start(ask(100), owner="ann")
        office.now_s += 10
        await streams.start(ask(200), owner="ann")
        assert office.budget() == (0, 0.2)
        office.now_s -= 10
        assert office.budget() == (0, 0.1)
        go_on.set()
        await streams.wait_idle()
    assert office.budget() == (0.1, 0)
    office.now_s += 10
    assert office.budget() == (0.1, 0)


async def test_a_budget_that_a_reload_brings_counts_what_was_spent_before(upstream: Sandbox) -> None:
    office = Office()
    upstream.script(answer(0.5), answer(0.5, Hold(asyncio.Event())))
    async with running(office, upstream) as streams:
        await (await streams.start(ask(), owner="ann")).ended.wait()
        await streams.start(ask(), owner="ann")
        office.limit(budget_usd_per_day=Decimal("0.4"))
        assert office.budget() == (0.5, 0)
        assert "has spent 0.50 USD" in refusal(office, ask())[3]


# -- settling -----------------------------------------------------------------------------------------------------


async def test_a_cut_answer_holds_its_reservation_until_its_cost_is_found(upstream: Sandbox) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    async with running(office, upstream) as streams:
        stream = await streams.start(ask(model="sandbox/hangs-up", sandbox={"tokens_per_s": 200}), owner="ann")
        reserved = office.budget()[1]
        await stream.ended.wait()
        assert office.budget() == (0, reserved)
        assert await office.counts() == UsageCounts(1, 0, 0, int(reserved * NANOS), 0, 1)
        await look_ups(streams)
    counts = await office.counts()
    assert 0 < counts.cost_nano == counts.settled_nano < reserved * NANOS
    assert (counts.requests, counts.completion_tokens, counts.unsettled) == (1, 8, 0)
    assert office.budget() == (counts.cost_nano / NANOS, 0)


async def look_ups(streams: Streams) -> None:
    """Returns when no cost is looked up any more; the first time is a second after the end."""
    await asyncio.gather(*streams._settler._tasks)


async def test_a_cost_that_nobody_will_ever_know_counts_as_it_was_reserved(upstream: Sandbox) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script_always(Reply.error(403, "Not yours"), path="/generation")
    async with running(office, upstream) as streams:
        await (
            await streams.start(ask(model="sandbox/hangs-up", sandbox={"tokens_per_s": 200}), owner="ann")
        ).ended.wait()
        reserved = office.budget()[1]
        await look_ups(streams)
    assert office.budget() == (reserved, 0)
    assert (await office.counts()).unsettled == 1


NINES = int("9" * 400)
SENSELESS: list[dict[str, Any]] = [
    {"total_cost": NINES}, {"total_cost": -1}, {"total_cost": 1e300}, {"total_cost": "much"}, {"total_cost": True},
    {"total_cost": 0.1, "is_byok": True, "upstream_inference_cost": -1},
    {"total_cost": NINES, "is_byok": True, "upstream_inference_cost": NINES}, {"total_cost": [1], "model": "\ud800"},
]  # fmt: skip


@pytest.mark.parametrize("record", SENSELESS, ids=lambda record: str(record)[:40])
async def test_a_looked_up_cost_that_makes_no_sense_counts_as_it_was_reserved(
    upstream: Sandbox, record: dict[str, Any]
) -> None:
    """break-it 19."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script_always(Reply.json({"data": record}), path="/generation")
    async with running(office, upstream) as streams:
        await (
            await streams.start(ask(model="sandbox/hangs-up", sandbox={"tokens_per_s": 200}), owner="ann")
        ).ended.wait()
        reserved = office.budget()[1]
        await look_ups(streams)
        assert (streams.pending_settlements, streams.figures.unsettled) == (0, 1)
    assert office.budget() == (reserved, 0)
    assert (await office.counts()).unsettled == 1


@pytest.mark.parametrize(
    "usage",
    [
        {"cost": NINES}, {"cost": -0.5}, {"cost": float("inf")}, {"cost": float("nan")}, {"cost": "x"},
        {"cost": 1e300},
        {"cost": float("inf"), "is_byok": True, "cost_details": {"upstream_inference_cost": float("-inf")}},
        {"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": NINES}},
    ],
    ids=lambda usage: str(usage)[:40],
)  # fmt: skip
async def test_a_stated_cost_that_makes_no_sense_is_an_unknown_one(upstream: Sandbox, usage: dict[str, Any]) -> None:
    """break-it 4, faults I2."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(Reply.stream(chunk({"content": "x"}), chunk({}, "stop"), chunk({}, "stop", usage=usage), DONE))
    async with running(office, upstream) as streams:
        stream = await streams.start(ask(), owner="ann")
        reserved = office.budget()[1]
        await stream.ended.wait()
        assert (stream.finish_reason, stream.settlement.total_cost) == ("stop", None)
    assert office.budget() == (reserved, 0)


@pytest.mark.parametrize("cost", [0.25, "0.25", " 2.5e-1 "])
async def test_a_cost_that_is_text_is_a_cost(upstream: Sandbox, cost: object) -> None:
    """faults I2."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(answer(cost))  # type: ignore[arg-type]
    async with running(office, upstream) as streams:
        await (await streams.start(ask(), owner="ann")).ended.wait()
    assert office.budget() == (0.25, 0)


async def test_an_answer_that_its_caller_left_before_upstream_took_it_counts_as_it_was_reserved(
    upstream: Sandbox,
) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(answer(0.1).after(Hold(asyncio.Event())))
    async with running(office, upstream) as streams:
        stream = await streams.start(ask(), owner="ann")
        await upstream.wait_call()
        stream.stop("cancelled")
        await stream.ended.wait()
    assert office.budget() == (1, 0)
    assert (await office.counts()).unsettled == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply.error(402, "No money"),
        Reply.stream(b'data: {"error": {"code": 400, "message": "bad"}}\n\n'),
        Reply.raw(b"<html>not today</html>"),
    ],
)
async def test_what_upstream_refuses_costs_nothing_and_is_not_counted(upstream: Sandbox, reply: Reply) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(reply)
    async with running(office, upstream) as streams:
        await (await streams.start(ask(), owner="ann")).ended.wait()
    assert office.budget() == (0, 0)
    assert await office.counts() == UsageCounts()


async def test_tokens_without_a_cost_are_reckoned_at_the_catalogues_price(upstream: Sandbox) -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(answer(None))
    async with running(office, upstream) as streams:
        await (await streams.start(ask(), owner="ann")).ended.wait()
    assert await office.counts() == UsageCounts(1, 3, 5, 5 * NANOS // 1000, 0, 1)
    assert office.budget() == (0.005, 0)


def told(usage: dict[str, Any]) -> Reply:
    return Reply.stream(chunk({"content": "x"}), chunk({}, "stop"), chunk({}, "stop", usage=usage), DONE)


@pytest.mark.parametrize(
    ("usage", "spent"),
    [
        ({"prompt_tokens": -5_000_000, "completion_tokens": 1}, 1),
        ({"prompt_tokens": 1, "completion_tokens": -5_000_000}, 1),
        ({"prompt_tokens": -5, "completion_tokens": -5, "cost": "x"}, 1),
        ({"prompt_tokens": "many", "completion_tokens": True}, 1),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 1),
        ({"prompt_tokens": [1], "completion_tokens": None, "cost": -1}, 1),
        ({"prompt_tokens": 3, "completion_tokens": 5.5}, 1),
        ({"prompt_tokens": 3, "completion_tokens": 5, "cost": float("inf")}, 0.005),
        ({"prompt_tokens": 3.0, "completion_tokens": "5"}, 0.005),
        ({"prompt_tokens": 3, "completion_tokens": 10**18}, 10_000),
        ({"prompt_tokens": 3, "completion_tokens": 10**400}, 10_000),
        ({"prompt_tokens": -3, "completion_tokens": 10**18, "cost": 0.25}, 0.25),
    ],
    ids=str,
)
async def test_figures_that_make_no_sense_neither_give_budget_away_nor_lose_any(
    upstream: Sandbox, usage: dict[str, Any], spent: float
) -> None:
    """break-it 8, faults I2: a budget can only be used up; where nothing can be believed the reservation stands."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(told(usage))
    async with running(office, upstream) as streams:
        await (await streams.start(ask(), owner="ann")).ended.wait()
    assert office.budget() == (spent, 0)
    counts = await office.counts()
    assert (counts.requests, counts.cost_nano) == (1, spent * NANOS)
    assert min(counts.prompt_tokens, counts.completion_tokens) >= 0


async def test_without_a_budget_answers_are_counted_all_the_same(upstream: Sandbox) -> None:
    office = Office()
    upstream.script(answer(0.25), answer(0.25), Reply.stream(chunk({"content": "x"})))
    async with running(office, upstream) as streams:
        for _ in range(3):
            await (await streams.start(ask(), owner="ann")).ended.wait()
    assert await office.counts() == UsageCounts(3, 6, 10, NANOS // 2 + NANOS, NANOS // 2, 1)


async def test_what_an_earlier_process_left_is_looked_up_and_held_until_then() -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    left: list[Settled] = []
    for day in (DAY, "2024-10-03"):
        answer = OpenAnswer(f"s {day}", UsageKey(day, "ann", "acme/m"), NANOS, f"gen-{day}", is_counted=True)
        office.ledger.count_estimate(answer.key, {}, NANOS)
        left.append(office.admission.left_over(answer))
    assert office.budget() == (0, 1)
    for each in left:
        assert each.generation_id == each.id.replace("s ", "gen-")
        each.settlement.state({"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 2})
        each.note_settled()
    assert office.budget() == (0.25, 0)
    assert await office.counts() == UsageCounts(2, 2, 4, NANOS // 2, NANOS // 2, 0)


def failed(**usage: Any) -> Reply:
    """An attempt that upstream bills and that fails before its first word."""
    error = {
        "error": {"code": 502, "message": "boom"},
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, **usage},
    }
    return Reply.stream(event(error))


CUT = Reply.stream(chunk({"content": "x"}, generation_id="other-1"), HangUp())
"""Not OpenRouter's id: nothing can be looked up."""


@pytest.mark.parametrize(
    ("replies", "spent"),
    [
        ((failed(cost=0.25), failed(cost=0.25), answer(0.5)), 1),
        ((failed(cost=0.25), failed(cost=0.25), failed(cost=0.25)), 0.75),
        ((failed(cost=0.25), failed(cost=0.25), Reply.error(400, "no")), 0.5),
        ((failed(cost=0.25), Reply.error(503, "no"), Reply.error(503, "no")), 0.25),
        ((failed(cost=0.25), failed(cost=0.25), CUT), 1.5),
        ((failed(cost=0.25), failed(), answer(0.5)), 0.755),
        ((failed(), failed(cost="x"), Reply.error(400, "no")), 0.01),
    ],
    ids=["answered", "failed", "refused", "unavailable", "cut", "by tokens", "tokens alone"],
)
async def test_each_attempt_that_upstream_bills_counts_once(
    upstream: Sandbox, replies: tuple[Reply, ...], spent: float
) -> None:
    """faults L2: figures of attempts that are dropped."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    upstream.script(*replies)
    async with running(office, upstream, max_retries=2) as streams:
        await (await streams.start(ask(), owner="ann")).ended.wait()
    assert len(upstream.calls) == 3
    assert office.budget() == (spent, 0)
    assert (await office.counts()).requests == 1


def raising(name: str) -> Any:
    raise RuntimeError(name)


@pytest.mark.parametrize("cost", [10**400, float("nan"), "x", [], Decimal("sNaN"), None])
@pytest.mark.parametrize("is_sought", [True, False])
def test_an_answer_gives_everything_back_once_whatever_is_wrong_with_its_cost(cost: Any, is_sought: bool) -> None:
    """break-it 19: the slot, the reservation and the row of the ledger, each of them."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5), max_concurrent=1)
    lease = office.admission.grant(ask(), "ann")
    office.admission._known = lease._estimate.known = raising
    stream: Any = Played(1)
    stream.settlement.is_sought = is_sought
    stream.settlement.total_cost = cost if not is_sought else None
    stream.settlement.usage = {"prompt_tokens": 1, "completion_tokens": 1}
    lease.opened(stream)
    for _ in range(2):
        lease.end(stream)
        lease.opened(stream)
    assert office.admission._account("ann").running == 0
    assert office.budget() == ((0, 1) if is_sought else (1, 0))
    stream.settlement.total_cost = cost
    for _ in range(2):
        lease.settled(stream)
    assert office.budget() == (1, 0)
    assert not office.ledger._open
    (counts,) = office.ledger._unsaved.counts.values()
    assert (counts.requests, counts.cost_nano, counts.unsettled) == (1, NANOS, 1)


def test_what_is_left_over_is_settled_once() -> None:
    """break-it 19."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    left = OpenAnswer("s", UsageKey(DAY, "ann", "acme/m"), NANOS, "gen-1", is_counted=True)
    office.ledger.count_estimate(left.key, {}, NANOS)
    found = office.admission.left_over(left)
    found.settlement.state({"cost": 0.25})
    for _ in range(2):
        found.note_settled()
    assert office.budget() == (0.25, 0)


def test_what_was_granted_and_not_used_is_given_back_once() -> None:
    office = Office()
    office.limit(budget_usd_per_day=Decimal(1), max_concurrent=1)
    lease = office.admission.grant(ask(), "ann")
    assert office.budget() == (0, 1)
    for _ in range(2):
        lease.give_back()
    lease.end(cast(Stream, Played(1)))
    assert office.budget() == (0, 0)
    office.admission.grant(ask(), "ann")


def test_two_callers_may_give_their_answers_the_same_id() -> None:
    """The ledger keeps both: an id that a caller may choose is unique in its own space only."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    for _ in range(2):
        office.admission.grant(ask(), "ann").opened(cast(Stream, Played(1)))
    assert len(office.ledger._open) == 2


def test_an_answer_that_this_server_broke_counts_as_it_was_reserved() -> None:
    """What failed here, upstream may well have answered."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(5))
    stream: Any = Played(1)
    stream.stop_reason = None
    for type_, spent in (("upstream_unavailable", 0), ("internal", 1)):
        stream.pump = SimpleNamespace(
            translator=SimpleNamespace(failure=SimpleNamespace(type=type_), has_begun=False)
        )
        office.admission.grant(ask(), "ann").end(stream)
        assert office.budget() == (spent, 0)


# -- any history --------------------------------------------------------------------------------------------------


class Played:
    """As much of a stream as a lease looks at."""

    def __init__(self, number: int) -> None:
        self.id = f"s{number}"
        self.owner, self.model, self.requested_model = "ann", "acme/m", "acme/m"
        self.generation_id = f"gen-{number}"
        self.settlement = Settlement()
        self.stop_reason = "cancelled"
        self.pump = SimpleNamespace(translator=SimpleNamespace(failure=None, has_begun=True))


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "end", "cut", "find", "lose"]), st.integers(1, 400), st.integers(0, 100)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 1000))
def test_in_any_history_a_budget_is_overrun_by_one_lone_answer_at_most(
    steps: list[tuple[str, int, int]], limit_cents: int
) -> None:
    """Costs are at most what an answer may cost. A step names what happens, the tokens, and the share of the cost."""
    office = Office()
    office.limit(budget_usd_per_day=Decimal(limit_cents) / 100)
    runs: list[tuple[Any, Any, int]] = []
    sought: list[tuple[Any, Any, int]] = []
    dearest = 0
    for number, (step, tokens, share) in enumerate(steps):
        if step == "start":
            try:
                lease = office.admission.grant(ask(tokens), "ann")
            except Refusal:
                continue
            dearest = max(dearest, tokens)
            runs.append((lease, Played(number), estimate_nano_usd(ask(tokens), KNOWN.get)))
            lease.opened(runs[-1][1])
        elif step in ("end", "cut") and runs:
            lease, stream, most = runs.pop(tokens % len(runs))
            if step == "end":
                stream.settlement.state({"cost": most * share / 100 / NANOS})
            else:
                stream.settlement.is_sought = True
                sought.append((lease, stream, most))
            lease.end(stream)
        elif step in ("find", "lose") and sought:
            lease, stream, most = sought.pop(tokens % len(sought))
            if step == "find":
                stream.settlement.state({"cost": most * share / 100 / NANOS})
            lease.settled(stream)
        spent, reserved = office.budget()
        assert 0 <= round(spent * NANOS) <= limit_cents * NANOS // 100 + dearest * NANOS // 1000
        assert round(reserved * NANOS) >= 0
        if not runs and not sought:
            assert reserved == 0
    for lease, stream, _ in runs:
        stream.settlement.state({"cost": 0})
        lease.end(stream)
    for lease, stream, _ in sought:
        lease.settled(stream)
    assert office.budget()[1] == 0

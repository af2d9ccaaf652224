"""The ledger: exact figures, kept over restarts, and counting on whatever happens to its file."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.budgets.ledger import DAY_S, Ledger, usage_key
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from server.budgets.spent import Spent

NOON_S = 20_000 * DAY_S + DAY_S / 2
TODAY, YESTERDAY = date(2024, 10, 4), date(2024, 10, 3)
KEY = UsageKey("2024-10-04", "ann", "acme/m")
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def make(path: Path | None) -> Ledger:
    return Ledger(path, clock=lambda: NOON_S)


@asynccontextmanager
async def opened(path: Path | None) -> AsyncIterator[Ledger]:
    ledger = make(path)
    await ledger.open()
    yield ledger
    async with asyncio.timeout(10):
        await ledger.aclose()


async def everything(ledger: Ledger, caller: str | None = None) -> dict[UsageKey, UsageCounts]:
    return await ledger.read(date(1, 1, 1), date(9999, 12, 31), caller)


def damage(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)


def overwrite_from(path: Path, offset: int) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * (size - offset))


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def set_aside(path: Path) -> Path:
    """What was moved aside, which must be one file."""
    (aside,) = path.parent.glob(f"{path.name}.corrupt-*Z")
    return aside


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "usage.sqlite3"


# -- figures ------------------------------------------------------------------------------------------------------


async def test_figures_add_up_by_day_caller_and_model(path: Path) -> None:
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
        ledger.count_settled(KEY, USAGE, 50)
        ledger.count_estimate(KEY, {}, 7)
        other = KEY._replace(caller="bob")
        ledger.count_settled(other, {}, 1)
        expected = {KEY: UsageCounts(3, 6, 8, 157, 150, 1), other: UsageCounts(1, 0, 0, 1, 1, 0)}
        assert await everything(ledger) == expected
        await ledger.save()
        assert await everything(ledger) == expected
        assert await everything(ledger, "bob") == {other: expected[other]}
        assert await ledger.read(YESTERDAY, YESTERDAY, None) == {}
        assert (ledger.spent_nano("2024-10-04", "ann"), ledger.spent_nano("2024-10-04", "bob")) == (157, 1)


async def test_a_cost_that_becomes_known_takes_the_place_of_its_estimate(path: Path) -> None:
    async with opened(path) as ledger:
        answer = OpenAnswer("s1", KEY, 900, "gen-1", is_counted=True)
        ledger.count_estimate(KEY, {}, 900)
        ledger.open_answer(answer)
        await ledger.save()
        ledger.correct(answer, USAGE, 40)
        assert await everything(ledger) == {KEY: UsageCounts(1, 3, 4, 40, 40, 0)}
        assert ledger.spent_nano(KEY.day, "ann") == 40


async def test_the_figures_and_what_was_spent_today_survive_a_restart(path: Path) -> None:
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
        ledger.count_settled(KEY._replace(day="2024-10-03"), USAGE, 30)
        ledger.count_settled(KEY._replace(day="2024-09-30"), USAGE, 20)
    async with opened(path) as again:
        assert [counts.cost_nano for counts in (await everything(again)).values()] == [20, 30, 100]
        assert [again.spent_nano(day, "ann") for day in ("2024-10-04", "2024-10-03")] == [100, 30]
        assert again.is_stored


async def test_figures_of_names_and_numbers_beyond_all_reason_are_written_too(path: Path) -> None:
    key = usage_key(KEY.day, "ann", "\ud800" * 1000)
    async with opened(path) as ledger:
        ledger.count_settled(key, {"prompt_tokens": 10**40, "completion_tokens": -5}, 1)
        ledger.count_settled(key, {"prompt_tokens": "many", "completion_tokens": True}, 1)
        await ledger.save()
        assert await everything(ledger) == {key: UsageCounts(2, 10**12, 0, 2, 2, 0)}


async def test_sums_stay_within_64_bits_and_lose_nobodys_figures(path: Path) -> None:
    """break-it 8: no sum handed to SQLite passes 64 bits, in one batch or over many."""
    bob = KEY._replace(caller="bob")
    async with opened(path) as ledger:
        for _ in range(3):
            for _ in range(3):
                ledger.count_settled(KEY, {"prompt_tokens": 10**30}, 2**62)
                ledger.count_settled(bob, USAGE, 100)
            await ledger.save()
            assert ledger.is_stored
    async with opened(path) as again:
        found = await everything(again)
        assert found[bob] == UsageCounts(9, 27, 36, 900, 900, 0)
        assert found[KEY].cost_nano == again.spent_nano(KEY.day, "ann") == 2**62


async def test_what_an_older_file_holds_below_zero_gives_nothing_to_spend(path: Path) -> None:
    """break-it 8: -11 USD, kept over a restart."""
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO usage VALUES (?, ?, 'acme/other', 1, -5, 2e300, -11000, 0, 1)", KEY[:2])
        db.execute("INSERT INTO open_answer VALUES ('s', ?, ?, ?, -900, 'gen-1', 0)", KEY)
        db.commit()
    async with opened(path) as again:
        other = KEY._replace(model="acme/other")
        assert await everything(again) == {
            KEY: UsageCounts(2, 3, 4, 100, 100, 1),
            other: UsageCounts(1, 0, 2**62, 0, 0, 1),
        }
        assert again.spent_nano(KEY.day, "ann") == 100
        again.count_settled(other, USAGE, 7)
        await again.save()
        assert again.spent_nano(KEY.day, "ann") == 107


EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 10**12), st.one_of(st.none(), st.integers(0, 10**12))),
    max_size=30,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.integers(0, 2**32))
def test_after_any_history_the_figures_are_the_sum_of_its_costs(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, int | None]], seed: int
) -> None:
    """An event is an answer: its caller, its estimate, and its cost if that is ever found; restarts come anywhere."""
    asyncio.run(_play(tmp_path_factory.mktemp("state") / "usage.sqlite3", events, random.Random(seed)))


async def _play(path: Path, events: list[tuple[str, int, int | None]], chance: random.Random) -> None:
    ledger = make(path)
    await ledger.open()
    for number, (caller, estimate, cost) in enumerate(events):
        key = KEY._replace(caller=caller)
        ledger.count_estimate(key, {}, estimate)
        answer = OpenAnswer(str(number), key, estimate, "gen-x", is_counted=True)
        ledger.open_answer(answer)
        if chance.random() < 0.2:
            await ledger.aclose()
            ledger = make(path)
            await ledger.open()
        if cost is not None:
            ledger.correct(answer, {}, cost)
    for caller in "ab":
        own = [(estimate, cost) for name, estimate, cost in events if name == caller]
        total = sum(estimate if cost is None else cost for estimate, cost in own)
        assert ledger.spent_nano(KEY.day, caller) == total
        counts = (await everything(ledger, caller)).get(KEY._replace(caller=caller), UsageCounts())
        found = [cost for _, cost in own if cost is not None]
        assert counts == UsageCounts(len(own), 0, 0, total, sum(found), len(own) - len(found))
    await ledger.aclose()


# -- left-overs ---------------------------------------------------------------------------------------------------


async def test_answers_that_a_killed_process_was_running_count_with_their_estimate(path: Path) -> None:
    with closing(await _left_behind(path)):
        pass
    found: list[OpenAnswer] = []
    ledger = make(path)
    ledger.on_left_over = found.append
    await ledger.open()
    assert ledger.spent_nano(KEY.day, "ann") == 900 + 50 + 7
    assert [(answer.stream_id, answer.estimate_nano, answer.is_counted) for answer in found] == [
        ("looked up", 50, True),
        ("running", 900, True),
    ]
    ledger.correct(found[1], USAGE, 10)
    await ledger.aclose()
    async with opened(path) as again:
        assert await everything(again) == {KEY: UsageCounts(3, 3, 4, 10 + 50 + 7, 10, 2)}


async def _left_behind(path: Path) -> sqlite3.Connection:
    """The file as a killed process leaves it."""
    async with opened(path):
        pass
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("INSERT INTO usage VALUES (?, ?, ?, 1, 0, 0, 50, 0, 1)", KEY)
    for stream_id, estimate, generation_id, is_counted in (
        ("running", 900, "gen-1", 0),
        ("no id yet", 7, None, 0),
        ("looked up", 50, "gen-2", 1),
    ):
        row = (stream_id, *KEY, estimate, generation_id, is_counted)
        db.execute("INSERT INTO open_answer VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return db


async def test_an_answer_that_ended_before_the_file_heard_of_it_leaves_nothing_behind(path: Path) -> None:
    async with opened(path) as ledger:
        ledger.open_answer(OpenAnswer("s1", KEY, 900, "gen-1", is_counted=False))
        ledger.close_answer("s1")
        ledger.open_answer(OpenAnswer("s2", KEY, 900, "gen-2", is_counted=False))
        await ledger.save()
        ledger.close_answer("s2")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM open_answer").fetchall() == []


# -- a file that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"this is no database" * 500, b"SQLite format 3\0" + b"\xff" * 8192])
async def test_a_damaged_file_is_moved_aside_and_a_new_one_is_begun(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    damage(path, content)
    async with opened(path) as ledger:
        assert ledger.is_stored
        ledger.count_settled(KEY, USAGE, 5)
        (said,) = errors(caplog)
        assert str(set_aside(path)) in said
    assert content_of(set_aside(path)) == content
    async with opened(path) as again:
        assert again.spent_nano(KEY.day, "ann") == 5


async def test_a_file_that_is_damaged_while_it_is_used_is_moved_aside_and_counting_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as db:  # larger than the pages that SQLite keeps in memory
        row = (KEY.caller, "x" * 150)
        days = [(date.fromordinal(number).isoformat(), *row) for number in range(700_000, 725_000)]
        db.executemany("INSERT INTO usage VALUES (?, ?, ?, 1, 0, 0, 1, 1, 0)", days)
        db.commit()
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 5)
        overwrite_from(path, 8192)
        assert await everything(ledger) == {KEY: UsageCounts(1, 3, 4, 5, 5, 0)}
        await ledger.save()
        assert ledger.is_stored
        assert str(set_aside(path)) in errors(caplog)[0]
        assert len(errors(caplog)) == 1
    async with opened(path) as again:
        assert await everything(again) == {KEY: UsageCounts(1, 3, 4, 5, 5, 0)}


async def test_a_locked_file_is_taken_up_when_it_is_free_with_what_was_spent_in_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    async with opened(path) as ledger:
        assert not ledger.is_stored
        ledger.count_settled(KEY, USAGE, 5)
        assert await everything(ledger) == {KEY: UsageCounts(1, 3, 4, 5, 5, 0)}
        (said,) = errors(caplog)
        assert "another process holds it" in said
        holder.close()
        await ledger.save()
        assert ledger.spent_nano(KEY.day, "ann") == 105
        assert await everything(ledger) == {KEY: UsageCounts(2, 6, 8, 105, 105, 0)}
        assert "can be used again" in errors(caplog)[-1]
        assert len(errors(caplog)) == 2


async def test_a_second_server_with_the_same_folder_counts_in_memory_until_the_first_has_gone(path: Path) -> None:
    async with opened(path) as first, opened(path) as second:
        first.count_settled(KEY, USAGE, 1)
        second.count_settled(KEY, USAGE, 2)
        assert (first.is_stored, second.is_stored) == (True, False)
        await first.aclose()
        await second.save()
        assert second.spent_nano(KEY.day, "ann") == 3


async def test_a_folder_that_cannot_be_made_is_said_once_and_counting_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    async with opened(tmp_path / "file" / "usage.sqlite3") as ledger:
        ledger.count_settled(KEY, USAGE, 5)
        for _ in range(3):
            await ledger.save()
        assert ledger.spent_nano(KEY.day, "ann") == 5
        assert await everything(ledger) == {KEY: UsageCounts(1, 3, 4, 5, 5, 0)}
    (said,) = errors(caplog)
    assert "file is not a folder" in said


async def test_a_folder_where_the_file_should_be_is_no_end_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as ledger:
        ledger.count_settled(KEY, USAGE, 5)
        assert not ledger.is_stored
    (said,) = errors(caplog)
    assert "Is a directory" in said


async def test_without_a_folder_it_says_so_and_counts_in_memory_and_what_has_ended_does_not_pile_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened(None) as ledger:
        ledger.open_answer(OpenAnswer("s1", KEY, 1, None, is_counted=False))
        ledger.close_answer("s1")
        ledger.count_settled(KEY, USAGE, 5)
        assert await everything(ledger) == {KEY: UsageCounts(1, 3, 4, 5, 5, 0)}
        assert not ledger.is_stored
        assert not ledger._unsaved.opened
    (said,) = errors(caplog)
    assert "server.state_dir" in said


async def test_without_a_folder_the_oldest_days_are_forgotten_when_there_are_very_many_figures() -> None:
    now_s = [NOON_S]
    ledger = Ledger(None, clock=lambda: now_s[0])
    for number in range(50_001):
        ledger.count_settled(KEY._replace(model=str(number)), {}, 1)
    now_s[0] += DAY_S
    ledger.count_settled(KEY._replace(day="2024-10-05"), {}, 1)
    assert len(await everything(ledger)) == 1
    assert ledger.spent_nano("2024-10-04", "ann") == 50_001
    for number in range(100_001):
        ledger.count_settled(KEY._replace(day="2024-10-05", model=str(number)), {}, 1)
    assert len(await everything(ledger)) <= 100_000
    assert ledger.spent_nano("2024-10-05", "ann") == 100_002


def test_days_that_were_counted_on_last_are_kept_whatever_the_calendar_says() -> None:
    """break-it 30: a clock that is set forward and back forgets nothing."""
    spent = Spent()
    for day in range(1, 17):
        spent.add(f"2024-10-{day:02}", "ann", day)
    spent.add("2024-10-01", "ann", 10)
    spent.add("2099-01-01", "ann", 5)
    spent.add("1970-01-01", "ann", -5)
    assert [spent.of(day, "ann") for day in ("2024-10-01", "2024-10-02", "2024-10-16")] == [11, 0, 16]
    assert (spent.of("2099-01-01", "ann"), spent.of("1970-01-01", "ann")) == (5, 0)


async def test_a_clock_that_is_wrong_at_the_start_finds_what_was_spent_when_it_is_right_again(path: Path) -> None:
    """break-it 30: a machine without a clock of its own starts in 1970, another one in 2099."""
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
    for wrong_s in (0.0, 4e9):
        now_s = [wrong_s]
        again = Ledger(path, clock=lambda: now_s[0])  # noqa: B023
        await again.open()
        again.count_settled(KEY._replace(day=again.today), USAGE, 1)
        now_s[0] = NOON_S
        assert again.spent_nano(again.today, "ann") == 100
        await again.aclose()


# -- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poison",
    [
        (KEY._replace(model="gen-\ud800"), UsageCounts(1, 0, 0, 5, 5, 0)),
        (KEY._replace(caller="\udcff"), UsageCounts(1, 0, 0, 5, 5, 0)),
        (KEY._replace(day=None), UsageCounts(1, 0, 0, 5, 5, 0)),  # type: ignore[arg-type]
        (KEY._replace(model="acme/other"), UsageCounts(1, 0, 0, 10**30, 5, 0)),
        (KEY._replace(model="acme/other"), UsageCounts(1, 0, 0, {}, 5, 0)),  # type: ignore[arg-type]
    ],
    ids=["model", "caller", "null", "too large", "object"],
)
async def test_a_row_that_cannot_be_written_is_left_out_alone(
    path: Path, caplog: pytest.LogCaptureFixture, poison: tuple[UsageKey, UsageCounts]
) -> None:
    """break-it 14: one odd value must not lose what others have spent in that half second."""
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
        ledger._unsaved.counts[poison[0]] = poison[1]
        ledger._unsaved.opened["odd"] = OpenAnswer("odd \ud800", KEY, 900, "gen-\ud800", is_counted=False)
        ledger.open_answer(OpenAnswer("fine", KEY, 900, "gen-1", is_counted=False))
        ledger.count_settled(KEY._replace(caller="bob"), USAGE, 25)
        await ledger.save()
        ledger.count_settled(KEY, USAGE, 1)
        await ledger.save()
        assert ledger.is_stored
    assert [said.startswith("a row of the usage ledger cannot be written") for said in errors(caplog)] == [True, True]
    left: list[OpenAnswer] = []
    again = make(path)
    again.on_left_over = left.append
    await again.open()
    assert [answer.stream_id for answer in left] == ["fine"]
    assert (again.spent_nano(KEY.day, "ann"), again.spent_nano(KEY.day, "bob")) == (101 + 900, 25)
    await again.aclose()


@pytest.mark.parametrize(
    "error", [RuntimeError("?"), OverflowError(), OSError(5, "Input/output error"), sqlite3.Error()]
)
async def test_a_batch_that_failed_for_any_reason_is_put_back(
    path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """break-it 14: what was counted is lost for no exception, and nothing is counted twice."""
    async with opened(path) as ledger:
        assert ledger._file is not None
        ledger.count_settled(KEY, USAGE, 100)
        ledger.open_answer(OpenAnswer("closed", KEY, 9, "gen-1", is_counted=False))

        async def fail(batch: object) -> list[str]:
            ledger.count_settled(KEY, USAGE, 20)
            ledger.close_answer("closed")
            raise error

        ledger._file.write = fail  # type: ignore[method-assign]
        await ledger.save()
        assert not ledger.is_stored
        assert await everything(ledger) == {KEY: UsageCounts(2, 6, 8, 120, 120, 0)}
        await ledger.save()
        assert ledger.is_stored
        assert [said.partition(path.name)[2][:12] for said in errors(caplog)] == [" cannot be u", " can be used"]
    async with opened(path) as again:
        assert await everything(again) == {KEY: UsageCounts(2, 6, 8, 120, 120, 0)}


async def test_a_write_that_is_cut_off_is_put_back_too(path: Path) -> None:
    """break-it 14."""
    async with opened(path) as ledger:
        assert ledger._file is not None
        ledger.count_settled(KEY, USAGE, 100)

        async def be_cancelled(batch: object) -> list[str]:
            raise asyncio.CancelledError

        write, ledger._file.write = ledger._file.write, be_cancelled  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await ledger.save()
        ledger._file.write = write  # type: ignore[method-assign]
    async with opened(path) as again:
        assert again.spent_nano(KEY.day, "ann") == 100


@contextmanager
def files_that_cannot_grow_beyond(size_bytes: int) -> Iterator[None]:
    """As on a disk that is full, for every process that is asked to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_takes_no_more_is_said_once_and_nothing_is_lost_when_there_is_room_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """break-it 14."""
    async with opened(path) as ledger:
        with files_that_cannot_grow_beyond(len(content_of(path))):
            for number in range(300):
                ledger.count_settled(KEY._replace(model="x" * 190 + str(number)), USAGE, 4)
            for _ in range(3):
                await ledger.save()
                assert not ledger.is_stored
            (said,) = errors(caplog)
            assert "cannot be used" in said
        await ledger.save()
        assert ledger.is_stored
        assert "can be used again" in errors(caplog)[-1]
    async with opened(path) as again:
        assert again.spent_nano(KEY.day, "ann") == 1200


@pytest.mark.parametrize("way", ["folder", "file"])
async def test_a_file_that_is_removed_while_it_is_used_is_written_anew(
    path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """break-it, near miss: `stored: true`, and lost at the end."""
    async with opened(path) as ledger:
        ledger.count_settled(KEY._replace(day="2024-09-01"), USAGE, 7)
        ledger.count_estimate(KEY, {}, 900)
        ledger.open_answer(OpenAnswer("s", KEY, 900, "gen-1", is_counted=True))
        await ledger.save()
        remove(path.parent if way == "folder" else path)
        ledger.count_settled(KEY, USAGE, 100)
        if way == "folder":
            assert len(await everything(ledger)) == 2
        assert ledger.is_stored
    assert ["was removed while it was in use" in said for said in errors(caplog)] == [True]
    async with opened(path) as again:
        assert [counts.cost_nano for counts in (await everything(again)).values()] == [7, 1000]


async def test_a_file_that_is_removed_and_cannot_be_made_is_no_longer_called_stored(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """break-it, near miss: what can be noticed is noticed; what is counted stays counted."""
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
        ledger.count_estimate(KEY, {}, 900)
        ledger.open_answer(OpenAnswer("s", KEY, 900, "gen-1", is_counted=True))
        await ledger.save()
        shutil.rmtree(path.parent)
        path.parent.write_text("a file")
        await everything(ledger)
        assert not ledger.is_stored
        assert ledger.spent_nano(KEY.day, "ann") == 1000
        path.parent.unlink()
        await ledger.save()
        assert ledger.is_stored
        ledger.correct(OpenAnswer("s", KEY, 900, "gen-1", is_counted=True), {}, 40)
        assert ledger.spent_nano(KEY.day, "ann") == 140
    assert "is not a folder" in errors(caplog)[0]
    async with opened(path) as again:
        assert again.spent_nano(KEY.day, "ann") == 40  # the figures of the file that is gone are gone with it


async def test_a_file_that_is_put_in_its_place_is_taken_as_it_is(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 100)
    older = content_of(path)
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 20)
        await ledger.save()
        (path.parent / "older").write_bytes(older)
        (path.parent / "older").replace(path)
        ledger.count_settled(KEY, USAGE, 3)
        await ledger.save()
        assert ledger.spent_nano(KEY.day, "ann") == 123
    assert "was replaced while it was in use" in errors(caplog)[0]
    async with opened(path) as again:
        assert again.spent_nano(KEY.day, "ann") == 103


async def test_a_damaged_file_takes_no_open_answer_with_it(path: Path) -> None:
    async with opened(path) as ledger:
        ledger.count_estimate(KEY, {}, 900)
        ledger.open_answer(OpenAnswer("s", KEY, 900, "gen-1", is_counted=True))
        await ledger.save()
        await ledger._lose_file(_corrupt())
        await ledger.save()
        ledger.correct(OpenAnswer("s", KEY, 900, "gen-1", is_counted=True), {}, 40)
        assert ledger.spent_nano(KEY.day, "ann") == 40
    async with opened(path) as again:
        assert await everything(again) == {KEY: UsageCounts(1, 0, 0, 40, 40, 0)}


def _corrupt() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("damaged")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


async def test_figures_that_are_kept_among_others_have_a_name_that_stays_with_their_file(
    path: Path, tmp_path: Path
) -> None:
    names: list[str] = []
    for where in (path, path, tmp_path / "other" / "usage.sqlite", None, None):
        ledger = Ledger(where, clock=lambda: NOON_S, has_book=True)
        await ledger.open()
        names.append(ledger.book)
        await ledger.aclose()
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names)
    remove(path)
    async with opened(path) as alone:
        assert not alone.book
    with closing(sqlite3.connect(path)) as file:
        assert not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'book'").fetchall()


async def test_an_answer_that_others_are_still_to_be_told_of_counts_no_more_here(path: Path) -> None:
    """The next process is given it; alone, it leaves it at that."""
    told = OpenAnswer("s", KEY, 5, "gen-1", is_counted=True, is_final=True)
    async with opened(path) as ledger:
        ledger.count_settled(KEY, USAGE, 5)
        ledger.open_answer(told)
        await ledger.save()
        assert ledger.has_in_file("s")
    given: list[OpenAnswer] = []
    among_others = Ledger(path, clock=lambda: NOON_S, has_book=True)
    among_others.take_over = given.append
    await among_others.open()
    await among_others.aclose()
    assert given == [told]
    sought: list[OpenAnswer] = []
    alone = make(path)
    alone.on_left_over = sought.append
    await alone.open()
    assert not sought
    assert await everything(alone) == {KEY: UsageCounts(1, 3, 4, 5, 5, 0)}
    await alone.save()
    assert not alone.has_in_file("s")
    await alone.aclose()

"""What the ledger's file keeps of answers that run, and what a later process makes of that."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from server.budgets import started
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import OpenAnswer, UsageCounts, UsageKey
from server.budgets.started import StartedAnswer, row_of
from tests.server.budgets.test_ledger import KEY, NOON_S, everything, make, opened, overwrite_from, remove

ID = "an-id-of-22-characters"
RUNNING = StartedAnswer(ID, ID, "ann", NOON_S - 60, "acme/m", "chat", "chat.completions", None, "gen-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.sqlite3"


async def left_behind(path: Path, *answers: StartedAnswer, opened_under: Sequence[str] = ()) -> None:
    """The file as a killed process leaves it."""
    async with opened(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for answer in answers:
            db.execute(started.WRITE, row_of(answer))
        for generation_id in opened_under:
            row = (f"{ID}.0", *KEY, 900, generation_id, 0)
            db.execute("INSERT INTO open_answer VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def change(path: Path, column: str, value: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE started_answer SET {column} = ?", (value,))


def rows(path: Path) -> list[StartedAnswer | None]:
    with closing(sqlite3.connect(path)) as db:
        return [started.answer_of(row) for row in db.execute(started.READ)]


async def test_what_a_killed_process_was_running_is_known_to_be_cut_and_its_cost_is_asked_for_once(
    path: Path,
) -> None:
    await left_behind(path, RUNNING)
    found: list[OpenAnswer] = []
    ledger = make(path)
    ledger.on_left_over = found.append
    await ledger.open()
    [cut] = ledger.started.cut.values()
    assert (cut.stream_id, cut.cut_s, cut.is_counted) == (ID, NOON_S, True)
    [answer] = found
    assert (answer.key, answer.estimate_nano, answer.generation_id) == (KEY, 0, "gen-1")
    ledger.correct(answer, {}, 70)
    await ledger.aclose()
    async with opened(path) as again:
        assert again.started.cut == ledger.started.cut
        assert await everything(again) == {KEY: UsageCounts(1, 0, 0, 70, 70, 0)}


async def test_what_was_reserved_for_is_not_counted_twice(path: Path) -> None:
    await left_behind(path, RUNNING, opened_under=["gen-1"])
    found: list[OpenAnswer] = []
    ledger = make(path)
    ledger.on_left_over = found.append
    await ledger.open()
    assert [answer.estimate_nano for answer in found] == [900]
    assert list(ledger.started.cut) == [ID]
    assert (await everything(ledger))[KEY].requests == 1
    await ledger.aclose()


async def test_an_answer_that_upstream_had_not_named_costs_nobody_anything(path: Path) -> None:
    await left_behind(path, replace(RUNNING, generation_id=None))
    async with opened(path) as ledger:
        assert list(ledger.started.cut) == [ID]
        assert await everything(ledger) == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("stream_id", "no id at all"),
        ("stream_id", "x" * 65),
        ("caller", ""),
        ("caller", "bob"),  # to whom the key does not belong, had he chosen it
        ("created_s", "yesterday"),
        ("created_s", -1),
        ("created_s", float("inf")),
        ("protocol", ""),
    ],
)
async def test_a_row_that_makes_no_sense_is_nobodys_answer(path: Path, column: str, value: object) -> None:
    await left_behind(path, replace(RUNNING, key=f"{ID} ann", fingerprint=b"\1" * 32))
    change(path, column, value)
    async with opened(path) as ledger:
        assert not ledger.started.cut


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("model", "a\nb"),
        ("generation_id", "gen\n"),
        ("names", "[[1, 2]]"),
        ("names", "[" * 9000),
        ("fingerprint", b"short"),
        ("asked", b"x" * 5000),
        ("usage", "x" * 20_000),
        ("cut_s", NOON_S + 9e6),
        ("cut_s", "later"),
    ],
)
async def test_what_makes_no_sense_beside_the_rest_is_left_out_of_it(path: Path, column: str, value: object) -> None:
    await left_behind(path, RUNNING)
    change(path, column, value)
    async with opened(path) as ledger:
        [cut] = ledger.started.cut.values()
        assert (cut.stream_id, cut.caller, cut.cut_s, cut.names, cut.asked, cut.usage) == (
            *(ID, "ann", NOON_S, ()),
            *(None, None),
        )
        assert cut.generation_id in (None, "gen-1")


async def test_no_more_are_kept_than_anybody_could_come_back_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"an-id-of-22-characters{number:02}" for number in range(12)]
    answers = [replace(RUNNING, key=key, stream_id=key, created_s=NOON_S + n) for n, key in enumerate(keys)]
    await left_behind(path, *answers)
    monkeypatch.setattr(started, "MOST_CUT", 5)
    monkeypatch.setattr(started, "READ", started.READ.replace("10000", "5"))
    monkeypatch.setattr(started, "REMOVE_OLDER", started.REMOVE_OLDER.replace("10000", "5"))
    async with opened(path) as ledger:
        assert sorted(ledger.started.cut) == keys[7:]
    assert sorted(row.key for row in rows(path) if row) == keys[7:]


async def test_what_is_forgotten_is_gone_from_the_file_too(path: Path) -> None:
    await left_behind(path, RUNNING)
    async with opened(path) as ledger:
        ledger.started.forget_before(NOON_S)
        assert list(ledger.started.cut) == [ID]
        await ledger.save()
        assert len(rows(path)) == 1
        ledger.started.forget_before(NOON_S + 1)
        assert not ledger.started.cut
    assert rows(path) == []


async def test_a_file_that_is_damaged_or_removed_while_it_is_used_takes_none_with_it(path: Path) -> None:
    await left_behind(path, RUNNING)
    async with opened(path) as ledger:
        await ledger.save()
        remove(path)
        await ledger.save()
        overwrite_from(path, 0)
        await everything(ledger)  # finds it damaged
        await ledger.save()
        assert [row.key for row in rows(path) if row] == [ID]


_TABLES_OF_0_9 = {
    "usage": "day caller model requests prompt_tokens completion_tokens cost_nano settled_nano unsettled",
    "open_answer": "stream_id day caller model estimate_nano generation_id is_counted",
}
"""As versions wrote and read them that know no other tables, by place and not by name."""


async def test_an_older_version_finds_its_tables_as_they_were_and_a_newer_one_adds_what_it_lacks(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for table, columns in _TABLES_OF_0_9.items():
            db.execute(f"CREATE TABLE {table} ({columns.replace(' ', ', ')}, PRIMARY KEY ({columns.split()[0]}))")
        db.execute("INSERT INTO usage VALUES ('2024-10-04', 'ann', 'acme/m', 1, 0, 0, 50, 0, 1)")
    async with opened(path) as ledger:
        assert await everything(ledger) == {KEY: UsageCounts(1, 0, 0, 50, 0, 1)}
        ledger.started.keep(RUNNING)
    assert [row.key for row in rows(path) if row] == [ID]
    fresh = path.with_name("fresh.sqlite3")
    async with opened(fresh):
        pass
    with closing(sqlite3.connect(fresh)) as db:
        for table, columns in _TABLES_OF_0_9.items():
            assert [row[1] for row in db.execute(f"PRAGMA table_info({table})")] == columns.split()


async def test_without_a_folder_nothing_is_kept_and_nothing_fails() -> None:
    ledger = Ledger(None)
    await ledger.open()
    ledger.started.keep(RUNNING)
    await ledger.aclose()
    assert UsageKey(*KEY) == KEY

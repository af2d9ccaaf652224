"""The SQLite file under the ledger: its tables, writing a batch, and reading.

It belongs to one process at a time (`server.state`): two servers that added to one file would take each other's
running answers for left-overs.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Final, NamedTuple

from server.budgets import started
from server.budgets.started import StartedAnswer
from server.state.sqlite_file import Row, SqliteFile, connect, make_ready

_BOOK = re.compile(r"[0-9a-f]{16}")

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS usage (
        day TEXT NOT NULL,                  -- UTC, ISO 8601
        caller TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        cost_nano INTEGER NOT NULL,         -- nano-USD, estimates included
        settled_nano INTEGER NOT NULL,      -- of it what upstream has stated
        unsettled INTEGER NOT NULL,         -- requests whose cost is an estimate
        PRIMARY KEY (day, caller, model)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS open_answer ( -- whose cost may still become known
        stream_id TEXT PRIMARY KEY,
        day TEXT NOT NULL,
        caller TEXT NOT NULL,
        model TEXT NOT NULL,
        estimate_nano INTEGER NOT NULL,
        generation_id TEXT,
        is_counted INTEGER NOT NULL         -- 1 when usage holds the estimate already, 2 when it holds the cost
    ) WITHOUT ROWID
    """,
    started.SCHEMA,
)


class UsageKey(NamedTuple):
    """What a row is about: a day (UTC, ISO 8601), a caller's name, a model id."""

    day: str
    caller: str
    model: str


@dataclass(slots=True)
class UsageCounts:
    """The figures of a row, or what is to be added to one; see the schema."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    settled_nano: int = 0
    unsettled: int = 0

    def add(self, more: UsageCounts) -> None:
        """Adds every figure, up to the largest that SQLite can hold and add to."""
        sums = [
            self.requests + more.requests,
            self.prompt_tokens + more.prompt_tokens,
            self.completion_tokens + more.completion_tokens,
            self.cost_nano + more.cost_nano,
            self.settled_nano + more.settled_nano,
            self.unsettled + more.unsettled,
        ]
        if max(sums) > MOST or min(sums) < -MOST:
            sums = [max(min(each, MOST), -MOST) for each in sums]
        (
            self.requests,
            self.prompt_tokens,
            self.completion_tokens,
            self.cost_nano,
            self.settled_nano,
            self.unsettled,
        ) = sums

    def not_negative(self) -> UsageCounts:
        """The same figures, none of them below zero: a row of a file may be anything, and no figure can be so."""
        return UsageCounts(*(max(getattr(self, name), 0) for name in _FIGURES))


MOST: Final = 2**62
"""The largest figure: two of them add up to no more than SQLite's 64 bits."""

_FIGURES = tuple(each.name for each in fields(UsageCounts))


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An answer whose cost may still become known.

    Attributes:
        estimate_nano: what counts until then.
        generation_id: under which upstream may tell; None: it cannot.
        is_counted: whether the estimate is in the figures already.
        is_final: whether that is what it did cost: nothing more will be learned, but others are still to be told.
    """

    stream_id: str
    key: UsageKey
    estimate_nano: int
    generation_id: str | None
    is_counted: bool
    is_final: bool = False


@dataclass(slots=True)
class Batch:
    """What is to be written in one transaction; an `opened` or `started` of None takes the answer out."""

    counts: dict[UsageKey, UsageCounts] = field(default_factory=dict)
    opened: dict[str, OpenAnswer | None] = field(default_factory=dict)
    started: dict[str, StartedAnswer | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts or self.opened or self.started)

    def add(self, key: UsageKey, more: UsageCounts) -> None:
        """Adds to the figures of a row."""
        self.counts.setdefault(key, UsageCounts()).add(more)


_BEGIN_ROW = f"INSERT INTO usage VALUES (?, ?, ?{', 0' * len(_FIGURES)}) ON CONFLICT DO NOTHING"  # noqa: S608
_ADD = f"""
UPDATE usage SET {", ".join(f"{name} = MIN(MAX({name} + ?, 0), {MOST})" for name in _FIGURES)}
WHERE day = ? AND caller = ? AND model = ?
"""  # noqa: S608 - made of our own words
_READ = """
SELECT day, caller, model, requests, prompt_tokens, completion_tokens, cost_nano, settled_nano, unsettled
FROM usage WHERE day BETWEEN ? AND ? AND (? IS NULL OR caller = ?)
"""
_SPENT = """
SELECT day, caller, cost_nano FROM usage
WHERE day BETWEEN DATE(?, '-1 day') AND DATE(?, '+1 day')
    OR day IN (SELECT DISTINCT day FROM usage ORDER BY day DESC LIMIT ?)
ORDER BY day
"""
_OPEN = "INSERT OR REPLACE INTO open_answer VALUES (?, ?, ?, ?, ?, ?, ?)"
_CLOSE = "DELETE FROM open_answer WHERE stream_id = ?"
_FINAL = 2
_LAST_DAYS = 8
_UNFIT = (
    OverflowError,
    TypeError,
    ValueError,  # also for text that cannot be UTF-8
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""What is raised for a value that a row cannot hold, whatever the state of the file."""

Statements = tuple[tuple[str, Row], ...]
"""What writes one row."""


class UsageFile(SqliteFile):
    """The open file. Everything may raise `sqlite3.Error`; see `open_usage_file` for the rest."""

    async def write(self, batch: Batch) -> list[str]:
        """Adds a batch: all of it or nothing, but for rows that no database can hold.

        Returns:
            What is wrong with each row that was left out.
        """
        rows: list[Statements] = [
            ((_BEGIN_ROW, key), (_ADD, (*astuple(counts), *key))) for key, counts in batch.counts.items()
        ]
        rows += [((_OPEN, _open_row(answer)),) for answer in batch.opened.values() if answer is not None]
        rows += [((_CLOSE, (stream_id,)),) for stream_id, answer in batch.opened.items() if answer is None]
        rows += [
            ((started.REMOVE, (key,)),) if answer is None else ((started.WRITE, started.row_of(answer)),)
            for key, answer in batch.started.items()
        ]
        try:
            await self._write_all(rows)
            return []
        except _UNFIT:
            async with self.transaction():
                return [problem for row in rows if (problem := await self._problem_of(row))]

    async def _write_all(self, rows: Iterable[Statements]) -> None:
        by_statement: dict[str, list[Row]] = {}
        for row in rows:
            for statement, parameters in row:
                by_statement.setdefault(statement, []).append(parameters)
        async with self.transaction():
            for statement, each in by_statement.items():
                await self.db.executemany(statement, each)

    async def _problem_of(self, row: Statements) -> str | None:
        try:
            for statement, parameters in row:
                await self.db.execute(statement, parameters)
        except _UNFIT as exc:
            return f"{type(exc).__name__}: {exc}: {repr(row[-1][1])[:500]!a}"
        return None

    async def read(self, first: str, last: str, caller: str | None) -> dict[UsageKey, UsageCounts]:
        """The rows of these days, of one caller or of all."""
        rows = await self.db.execute_fetchall(_READ, (first, last, caller, caller))
        return {UsageKey(*map(str, row[:3])): UsageCounts(*map(_figure, row[3:])) for row in rows}

    async def spent(self, today: str) -> Iterable[tuple[str, str, int]]:
        """Day, caller and what it cost, nano-USD, of the days that a budget may be asked about; a row for each model.

        These are the days around this one, and the last ones that were counted on, in case the clock is wrong.
        """
        rows = await self.db.execute_fetchall(_SPENT, (today, today, _LAST_DAYS))
        return [(str(row[0]), str(row[1]), _figure(row[2])) for row in rows]

    async def open_answers(self) -> list[OpenAnswer]:
        """Those that an earlier process left."""
        query = "SELECT stream_id, day, caller, model, estimate_nano, generation_id, is_counted FROM open_answer"
        return [
            OpenAnswer(row[0], UsageKey(*row[1:4]), _figure(row[4]), row[5], bool(row[6]), row[6] == _FINAL)
            for row in await self.db.execute_fetchall(query)
        ]

    async def started_answers(self) -> list[StartedAnswer]:
        """Those that an earlier process was running, or had found: the newest, but for what makes no sense."""
        rows = list(await self.db.execute_fetchall(started.READ))
        if len(rows) == started.MOST_CUT:
            async with self.transaction():
                await self.db.execute(started.REMOVE_OLDER)
        return [answer for row in rows if (answer := started.answer_of(tuple(row))) is not None]

    async def book(self) -> str:
        """The name of these figures among those of others, random, from the first time on that it is asked for."""
        await self.db.execute("CREATE TABLE IF NOT EXISTS book (name TEXT NOT NULL)")
        rows = list(await self.db.execute_fetchall("SELECT name FROM book"))
        if rows and isinstance(name := rows[0][0], str) and _BOOK.fullmatch(name):
            return name
        async with self.transaction():
            await self.db.execute("DELETE FROM book")
            await self.db.execute("INSERT INTO book VALUES (?)", (name := new_book(),))
        return name

    async def copy_to(self, path: Path) -> None:
        """Makes a file there that holds the same."""
        make_ready(path)
        with closing(sqlite3.connect(path, check_same_thread=False)) as target:
            await self.db.backup(target)


def new_book() -> str:
    """A name of figures that nobody else has."""
    return secrets.token_hex(8)


async def open_usage_file(path: Path) -> UsageFile:
    """Opens the file, and makes it and its folder where they are missing.

    Raises:
        sqlite3.Error: it is locked, damaged (`is_damaged`), of another shape, or cannot be written.
        OSError: there can be no such folder or file.
    """
    return UsageFile(path, *await connect(path, _SCHEMA))


def _figure(value: object) -> int:
    """A figure of a file that may be older, or was changed by hand."""
    return min(max(int(value), 0), MOST) if isinstance(value, int | float) else 0


def _open_row(answer: OpenAnswer) -> Row:
    return (
        answer.stream_id,
        *answer.key,
        answer.estimate_nano,
        answer.generation_id,
        _FINAL if answer.is_final else int(answer.is_counted),
    )

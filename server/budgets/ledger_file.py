"""The SQLite file under the ledger: opening, writing a batch, reading, and moving a damaged file aside.

It belongs to one process at a time, which holds a lock beside it as long as it runs: two servers that added to one
file would take each other's running answers for left-overs. Anybody may read it meanwhile, and between two writes the
file is whole and alone, without a write-ahead log: what is copied then lacks nothing. What was committed survives the
process, and a power cut too.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import aiosqlite

from server.budgets.ledger_lock import lock_path, take_lock

_LOCK_WAIT_S = 1.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SIDE_FILES = ("-wal", "-shm", "-journal")

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
        is_counted INTEGER NOT NULL         -- 1 when usage holds the estimate already
    ) WITHOUT ROWID
    """,
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
    """

    stream_id: str
    key: UsageKey
    estimate_nano: int
    generation_id: str | None
    is_counted: bool


@dataclass(slots=True)
class Batch:
    """What is to be written in one transaction; an `opened` of None takes the answer out."""

    counts: dict[UsageKey, UsageCounts] = field(default_factory=dict)
    opened: dict[str, OpenAnswer | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts or self.opened)

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

Row = tuple[str | int | None, ...]
Statements = tuple[tuple[str, Row], ...]
"""What writes one row."""


class UsageFile:
    """The open file. Everything may raise `sqlite3.Error`; see `open_usage_file` for the rest."""

    def __init__(self, path: Path, connection: aiosqlite.Connection, lock: sqlite3.Connection) -> None:
        self._db = connection
        self._lock = lock
        self._path = path
        self._identity = _identity(path)

    def is_in_place(self) -> bool:
        """Whether the file that is written is still the one that its path names."""
        return self._identity is not None and _identity(self._path) == self._identity

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
        try:
            await self._write_all(rows)
            return []
        except _UNFIT:
            async with self._transaction():
                return [problem for row in rows if (problem := await self._problem_of(row))]

    async def _write_all(self, rows: Iterable[Statements]) -> None:
        by_statement: dict[str, list[Row]] = {}
        for row in rows:
            for statement, parameters in row:
                by_statement.setdefault(statement, []).append(parameters)
        async with self._transaction():
            for statement, each in by_statement.items():
                await self._db.executemany(statement, each)

    async def _problem_of(self, row: Statements) -> str | None:
        try:
            for statement, parameters in row:
                await self._db.execute(statement, parameters)
        except _UNFIT as exc:
            return f"{type(exc).__name__}: {exc}: {repr(row[-1][1])[:500]!a}"
        return None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        await self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            await self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                await self._db.execute("ROLLBACK")
            raise

    async def read(self, first: str, last: str, caller: str | None) -> dict[UsageKey, UsageCounts]:
        """The rows of these days, of one caller or of all."""
        rows = await self._db.execute_fetchall(_READ, (first, last, caller, caller))
        return {UsageKey(*map(str, row[:3])): UsageCounts(*map(_figure, row[3:])) for row in rows}

    async def spent(self, today: str) -> Iterable[tuple[str, str, int]]:
        """Day, caller and what it cost, nano-USD, of the days that a budget may be asked about; a row for each model.

        These are the days around this one, and the last ones that were counted on, in case the clock is wrong.
        """
        rows = await self._db.execute_fetchall(_SPENT, (today, today, _LAST_DAYS))
        return [(str(row[0]), str(row[1]), _figure(row[2])) for row in rows]

    async def open_answers(self) -> list[OpenAnswer]:
        """Those that an earlier process left."""
        query = "SELECT stream_id, day, caller, model, estimate_nano, generation_id, is_counted FROM open_answer"
        return [
            OpenAnswer(row[0], UsageKey(*row[1:4]), _figure(row[4]), row[5], bool(row[6]))
            for row in await self._db.execute_fetchall(query)
        ]

    async def copy_to(self, path: Path) -> None:
        """Makes a file there that holds the same."""
        _make_ready(path)
        with closing(sqlite3.connect(path, check_same_thread=False)) as target:
            await self._db.backup(target)

    async def aclose(self) -> None:
        """Closes it; its lock is free then."""
        try:
            await self._db.close()
        finally:
            self._lock.close()


async def open_usage_file(path: Path) -> UsageFile:
    """Opens the file, and makes it and its folder where they are missing.

    Raises:
        sqlite3.Error: it is locked, damaged (`is_damaged`), of another shape, or cannot be written.
        OSError: there can be no such folder or file.
    """
    _make_ready(path)
    lock = take_lock(path)
    try:
        return UsageFile(path, await _connect(path), lock)
    except BaseException:
        lock.close()
        raise


async def _connect(path: Path) -> aiosqlite.Connection:
    db = await aiosqlite.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        await db.execute("PRAGMA locking_mode = NORMAL")
        await db.execute("PRAGMA journal_mode = DELETE")
        await db.execute("PRAGMA synchronous = FULL")
        checked = list(await db.execute_fetchall("PRAGMA quick_check(1)"))
        if checked[0][0] != "ok":
            raise _damaged(str(checked[0][0]))
        await db.execute("BEGIN IMMEDIATE")  # finds out whether it may write
        for statement in _SCHEMA:
            await db.execute(statement)
        await db.execute("COMMIT")
    except BaseException:
        await db.close()
        raise
    return db


def _make_ready(path: Path) -> None:
    """Makes the folder and the file, for its owner only; says what the system says where SQLite knows no reason."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (path, lock_path(path)):
        os.close(os.open(each, os.O_RDWR | os.O_CREAT, 0o600))


def is_damaged(error: Exception) -> bool:
    """Whether the file is no database any more."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _DAMAGED


def move_aside(path: Path) -> Path:
    """Renames a damaged file, and what belongs to it, so that a new one can be made; returns its new name."""
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt-{time}")
    path.replace(aside)
    for ending in _SIDE_FILES:
        side = path.with_name(path.name + ending)
        if side.exists():
            side.replace(aside.with_name(aside.name + ending))
    return aside


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _figure(value: object) -> int:
    """A figure of a file that may be older, or was changed by hand."""
    return min(max(int(value), 0), MOST) if isinstance(value, int | float) else 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_row(answer: OpenAnswer) -> Row:
    return (answer.stream_id, *answer.key, answer.estimate_nano, answer.generation_id, int(answer.is_counted))

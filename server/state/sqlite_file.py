"""A SQLite file of ours: opening it, writing to it as a whole or not at all, and moving a damaged one aside.

It belongs to one process at a time, which holds a lock beside it as long as it runs. Anybody may read it meanwhile,
and between two writes the file is whole and alone, without a write-ahead log: what is copied then lacks nothing. What
was committed survives the process, and a power cut too.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiosqlite

from server.state.lock import lock_path, take_lock

_LOCK_WAIT_S = 1.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SIDE_FILES = ("-wal", "-shm", "-journal")

Row = tuple[str | float | bytes | int | None, ...]


class SqliteFile:
    """The open file. Everything may raise `sqlite3.Error`; see `connect` for the rest.

    Attributes:
        db: one connection, with a thread of its own.
    """

    def __init__(self, path: Path, db: aiosqlite.Connection, lock: sqlite3.Connection) -> None:
        self.db = db
        self._lock = lock
        self._path = path
        self._identity = _identity(path)

    def is_in_place(self) -> bool:
        """Whether the file that is written is still the one that its path names."""
        return self._identity is not None and _identity(self._path) == self._identity

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """What is done inside is done as a whole, or not at all."""
        await self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            await self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                await self.db.execute("ROLLBACK")
            raise

    async def rows(self, query: str, parameters: Iterable[object] = ()) -> list[tuple[object, ...]]:
        """All that a query finds."""
        return [tuple(row) for row in await self.db.execute_fetchall(query, parameters)]

    async def aclose(self) -> None:
        """Closes it; its lock is free then."""
        try:
            await self.db.close()
        finally:
            self._lock.close()


async def connect(
    path: Path, schema: Sequence[str], *, pragmas: Sequence[str] = ()
) -> tuple[aiosqlite.Connection, sqlite3.Connection]:
    """Opens a file, and makes it and its folder where they are missing: the connection, and the lock that it has.

    Args:
        schema: statements that make what is missing in it.
        pragmas: in force before anything is made.

    Raises:
        sqlite3.Error: it is locked, damaged (`is_damaged`), of another shape, or cannot be written.
        OSError: there can be no such folder or file.
    """
    make_ready(path)
    lock = take_lock(path)
    try:
        return await _connect(path, schema, pragmas), lock
    except BaseException:
        lock.close()
        raise


async def _connect(path: Path, schema: Sequence[str], pragmas: Sequence[str]) -> aiosqlite.Connection:
    db = await aiosqlite.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        for pragma in ("locking_mode = NORMAL", "journal_mode = DELETE", "synchronous = FULL", *pragmas):
            await db.execute(f"PRAGMA {pragma}")
        checked = list(await db.execute_fetchall("PRAGMA quick_check(1)"))
        if checked[0][0] != "ok":
            raise _damaged(str(checked[0][0]))
        await db.execute("BEGIN IMMEDIATE")  # finds out whether it may write
        for statement in schema:
            await db.execute(statement)
        await db.execute("COMMIT")
    except BaseException:
        await db.close()
        raise
    return db


def make_ready(path: Path) -> None:
    """Makes the folder and the file, for its owner only; says what the system says where SQLite knows no reason."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (path, lock_path(path)):
        os.close(os.open(each, os.O_RDWR | os.O_CREAT, 0o600))


def is_damaged(error: Exception) -> bool:
    """Whether the file is no database any more."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _DAMAGED


def remove(path: Path) -> None:
    """Removes a file, and what belongs to it."""
    path.unlink(missing_ok=True)
    for ending in _SIDE_FILES:
        path.with_name(path.name + ending).unlink(missing_ok=True)


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


def reason_of(exc: Exception) -> str:
    """Why a file cannot be used, in words for whoever runs the server."""
    if isinstance(exc, FileExistsError | NotADirectoryError):
        return f"{exc.filename} is not a folder"
    if isinstance(exc, OSError):
        return f"{exc.filename}: {exc.strerror}"
    code = getattr(exc, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
        return "another process holds it, such as a second server with the same server.state_dir, or who reads it"
    return str(exc)


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

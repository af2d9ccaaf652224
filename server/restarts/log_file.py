"""The SQLite file under logs on disk: its tables, writing what is new of many answers at once, and reading one.

What it gives back is believed only as far as it makes sense: each row has a checksum over all that it says, and of an
answer only the pieces count that follow each other without a gap. What is deleted is overwritten, too: text that was
to be kept for some minutes is not found in the file afterwards.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from client.streams.mirror import Facts
from server.state.sqlite_file import Row, SqliteFile, connect

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS answer (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,           -- the stream's id, and the caller behind it where that has chosen it
        caller TEXT NOT NULL,
        created_s REAL NOT NULL,            -- epoch seconds
        ended_s REAL,                       -- epoch seconds; NULL while it runs
        last INTEGER NOT NULL,              -- number of its last event, once it has ended; -1: it was cut off
        facts BLOB NOT NULL,                -- JSON of what readers need beside the log
        crc INTEGER NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS answer_caller ON answer (caller, created_s)",
    "CREATE INDEX IF NOT EXISTS answer_ended ON answer (ended_s)",
    """
    CREATE TABLE IF NOT EXISTS piece (      -- of an answer's log
        answer INTEGER NOT NULL,
        last INTEGER NOT NULL,              -- number of its last event
        count INTEGER NOT NULL,             -- of its events
        data BLOB NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (answer, last)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS name (       -- what a caller calls an answer
        caller TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        answer INTEGER NOT NULL,
        given_s REAL NOT NULL,              -- behind the key: SQLite 3.40's quick_check finds fault elsewhere
        PRIMARY KEY (caller, kind, name, answer)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS name_answer ON name (answer)",
)
_PRAGMAS = ("auto_vacuum = INCREMENTAL", "secure_delete = ON")
CUT: Final = -1
"""`last` of an answer whose process ended before it did."""
_ROOM = 16
"""The part of what may be kept that is made free at once."""
_COLUMNS = "id, key, caller, created_s, ended_s, last, facts, crc"
_WRITE_ANSWER = f"INSERT OR REPLACE INTO answer ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_WRITE_PIECE = "INSERT OR REPLACE INTO piece (answer, last, count, data, crc) VALUES (?, ?, ?, ?, ?)"
_WRITE_NAME = "INSERT OR REPLACE INTO name (caller, kind, name, given_s, answer) VALUES (?, ?, ?, ?, ?)"
_TRIM = "DELETE FROM piece WHERE answer = ? AND last < ?"
_REMOVE = (
    "DELETE FROM piece WHERE answer = ?",
    "DELETE FROM name WHERE answer = ?",
    "DELETE FROM answer WHERE id = ?",
)


class KeptFacts(msgspec.Struct, omit_defaults=True):
    """What readers of an answer need beside its log.

    Attributes:
        facts: without `asked`.
        asked: encoded.
        names: kind, name, and epoch seconds at which it was given.
    """

    facts: Facts
    asked: bytes | None = None
    names: list[tuple[str, str, float]] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeptFacts).decode


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A row of an answer.

    Attributes:
        ended_s: epoch seconds; None while it runs.
        last: number of its last event once it has ended; `CUT` where nobody knows.
    """

    row: int
    key: str
    kept: KeptFacts
    ended_s: float | None
    last: int

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.kept.facts.owner


@dataclass(frozen=True, slots=True)
class Piece:
    """Events of a log that follow each other.

    Attributes:
        row: that of the answer.
        last: number of the last of them.
        count: how many.
    """

    row: int
    last: int
    count: int
    data: bytes


@dataclass(slots=True)
class News:
    """What is to be written in one transaction.

    Attributes:
        trims: for an answer's row, the number of the first event that is still kept.
        removed: rows of answers that are kept no longer.
    """

    answers: list[KeptAnswer] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    trims: dict[int, int] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.answers or self.pieces or self.trims or self.removed)


class LogFile(SqliteFile):
    """The open file. Everything may raise `sqlite3.Error`; see `open_log_file` for the rest."""

    async def begin(self, now_s: float) -> int:
        """What an earlier process was running was cut off; the first number that no answer's row has."""
        async with self.transaction():
            running = [
                found for row in await self.rows(f"{_SELECT} WHERE ended_s IS NULL") if (found := _answer(row))
            ]
            await self.db.execute("DELETE FROM answer WHERE ended_s IS NULL")
            cut = [KeptAnswer(each.row, each.key, each.kept, now_s, CUT) for each in running]
            await self.db.executemany(_WRITE_ANSWER, map(_answer_row, cut))
            await self.db.execute("DELETE FROM piece WHERE answer NOT IN (SELECT id FROM answer)")
            await self.db.execute("DELETE FROM name WHERE answer NOT IN (SELECT id FROM answer)")
        [[highest]] = await self.rows("SELECT MAX(id) FROM answer")
        return 1 + (highest if isinstance(highest, int) else 0)

    async def write(self, news: News) -> None:
        """Writes all of it, or nothing."""
        async with self.transaction():
            await self._remove(news.removed)
            await self._remove_older(news.answers)
            await self.db.executemany(_WRITE_ANSWER, map(_answer_row, news.answers))
            names = ((each.owner, *name, each.row) for each in news.answers for name in each.kept.names)
            await self.db.executemany(_WRITE_NAME, names)
            await self.db.executemany(_WRITE_PIECE, map(_piece_row, news.pieces))
            await self.db.executemany(_TRIM, news.trims.items())

    async def _remove(self, rows: Iterable[int]) -> None:
        places = [(row,) for row in rows]
        for statement in _REMOVE if places else ():
            await self.db.executemany(statement, places)

    async def _remove_older(self, answers: Iterable[KeptAnswer]) -> None:
        """An id that its caller has chosen may be one of an earlier answer, which came to nothing."""
        for each in answers:
            if each.kept.facts.fingerprint is not None:
                same = await self.rows("SELECT id FROM answer WHERE key = ? AND id != ?", (each.key, each.row))
                await self._remove(_whole(row[0]) for row in same)

    async def remove_ended_before(self, ended_s: float) -> None:
        """Removes what has been kept for long enough."""
        rows = await self.rows("SELECT id FROM answer WHERE ended_s < ?", (ended_s,))
        if rows:
            async with self.transaction():
                await self._remove(_whole(row[0]) for row in rows)
            await self.db.execute("PRAGMA incremental_vacuum")

    async def make_room(self, most_bytes: int) -> bool:
        """Removes the oldest of those that have ended, if there is more, until there is room for some; False where
        that is not enough."""
        if await self.size_bytes() <= most_bytes:
            return True
        async with self.transaction():
            while await self.size_bytes() > most_bytes - most_bytes // _ROOM:
                rows = await self.rows("SELECT id FROM answer WHERE ended_s IS NOT NULL ORDER BY ended_s LIMIT 1")
                if not rows:
                    break
                await self._remove(_whole(row[0]) for row in rows)
        return await self.size_bytes() <= most_bytes

    async def size_bytes(self) -> int:
        """What is in use of the file."""
        pages = [await self.rows(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")]
        count, free, size = (_whole(rows[0][0]) for rows in pages)
        return (count - free) * size

    async def remove(self, answer: KeptAnswer) -> None:
        """It is kept no longer."""
        async with self.transaction():
            await self._remove([answer.row])

    async def find(self, keys: Sequence[str], owner: str) -> KeptAnswer | None:
        """The owner's answer under one of these keys."""
        places = ", ".join("?" * len(keys))
        query = f"{_SELECT} WHERE key IN ({places}) AND caller = ?"
        return next((found for row in await self.rows(query, (*keys, owner)) if (found := _answer(row))), None)

    async def list_of(self, owner: str, most: int) -> list[tuple[KeptAnswer, int]]:
        """The owner's, newest first, each with the number of the last event that there is."""
        there_is = "(SELECT MAX(last) FROM piece WHERE answer = answer.id)"
        query = f"SELECT {_COLUMNS}, {there_is} FROM answer WHERE caller = ? ORDER BY created_s DESC LIMIT ?"  # noqa: S608
        return [
            (found, _whole(last))
            for *row, last in await self.rows(query, (owner, most))
            if (found := _answer(tuple(row)))
        ]

    async def named(self, owner: str, kind: str, name: str) -> tuple[KeptAnswer, float] | None:
        """The owner's answer that was given that name last, and when, in epoch seconds."""
        query = (
            f"SELECT {', '.join(f'answer.{each}' for each in _COLUMNS.split(', '))}, given_s FROM name "  # noqa: S608
            "JOIN answer ON answer.id = name.answer WHERE name.caller = ? AND kind = ? AND name = ? "
            "ORDER BY given_s DESC LIMIT 1"
        )
        for *row, given_s in await self.rows(query, (owner, kind, name)):
            found = _answer(tuple(row))
            if found is not None and isinstance(given_s, float):
                return found, given_s
        return None

    async def size_of(self, answer: KeptAnswer) -> int:
        """Bytes of an answer's log."""
        [[size_bytes]] = await self.rows("SELECT SUM(LENGTH(data)) FROM piece WHERE answer = ?", (answer.row,))
        return _whole(size_bytes)

    async def pieces_of(self, answer: KeptAnswer) -> list[Piece]:
        """The log, as far as it makes sense: pieces that follow each other without a gap."""
        query = "SELECT answer, last, count, data, crc FROM piece WHERE answer = ? ORDER BY last"
        return list(_following(await self.rows(query, (answer.row,))))


_SELECT = f"SELECT {_COLUMNS} FROM answer"  # noqa: S608 - made of our own words


async def open_log_file(path: Path) -> LogFile:
    """Opens the file, and makes it and its folder where they are missing.

    Raises:
        sqlite3.Error: it is locked, damaged (`is_damaged`), of another shape, or cannot be written.
        OSError: there can be no such folder or file.
    """
    return LogFile(path, *await connect(path, _SCHEMA, pragmas=_PRAGMAS))


def _following(rows: Iterable[tuple[object, ...]]) -> Iterator[Piece]:
    """Up to the first piece that is not what was written, or does not follow the one before."""
    behind: int | None = None
    for row, last, count, data, crc in rows:
        if not (
            isinstance(row, int) and isinstance(last, int) and isinstance(count, int) and isinstance(data, bytes)
        ):
            return
        if crc != _crc(row, last, count, data) or behind not in (None, last - count):
            return
        yield Piece(row, last, count, data)
        behind = last


def _answer_row(answer: KeptAnswer) -> Row:
    owner, ended_s, data = answer.owner, answer.ended_s, _encode(answer.kept)
    crc = _crc(answer.key, owner, ended_s, answer.last, data)
    return (answer.row, answer.key, owner, answer.kept.facts.created_s, ended_s, answer.last, data, crc)


def _answer(row: tuple[object, ...]) -> KeptAnswer | None:
    """What a row says; None where that is not what was written."""
    number, key, owner, _, ended_s, last, data, crc = row
    if not isinstance(data, bytes) or crc != _crc(key, owner, ended_s, last, data):
        return None
    try:
        kept = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of a version with other facts
        return None
    if not (isinstance(number, int) and isinstance(key, str) and isinstance(last, int) and kept.facts.owner == owner):
        return None
    return KeptAnswer(number, key, kept, ended_s if isinstance(ended_s, float) else None, last)


def _piece_row(piece: Piece) -> Row:
    crc = _crc(piece.row, piece.last, piece.count, piece.data)
    return (piece.row, piece.last, piece.count, piece.data, crc)


def _crc(*said: object) -> int:
    *others, data = said
    return zlib.crc32(data if isinstance(data, bytes) else b"", zlib.crc32(repr(others).encode("utf-8", "replace")))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0

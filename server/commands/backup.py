"""`openrouter-server backup FILE`: a copy of the usage ledger, while the server runs or not.

SQLite itself copies, so what is being written is in the copy as a whole or not at all. The copy takes the place of an
older one only when it is complete and sound.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from server.config import ConfigError, Flags, load_config

EX_CONFIG = 78
EX_NOINPUT = 66
"""There is no ledger (sysexits.h)."""
EX_CANTCREAT = 73
"""The copy cannot be made (sysexits.h)."""

_WAIT_S = 10.0
_WAY_OUT = (
    "Name the server's own folder as STATE_DIR, or give its --config (under systemd STATE_DIR is "
    "/var/lib/openrouter-sse-backend)."
)


def backup(target: Path, flags: Flags, environ: Mapping[str, str], cwd: Path) -> int:
    """Copies the ledger that a server with these settings uses; returns the exit code."""
    try:
        config = load_config(flags, environ, cwd)
    except ConfigError as exc:
        _say("\n".join(map(str, exc.problems)))
        return EX_CONFIG
    source = config.ledger_path
    if source is None or not source.is_file():
        _say(f"There is no usage ledger at {source or 'any known place'}. {_WAY_OUT}")
        return EX_NOINPUT
    target = cwd / target
    try:
        rows = copy_ledger(source, target)
    except (sqlite3.Error, OSError) as exc:
        _say(f"{source} cannot be copied to {target}: {exc}")
        return EX_CANTCREAT
    print(f"{source} was copied to {target}: {rows} rows of usage.")
    return 0


def copy_ledger(source: Path, target: Path) -> int:
    """Copies a ledger to a file that only its owner may read; returns the number of rows of usage in it.

    Raises:
        OSError: the copy cannot be written there.
        sqlite3.Error: the ledger is locked for long, or damaged.
    """
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; name a file")
    if target.exists() and target.samefile(source):
        raise FileExistsError("that is the ledger itself")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        rows = _copy(source, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _copy(source: Path, target: Path) -> int:
    uri = f"{source.absolute().as_uri()}?mode=rw"  # a server that was killed may have left a change to be undone
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)) as ledger,
        closing(sqlite3.connect(target)) as copy,
    ):
        ledger.execute("BEGIN")
        ledger.execute("SELECT COUNT(*) FROM sqlite_schema")  # `backup` itself would wait for a lock without end
        ledger.backup(copy)
        (checked,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if checked != "ok":
            raise sqlite3.DatabaseError(f"it is damaged: {checked}")
        (rows,) = copy.execute("SELECT COUNT(*) FROM usage").fetchone()
    return int(rows)


def _say(words: str) -> None:
    print(words, file=sys.stderr)

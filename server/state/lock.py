"""Who may write a file: one process at a time, without keeping readers out.

The lock is one of SQLite's on an empty file beside it, so it works wherever SQLite does, and is gone with the
process that held it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


def lock_path(path: Path) -> Path:
    """The empty file beside it."""
    return path.with_name(f"{path.name}.lock")


def take_lock(path: Path) -> sqlite3.Connection:
    """Locks a file until the connection is closed; never waits.

    Raises:
        sqlite3.Error: another process has it, or there can be no such file.
    """
    lock = sqlite3.connect(lock_path(path), timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("PRAGMA locking_mode = EXCLUSIVE")
        lock.execute("BEGIN EXCLUSIVE")
    except BaseException:
        lock.close()
        raise
    return lock

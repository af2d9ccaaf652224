"""Lua that runs in the engine: sent by its digest, and as a whole where the engine does not know it.

`SCRIPT LOAD` and `FUNCTION` are not used: some proxies and managed services forbid them, and a failover forgets them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from server.shared.engine.lines import ScriptUnknown, Word


class Script:
    """One script.

    Attributes:
        text: its Lua.
        sha: SHA-1 of it, by which the engine knows it.
    """

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def read(cls, folder: Path, name: str) -> Script:
        """The script `<name>.lua` in a folder of the package."""
        return cls((folder / f"{name}.lua").read_text(encoding="utf-8"))


class Asks(Protocol):
    """Whatever commands can be sent on."""

    async def ask(self, *words: Word) -> Any: ...

    async def ask_many(self, commands: Sequence[Sequence[Word]]) -> list[Any]: ...


Call = tuple[Script, Sequence[Word], Sequence[Word]]
"""A script, its keys, its arguments."""


def by_digest(script: Script, keys: Sequence[Word], args: Sequence[Word]) -> tuple[Word, ...]:
    """The command that runs a script which the engine knows."""
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


def as_whole(script: Script, keys: Sequence[Word], args: Sequence[Word]) -> tuple[Word, ...]:
    """The command that runs any script; the engine knows it from then on."""
    return ("EVAL", script.text, len(keys), *keys, *args)


async def run(line: Asks, script: Script, keys: Sequence[Word], args: Sequence[Word]) -> Any:
    """What a script answers.

    Raises:
        EngineError: it did not run, or failed.
    """
    try:
        return await line.ask(*by_digest(script, keys, args))
    except ScriptUnknown:
        return await line.ask(*as_whole(script, keys, args))


async def run_many(line: Asks, calls: Sequence[Call]) -> list[Any]:
    """What several scripts answer that are sent at once; the error in the place of one that failed.

    From the first one on that the engine did not know, all are sent again: each may have been run before, and must
    bear that.
    """
    replies = await line.ask_many([by_digest(*call) for call in calls])
    unknown = next((place for place, reply in enumerate(replies) if isinstance(reply, ScriptUnknown)), None)
    if unknown is None:
        return replies
    return replies[:unknown] + await line.ask_many([as_whole(*call) for call in calls[unknown:]])

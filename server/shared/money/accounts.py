"""Callers' accounts in the engine: what they are called there, and the calls of scripts that change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from client.border.json_codec import encode_json
from server.shared.engine.keys import caller_tag
from server.shared.engine.scripts import Call, Script
from server.shared.store import Store

_LUA: Final = Path(__file__).parent / "scripts"
_ACCOUNT: Final = (_LUA / "account.lua").read_text(encoding="utf-8")
_AGAIN: Final = 2


def _script(name: str) -> Script:
    return Script(_ACCOUNT + (_LUA / f"{name}.lua").read_text(encoding="utf-8"))


RESERVE: Final = _script("reserve")
OPENED: Final = _script("opened")
SETTLE: Final = _script("settle")
ADOPT: Final = _script("adopt")
RESTORE: Final = _script("restore")
LOOK: Final = _script("look")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a script of an account answers.

    Attributes:
        word: the first, as the scripts name it.
        rest: what follows the engine's time.
    """

    word: str
    rest: tuple[str, ...]


class Accounts:
    """All accounts.

    Args:
        book: the name of this process's figures.

    Attributes:
        epoch: that of the engine's data, under which books are known there.
    """

    def __init__(self, store: Store, book: Callable[[], str]) -> None:
        self._store = store
        self.book = book
        self.epoch = ""
        self._skew_ms = 0

    def key(self, caller: str, name: str) -> str:
        """One of an account's keys."""
        return f"{self._place(caller)}{name}"

    def _place(self, caller: str) -> str:
        return f"{self._store.prefix}:{{c:{caller_tag(caller)}}}:"

    @property
    def callers_key(self) -> str:
        """Set of the names of all callers that have an account."""
        return f"{self._store.prefix}:{{r}}:callers"

    def touched_key(self, rid: str) -> str:
        """Set of the names of those callers of whom a process may hold answers."""
        return self._store.keys.accounts(rid)

    def call(self, script: Script, caller: str, day: str, **told: object) -> Call:
        """A call to be sent at once."""
        place = self._place(caller)
        keys = [place + name for name in ("acct", "starts", "open", "settled", f"spent:{day}", f"usage:{day}")]
        book = self.book()
        told = {"epoch": self.epoch, "me": book, "book": book, "rid": self._store.rid, "day": day, **told}
        return script, keys, [encode_json({"sent": self._store.now_ms() + self._skew_ms, **told})]

    def reply(self, reply: Sequence[Any]) -> Reply:
        """What a script has answered."""
        word, now_ms, *rest = reply
        if word == b"late":
            self._skew_ms = now_ms - self._store.now_ms()
        return Reply(_text(word), tuple(_text(each) for each in rest))

    async def ask(self, script: Script, caller: str, day: str, **told: object) -> Reply:
        """Calls a script; again, where the engine's clock was not where it was taken to be.

        Raises:
            StoreUnavailable: as `Store.run`.
        """
        for _ in range(_AGAIN):
            reply = self.reply(await self._store.run(*self.call(script, caller, day, **told)))
            if reply.word != "late":
                break
        return reply


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)

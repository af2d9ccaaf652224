"""Asks the engine for many callers at once: who comes while a call is under way goes with the next one.

Whoever gives up waiting costs nobody a connection, and what was not sent yet is not sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from client.streams.elsewhere import StoreUnavailable
from server.shared.engine.scripts import Script
from server.shared.money.accounts import Accounts, Reply
from server.shared.store import Store

_MOST_CALLS: Final = 100


@dataclass(slots=True, eq=False)
class _Question:
    script: Script
    caller: str
    day: str
    told: dict[str, Any]
    reply: asyncio.Future[Reply]


class Asking:
    """What is asked, and who waits for it."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._waiting: deque[_Question] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, script: Script, caller: str, day: str, told: dict[str, Any]) -> Reply:
        """What a script answers.

        Raises:
            StoreUnavailable: as `Store.run`.
        """
        question = _Question(script, caller, day, told, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all(), name="admission in the shared store")
        return await question.reply

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_CALLS))]
                await self._ask([each for each in taken if not each.reply.done()])
        finally:
            self._asking = None

    async def _ask(self, questions: list[_Question]) -> None:
        try:
            calls = [self._accounts.call(each.script, each.caller, each.day, **each.told) for each in questions]
            replies = await self._store.run_many(calls)
        except StoreUnavailable:
            if len(questions) > 1 and self._store.has_contact:  # one that the engine cannot answer is no one else's
                for each in questions:
                    await self._ask([each] if not each.reply.done() else [])
                return
            for each in questions:
                if not each.reply.done():
                    each.reply.set_exception(StoreUnavailable())
            return
        for each, reply in zip(questions, replies, strict=True):
            if not each.reply.done():
                each.reply.set_result(self._accounts.reply(reply))

    async def aclose(self) -> None:
        """Nobody waits any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

"""Processes, as far as money goes: each with a ledger and a lease in the engine of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, cast

from client.models.costs import NANOS
from client.streams.elsewhere import StoreUnavailable
from client.streams.settlement import Settled, Settlement
from client.streams.stream import Stream
from server.access.callers import Caller
from server.budgets.leases import AnswerLease
from server.budgets.ledger import Ledger
from server.budgets.ledger_file import UsageCounts, UsageKey
from server.config.redis.url import parse_url
from server.shared.engine.keys import Keys
from server.shared.engine.lines import Dialler
from server.shared.money.admission import SharedAdmission
from server.shared.store import Store
from tests.shared.waiting import until

MODEL: dict[str, Any] = {"id": "acme/m", "pricing": {"prompt": "0", "completion": "0.001"}, "top_provider": {}}
PREFIX = "openrouter-sse"
T = TypeVar("T")


def ask(tokens: int = 1000) -> dict[str, Any]:
    """A request that may cost a USD per 1,000 tokens."""
    return {"model": "acme/m", "messages": [{"role": "user", "content": "?"}], "max_tokens": tokens, "stream": True}


class Played:
    """As much of a stream as a lease looks at."""

    def __init__(self, name: str = "s") -> None:
        self.id = name
        self.owner, self.model, self.requested_model = "ann", "acme/m", "acme/m"
        self.generation_id: str | None = f"gen-{name}"
        self.settlement = Settlement()
        self.stop_reason = "cancelled"
        self.pump = SimpleNamespace(translator=SimpleNamespace(failure=None, has_begun=True))

    @property
    def stream(self) -> Stream:
        return cast(Stream, self)

    def costs(self, dollars: float) -> Stream:
        """Upstream has said so."""
        self.settlement.state({"cost": dollars, "prompt_tokens": 1, "completion_tokens": 2})
        return self.stream

    def cut(self) -> Stream:
        """Its cost has to be looked up."""
        self.settlement.is_sought = True
        return self.stream


class Office:
    """One process, and a caller, `ann`, whose limits a test sets."""

    def __init__(self, url: str, path: Path | None, lease_s: float, when_lost: Literal["refuse", "serve"]) -> None:
        self.ann = Caller("ann")
        self.url = url
        self.dialler = Dialler(parse_url(url))
        self.store = Store(self.dialler, Keys(PREFIX), lease_s=lease_s, when_lost=when_lost)
        self.ledger = Ledger(path, has_book=True)
        self.sought: list[Settled] = []
        self.admission = SharedAdmission(
            self.store, self.ledger, lambda name: self.ann if name == "ann" else None, {"acme/m": MODEL}.get
        )

    @property
    def journal(self) -> Any:
        return self.admission.journal

    def limit(self, **limits: Any) -> None:
        self.ann = replace(self.ann, **limits)

    async def start(self, tokens: int = 1000, name: str = "s") -> AnswerLease:
        """An answer, as soon as the engine can be asked."""
        return await patient(lambda: self.start_now(tokens, name))

    async def start_now(self, tokens: int = 1000, name: str = "s") -> AnswerLease:
        """The same, or `StoreUnavailable`."""
        return await self.admission.admit(ask(tokens), "ann", name)

    async def told(self) -> None:
        """Returns when the engine has taken everything."""
        await until(lambda: not self.journal._due and not self.journal.restoring.has_doubts, 60)

    async def budget(self) -> tuple[float, float]:
        """Spent and held over all processes, USD."""
        ann = replace(self.ann, budget_usd_per_day=Decimal(10**6))
        state = await patient(lambda: self.admission.budget_of(ann))
        assert state is not None
        return state.spent_nano / NANOS, state.reserved_nano / NANOS

    async def counts(self) -> UsageCounts:
        """Ann's figures over all processes."""
        return _sum(await patient(lambda: self.admission.usage(self.today, self.today, "ann")))

    async def own(self) -> UsageCounts:
        """What this process's ledger says."""
        return _sum(await self.ledger.read(self.today, self.today, "ann"))

    @property
    def today(self) -> date:
        return date.fromisoformat(self.ledger.today)

    async def bury(self, other: Office) -> None:
        for step in self.store.on_buried:
            await patient(partial(step, other.store.rid))

    async def open(self) -> None:
        await self.admission.open(self.sought.append)
        await self.store.open()

    async def aclose(self) -> None:
        await self.admission.aclose()
        await self.store.aclose()

    async def die(self) -> None:
        """Nothing more comes of it, as after SIGKILL: neither to the engine nor to the file."""
        tasks = [self.journal._writer, self.store._beating, self.ledger._writer]
        for task in tasks:
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self.journal.restoring.aclose()
        for line in (self.store.writer, self.store.follower, self.store.pages, self.store._callers, self.store._life):
            await line.aclose()
        await self.ledger._close_file()


def _sum(rows: dict[UsageKey, UsageCounts]) -> UsageCounts:
    total = UsageCounts()
    for counts in rows.values():
        total.add(counts)
    return total


async def patient(ask: Callable[[], Awaitable[T]]) -> T:
    """What is answered as soon as there is contact on every connection."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def office(
    url: str, path: Path | None = None, *, lease_s: float = 1.0, when_lost: Literal["refuse", "serve"] = "refuse"
) -> AsyncIterator[Office]:
    """A process that lives as long as the context."""
    one = Office(url, path, lease_s, when_lost)
    await one.open()
    try:
        yield one
    finally:
        await one.aclose()

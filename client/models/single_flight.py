"""One value that many callers want and one task fetches: shared, kept for a while, outliving an upstream in trouble.

Goals: any number of callers cause one fetch; a caller who leaves does not take it from the others; a value that could
not be renewed is better than none, and its reader is told. Does not know what is fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from client.errors import Failure, OpenRouterError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_BROKEN = Failure(
    error="The server failed to make something of OpenRouter's answer; its log has the details.",
    type="internal",
    status=500,
    retryable=True,
)

RETRY_AFTER_S: Final = 5.0
"""How long after a failed renewal the next one may start; until then the old value is given at once."""


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A fetched value, and when the fetch ended on the clock of its owner."""

    value: T
    at_s: float


class SingleFlight(Generic[T]):
    """A value fetched when somebody wants it, by one task for all.

    - Younger than `ttl_s`: given at once.
    - Older: callers wait for the renewal, so that nobody gets an old value while upstream is well. When it fails, or
      takes longer than `patience_s`, they get the old value marked stale; the renewal goes on without them.
    - Never fetched: callers wait for the fetch, and its error is theirs. The next caller tries again.

    Args:
        fetch: raises `OpenRouterError` for what is upstream's doing.
        ttl_s: seconds a value is fresh; 0 fetches for every group of simultaneous callers.
        patience_s: how long a caller waits for a renewal when there is an old value to give.
        clock: seconds that only grow.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], *, ttl_s: float, patience_s: float, clock: Callable[[], float]
    ) -> None:
        self._fetch = fetch
        self.ttl_s = ttl_s
        self._patience_s = patience_s
        self._clock = clock
        self._held: Held[T] | None = None
        self._task: asyncio.Task[OpenRouterError | None] | None = None
        self._not_before_s = float("-inf")

    @property
    def held(self) -> Held[T] | None:
        """What was fetched last, however old; None before the first time. Asks nobody."""
        return self._held

    @property
    def age_s(self) -> float | None:
        """Seconds since the last successful fetch."""
        return None if self._held is None else self._clock() - self._held.at_s

    async def get(self) -> tuple[T, bool]:
        """The value, and whether it is stale.

        Raises:
            OpenRouterError: nothing was ever fetched, and it failed this time.
        """
        old = self._held
        if old is not None and self._clock() - old.at_s < self.ttl_s:
            return old.value, False
        if old is not None and self._clock() < self._not_before_s:
            return old.value, True
        return await self._renewed(old)

    def refresh(self) -> None:
        """Begins to renew what is too old, for those who cannot wait and read `held`."""
        now_s = self._clock()
        if now_s >= self._not_before_s and (self._held is None or now_s - self._held.at_s >= self.ttl_s):
            self._running()

    async def _renewed(self, old: Held[T] | None) -> tuple[T, bool]:
        task = self._running()
        # asyncio.wait leaves the task alone when this caller is cancelled
        await asyncio.wait({task}, timeout=None if old is None else self._patience_s)
        failure = task.result() if task.done() else None
        held = self._held
        if failure is not None and held is None:
            raise failure
        assert held is not None  # noqa: S101 - a task that ended well has left a value
        return held.value, failure is not None or not task.done()

    def _running(self) -> asyncio.Task[OpenRouterError | None]:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew())
        return self._task

    async def _renew(self) -> OpenRouterError | None:
        """Fetches; a failure is the result, as there may be no caller left to take an exception."""
        try:
            value = await self._fetch()
        except OpenRouterError as exc:
            self._not_before_s = self._clock() + RETRY_AFTER_S
            return exc
        except Exception:  # a fault of ours: those who wait are told all the same
            logger.exception("a value that is fetched for all could not be made")
            self._not_before_s = self._clock() + RETRY_AFTER_S
            return OpenRouterError(_BROKEN)
        self._held = Held(value, self._clock())
        return None

    async def aclose(self) -> None:
        """Ends a fetch under way, and waits for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

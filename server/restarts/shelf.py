"""Answers of earlier processes that somebody reads: each is put together once for all who do, and dropped soon after
the last has gone."""

from __future__ import annotations

import asyncio

from client.streams.mirror import Mirror

IDLE_S = 5.0
"""How long one is kept that nobody reads."""


class Shelf:
    """Mirrors by the keys of their answers.

    Args:
        mirrors: all there are: one that is not among them was dropped, since its room was needed.
    """

    def __init__(self, mirrors: set[Mirror]) -> None:
        self._all = mirrors
        self._mirrors: dict[str, Mirror] = {}
        self._timer: asyncio.TimerHandle | None = None

    def get(self, key: str) -> Mirror | None:
        """One that stays until whoever asks has had the time to read it."""
        mirror = self._mirrors.get(key)
        if mirror is None or mirror not in self._all:
            return None
        mirror.idle_since_s = asyncio.get_running_loop().time()
        return mirror

    def put(self, mirror: Mirror) -> None:
        """Another one."""
        self._mirrors[mirror.key] = mirror
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def drop(self, key: str) -> None:
        """Nobody is to find it any more."""
        mirror = self._mirrors.pop(key, None)
        if mirror is not None:
            mirror.drop()

    def clear(self) -> None:
        """All of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for key in tuple(self._mirrors):
            self.drop(key)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() - IDLE_S
        for key, mirror in tuple(self._mirrors.items()):
            if not mirror.is_in_use and mirror.idle_since_s <= until_s:
                self.drop(key)
        self._timer = loop.call_later(IDLE_S, self._sweep) if self._mirrors else None

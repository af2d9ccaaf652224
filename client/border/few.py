"""A queue of few things."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Few(list[T]):
    """In place of a `deque`, which has room for 64 things at once: 700 bytes, and aiohttp has five for an answer."""

    __slots__ = ()

    def popleft(self) -> T:
        """Takes the first one."""
        return self.pop(0)

    def appendleft(self, item: T) -> None:
        """Puts one before all others."""
        self.insert(0, item)

"""Answers that this process did not begin: who may know of them.

Several may know: those who hold what an earlier process left, those who share answers with other processes. Each is
asked in turn, after what this process has itself.
"""

from __future__ import annotations

from typing import Protocol

from client.errors import Failure, Refusal
from client.streams.mirror import Mirror
from client.streams.readable import Summary

RETRY_AFTER_S = 5.0
_UNKNOWN = (
    "The store that this server's processes share cannot be reached, so nobody knows what the others run; what runs "
    "goes on. Try again."
)


class StoreUnavailable(Refusal):
    """What other processes know cannot be asked for now: neither that there is such an answer, nor that there is
    none."""

    def __init__(self, error: str = "", *, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(
            Failure(
                error=error or _UNKNOWN,
                type="store_unavailable",
                status=503,
                retryable=True,
                retry_after_s=retry_after_s,
            )
        )


class Elsewhere(Protocol):
    """Somebody who knows of answers of other processes. Every method may raise `StoreUnavailable`."""

    async def find(self, stream_id: str, owner: str) -> Mirror | None:
        """The owner's answer of that id, with all that was known of it when this was asked: the same mirror for all
        who read it. None: there is none, or it is somebody else's.

        Raises:
            StreamsFull: there is no room for it.
        """

    async def list_of(self, owner: str, most: int | None) -> list[Summary]:
        """The owner's answers, newest first; those of this process may be among them."""

    async def find_name(self, owner: str, kind: str, name: str) -> tuple[str, float] | None:
        """The id of the owner's answer of that name, and since when it is that, in epoch seconds."""

    async def forget(self, stream_id: str, owner: str) -> None:
        """Nobody finds that answer any more, anywhere."""

"""Ids that owners choose for their answers: whoever asks again under one, here or elsewhere, has the same answer."""

from __future__ import annotations

import asyncio
from typing import Protocol

from client.streams.elsewhere import StoreUnavailable
from client.streams.readable import Readable, key_of
from client.streams.stream import Copies, Stream


class AlreadyBegun(Exception):
    """The id that was chosen for a stream is that of another.

    Attributes:
        stream: the other one, of the same owner.
    """

    def __init__(self, stream: Readable) -> None:
        super().__init__(stream.id)
        self.stream = stream


class Known(Protocol):
    """The answers there are.

    Attributes:
        copies: who speaks to other processes; None where there are none.
    """

    copies: Copies | None

    def get(self, stream_id: str, owner: str) -> Stream | None:
        """The owner's answer of that id, of this process."""

    async def find(self, stream_id: str, owner: str) -> Readable | None:
        """The same of any process."""


class ChosenIds:
    """Sees to it that one answer is begun under each."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Event] = {}  # by the key of a stream to be

    async def take(self, known: Known, stream_id: str, owner: str, fingerprint: bytes) -> None:
        """Of those who chose one id only one has it at a time, until it leaves, and nobody once one of them has begun
        an answer.

        Raises:
            AlreadyBegun: somebody has.
            Refusal: nobody knows now.
        """
        key = key_of(stream_id, owner)
        while (other := self._under_way.get(key)) is not None:
            await other.wait()
        self._under_way[key] = asyncio.Event()
        try:
            begun: Readable | None = known.get(stream_id, owner)
            if begun is not None and not begun.has_come_to_nothing:
                raise AlreadyBegun(begun)
            copies = known.copies
            if copies is not None and not await copies.claim(key, stream_id, owner, fingerprint):
                begun = await known.find(stream_id, owner)
                raise StoreUnavailable if begun is None else AlreadyBegun(begun)
        except AlreadyBegun:
            self._under_way.pop(key).set()
            raise
        except BaseException:  # who was not waited for, or heard no reply, may have it all the same
            self.leave(known, key, has_begun=False)
            raise

    def leave(self, known: Known, key: str, *, has_begun: bool) -> None:
        """Whoever has the id of that key has begun an answer, or does not."""
        self._under_way.pop(key).set()
        if known.copies is not None and not has_begun:
            known.copies.unclaim(key)

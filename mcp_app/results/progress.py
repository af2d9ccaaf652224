"""Following an answer: a reader that puts it together."""

from __future__ import annotations

import asyncio

from client.streams.answer import Answer
from client.streams.gathering import WholeReader, read_answer
from client.streams.readable import Readable


class AnswerReader(WholeReader):
    """Puts an answer together as it comes; attach it to its stream.

    Attributes:
        taken: number of the last event taken.
        answer: what there is.
    """

    def __init__(self, stream: Readable) -> None:
        super().__init__(stream)
        self.taken = 0
        self.answer = Answer()
        self._keeps_up = False

    def push(self, data: bytes, last: int) -> None:
        """Takes the events, once those before them were read from the log."""
        super().push(data, last)
        if self._keeps_up:
            self.answer.feed(data)
            self.taken = last
            self.hold(len(data))

    async def wait_end(self, wait_s: float) -> bool:
        """Waits until the answer is whole, but no longer than `wait_s`; tells whether it is.

        Raises:
            EventsGone: the stream has outgrown its log.
        """
        self.taken = await read_answer(self._stream.log, self.answer)
        self.hold(self._stream.log.size_bytes)
        self._keeps_up = True
        try:
            async with asyncio.timeout(wait_s):
                await self.wait_whole()
        except TimeoutError:
            return False
        return True

"""Gathering a whole answer, for callers that want it in one piece.

The log is the one copy of it while it comes: nothing of it is dropped as long as somebody gathers. So a gathered
answer is bounded by `streams.max_result_bytes`, counted in `streams.max_total_bytes`, and ended with an error beyond.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from client.errors import Failure
from client.streams.answer import Answer
from client.streams.log import StreamLog
from client.streams.raw_log import TypedView
from client.streams.readable import Readable

PIECE_BYTES = 65_536
"""How much of a log is made an answer of in one turn of the loop: a large one would hold up all streams."""

ROOM_S = 10.0
"""How long others are given to make room before a gathered answer is ended for want of it."""

NO_ROOM = Failure(
    error="The answer was ended: all answers together take the memory that streams.max_total_bytes allows. Ask for "
    "it with stream=true, which needs less, or try again later.",
    type="overloaded",
    status=503,
    retryable=True,
    retry_after_s=5.0,
)


class WholeReader:
    """Keeps a stream's log whole, and ends the stream where that would be too much.

    Attributes:
        position: stays at the beginning, so that nothing is dropped.
    """

    position = 0

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._turn = asyncio.Event()
        self._held_bytes = 0
        stream.keep_whole()

    def push(self, data: bytes, last: int) -> None:
        """The events are in the log; looks whether more may follow."""
        if self._stream.is_full:
            self._turn.set()

    def hold(self, size_bytes: int) -> None:
        """Counts what is kept of the events beside the log."""
        self._held_bytes += size_bytes
        self._stream.hold(size_bytes)

    def let_go(self) -> None:
        """Nothing is kept any more."""
        self._stream.hold(-self._held_bytes)
        self._held_bytes = 0

    def wake(self) -> None:
        """The stream may have ended."""
        self._turn.set()

    def stalled_s(self) -> float:
        """It takes whatever comes."""
        return 0.0

    def leave(self) -> None:
        """It ends by itself when there is no room."""

    async def wait_whole(self) -> Failure | None:
        """Returns when the stream has ended; says why when that was for its size."""
        stream = self._stream
        while not stream.log.closed:
            failure = await self._judge_size()
            if failure is not None:
                await stream.end("interrupted", failure)
                return failure
            await self._turn.wait()
            self._turn.clear()
        return None

    async def _judge_size(self) -> Failure | None:
        stream = self._stream
        if not stream.is_full:
            return None
        if stream.has_full_log:
            return too_large(stream.max_log_bytes)
        with suppress(TimeoutError):
            async with asyncio.timeout(ROOM_S):
                await stream.ended.wait()
        self._turn.set()
        return NO_ROOM if stream.is_full and not stream.log.closed else None


def too_large(max_bytes: int) -> Failure:
    """Why an answer was ended."""
    return Failure(
        error=f"The answer was ended: it outgrew the {max_bytes} bytes that are gathered for one reply "
        "(streams.max_result_bytes). Ask for it with stream=true, which has no limit, or raise the setting.",
        type="stream_interrupted",
        status=502,
        retryable=False,
    )


async def read_answer(log: StreamLog, answer: Answer, after: int = 0, view: TypedView | None = None) -> int:
    """Adds what the log holds after an event, a piece a turn of the loop; returns the number of the last one.

    `view` makes events of a log that holds chunks; the same one for every part of a log.

    Raises:
        EventsGone: some of it was dropped.
    """
    while after < log.last:
        events, after = await log.read_after(after, PIECE_BYTES)
        answer.feed(events if view is None else view.view(events))
        await asyncio.sleep(0)
    return after

"""Following an answer: a reader that puts it together, and reports of how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from client.answer import Answer
from client.gathering import WholeReader, read_answer
from client.streams import Stream

_INTERVAL_S: Final = 0.25
"""Reports at most."""
_HEARTBEAT_S: Final = 5.0
"""A report is due even when nothing came: clients reset their time-outs by it."""
_TAIL: Final = 400
"""Characters of the text so far that a report ends with."""

Report = Callable[[float, str], Awaitable[None]]
"""Sends progress (a number that grows) and a message."""


class AnswerReader(WholeReader):
    """Puts an answer together as it comes; attach it to its stream.

    Attributes:
        taken: number of the last event taken.
        answer: what there is.
    """

    def __init__(self, stream: Stream) -> None:
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


@asynccontextmanager
async def reporting_progress(
    stream: Stream, reader: AnswerReader, report: Report, *, heartbeat_s: float = _HEARTBEAT_S
) -> AsyncIterator[None]:
    """Reports inside the block; no report is sent after it."""
    task = asyncio.create_task(_report(stream, reader, report, heartbeat_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _report(stream: Stream, reader: AnswerReader, report: Report, heartbeat_s: float) -> None:
    """Reports until cancelled: at once, then what is new at most four times a second, and a heartbeat.

    The numbers begin above 0, which was reported before the answer was begun. Each report waits for the client's
    socket, so this runs beside the reading and never holds it up.
    """
    loop = asyncio.get_running_loop()
    started_s, progress, reported_s, position = loop.time(), 0.0, 0.0, -1
    while True:
        now_s = loop.time()
        if reader.taken != position or now_s - reported_s >= heartbeat_s:
            position, reported_s = reader.taken, now_s
            progress = max(round(now_s - started_s, 3), round(progress + 0.001, 3))  # must grow with every report
            await report(progress, _message(stream, reader.answer, now_s - started_s))
        await asyncio.sleep(_INTERVAL_S)


def _message(stream: Stream, answer: Answer, elapsed_s: float) -> str:
    text, reasoning = answer.text("content"), answer.text("reasoning")
    head = f"{stream.model}, {elapsed_s:.0f} s"
    if text:
        return f"{head}, answering: {_tail(text)}"
    return f"{head}, thinking: {_tail(reasoning)}" if reasoning else f"{head}, waiting for the model"


def _tail(text: str) -> str:
    return text if len(text) <= _TAIL else "…" + text[-_TAIL:]

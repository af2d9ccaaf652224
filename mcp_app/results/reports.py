"""Progress of a call, told to its client while it runs. Imports nothing that is slow to load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from mcp_app.results.clean import clean_text

if TYPE_CHECKING:
    from client.streams.readable import Readable
    from mcp_app.results.progress import AnswerReader

_INTERVAL_S: Final = 0.25
"""Reports at most, and none before: a call that ends within it needs none, and some clients have forgotten the
call's token when report and answer come in one read."""
_APART_S: Final = 0.02
"""Between a report and the answer, for the same reason."""
_HEARTBEAT_S: Final = 5.0
"""A report is due even when nothing came: clients reset their time-outs by it."""
_TAIL: Final = 400
"""Characters of the text so far that a report ends with."""

Report = Callable[[float, str], Awaitable[None]]
"""Sends progress (a number that grows) and a message."""


class Reports:
    """What the reports of one call tell: that it begins, then how far the followed answer is."""

    def __init__(self, report: Report, heartbeat_s: float) -> None:
        self._report = report
        self._heartbeat_s = heartbeat_s
        self._followed: list[tuple[Readable, AnswerReader]] = []
        self._expected: list[str] = []
        self._done: list[str] = []
        self._reported_s = 0.0

    def expect(self, models: Sequence[str]) -> None:
        """Several answers are on their way: tells who is done."""
        self._expected = list(models)

    def note_done(self, model: str, *, is_running: bool) -> None:
        """One of several has answered or failed, or is waited for no longer."""
        if not is_running:
            self._done.append(model)

    def follow(self, stream: Readable, reader: AnswerReader) -> None:
        """From now on, tells of this answer."""
        self._followed.append((stream, reader))

    async def run(self) -> None:
        """Reports until cancelled: what is new at most four times a second, and a heartbeat.

        Each report waits for the client's socket, so this runs beside the reading and never holds it up.
        """
        loop = asyncio.get_running_loop()
        started_s, progress, told = loop.time(), 0.0, None
        while True:
            await asyncio.sleep(_INTERVAL_S)
            now_s = loop.time()
            position = (len(self._done), *(reader.taken for _, reader in self._followed))
            if position == told and now_s - self._reported_s < self._heartbeat_s:
                continue
            told, self._reported_s = position, now_s
            progress = max(round(now_s - started_s, 3), round(progress + 0.001, 3))  # must grow with every report
            await self._report(progress, self._message(now_s - started_s))

    async def stand_apart(self) -> None:
        """Returns when the last report is long enough ago to be read by itself."""
        since_s = asyncio.get_running_loop().time() - self._reported_s
        if since_s < _APART_S:
            await asyncio.sleep(_APART_S - since_s)

    def _message(self, elapsed_s: float) -> str:
        if self._expected:
            return clean_text(self._message_of_several(elapsed_s))
        if not self._followed:
            return f"starting, {elapsed_s:.0f} s"
        [(stream, reader)] = self._followed
        answer = reader.answer
        text, reasoning = answer.text("content"), answer.text("reasoning")
        head = f"{stream.model}, {elapsed_s:.0f} s"
        if text:
            return clean_text(f"{head}, answering: {_tail(text)}")
        said = f"{head}, thinking: {_tail(reasoning)}" if reasoning else f"{head}, waiting for the model"
        return clean_text(said)

    def _message_of_several(self, elapsed_s: float) -> str:
        waiting = [model for model in self._expected if model not in self._done]
        said = f"{len(self._done)} of {len(self._expected)} models done, {elapsed_s:.0f} s"
        said += f"; done: {', '.join(self._done)}" if self._done else ""
        return f"{said}; waiting for {', '.join(waiting)}" if waiting else said


@asynccontextmanager
async def reporting(report: Report, *, heartbeat_s: float = _HEARTBEAT_S) -> AsyncIterator[Reports]:
    """Reports inside the block; none is sent after it, nor right before its end."""
    reports = Reports(report, heartbeat_s)
    task = asyncio.create_task(reports.run())
    try:
        try:
            yield reports
        finally:
            task.cancel()
            await asyncio.wait([task])
    except Exception:
        await reports.stand_apart()
        raise
    await reports.stand_apart()


def _tail(text: str) -> str:
    return text if len(text) <= _TAIL else "…" + text[-_TAIL:]

"""One answer: asked for, read, read on after a lost connection, stopped.

Three ends differ. `stop()` ends the answer at the server. Leaving (`break`, a cancelled task, `aclose()`) closes the
connection only: the answer goes on for its `grace_s`, and another loop over the same object goes on after the last
event. A lost connection is neither: reading goes on by itself where it was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

from openrouter_sse_client.errors import CONNECTION_LOST, ChatError, error_from
from openrouter_sse_client.link import Asked, Link, State
from openrouter_sse_client.results import Result, result_of
from openrouter_sse_client.transport import Transport
from openrouter_sse_client.wire.events import Error, Event, Usage, event_of
from openrouter_sse_client.wire.progress import Progress

_READ_TWICE = "two loops read this answer; let the second read client.resume(chat.id)"
_UNKNOWN_YET_S = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Pauses of `stop` while the request that begins the answer is still under way; the last one again and again."""


class Chat:
    """One answer, read by `async for`."""

    def __init__(
        self,
        transport: Transport,
        stream_id: str,
        asked: Asked | None,
        last_event_id: str | None,
        max_retries: int,
    ) -> None:
        self._transport = transport
        self._max_retries = max_retries
        self._link = Link(transport, stream_id, asked, max_retries)
        self._progress = Progress(last_event_id)
        self._turn = asyncio.Lock()  # whose turn it is to read: the loop's, or that of `stop`
        self._reader: object | None = None  # stands for the loop that reads
        self._is_awaited = False  # it waits for an event
        self._is_over = False
        self._failure: ChatError | None = None
        self._finish_reason: str | None = None

    @property
    def id(self) -> str:
        """Names the answer at the server, from the beginning: store it, and `Client.resume` reads it elsewhere."""
        return self._link.id

    @property
    def state(self) -> State:
        """`connecting`, `open`, `waiting` (to try again), `closed`."""
        return self._link.state

    @property
    def reconnects(self) -> int:
        """How often a lost connection came back."""
        return self._link.reconnects

    @property
    def last_event_id(self) -> str | None:
        """Id of the last event that the loop was given: after it, an answer is resumed."""
        return self._progress.delivered_id

    @property
    def content(self) -> str:
        """The text of the answer so far."""
        return self._progress.content

    @property
    def reasoning(self) -> str:
        """The thinking so far."""
        return self._progress.reasoning

    @property
    def usage(self) -> Usage | None:
        """Tokens and cost; None until they were told."""
        return self._progress.usage

    @property
    def error(self) -> Error | None:
        """The `error` event; None without one."""
        return self._progress.error

    @property
    def completed(self) -> bool | None:
        """Whether the answer is whole; None until it has ended."""
        return None if self._progress.done is None else self._progress.done.completed

    @property
    def finish_reason(self) -> str | None:
        """Why it ended; None while it runs. `cancelled`: it was stopped."""
        done = self._progress.done
        return done.finish_reason if done is not None else self._finish_reason

    def on(self, name: Literal["reconnecting", "reconnected", "state"], listener: Callable[[Any], object]) -> Self:
        """Calls `listener` with a `Reconnecting`, with None, or with the new state."""
        self._link.on(name, listener)
        return self

    # -- reading ------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncGenerator[Event, None]:
        """The events, each once and in order, to the end.

        Raises:
            ChatError: the server refused, or could not be reached again.
        """
        return self._read()

    async def __aenter__(self) -> Self:
        """Nothing is asked before the first event is wanted."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves: closes the connection, and ends the loop that reads. The answer goes on for its `grace_s`; `stop`
        would end it. A later loop goes on after the last event."""
        self._link.is_left = True
        self._link.reconnect()
        self._link.close()

    async def text(self) -> str:
        """The whole answer's text.

        Raises:
            ChatError: it is not whole; what came is in `content`. An answer that was stopped is returned as it is.
        """
        async for _ in self:
            pass
        if self.error is not None:
            raise error_from(self.error)
        done = self._progress.done
        if done is not None and not done.completed and done.finish_reason != "cancelled":
            reason = done.finish_reason or "interrupted"
            raise ChatError(f"The answer was ended before it was whole ({reason}).", type=reason, retryable=True)
        return self.content

    async def result(self) -> Result:
        """Waits for the end; then what the server has of the whole answer. What failed has `error`.

        Raises:
            ChatError: the server refused, or no longer has it.
        """
        async for _ in self:
            pass
        path = f"/chat/{self.id}/result"
        return result_of(await self._transport.ask("GET", path, max_retries=self._max_retries), self.id)

    async def _read(self) -> AsyncGenerator[Event, None]:
        """One loop. A new one takes the place of one that was left, of which Python may tell only later."""
        if self._is_awaited:
            raise RuntimeError(_READ_TWICE)
        reader = self._reader = object()
        self._link.is_left = False
        try:
            while not self._link.is_left:
                while self._progress.is_waiting:
                    yield self._progress.deliver()
                    if self._reader is not reader:
                        raise RuntimeError(_READ_TWICE)
                if self._is_over:
                    break
                await self._wait_event()
            if self._failure is not None:
                raise self._failure
        finally:
            if self._reader is reader:
                self._reader = None
                self._leave()

    async def _wait_event(self) -> None:
        """Until there may be an event."""
        self._is_awaited = True
        try:
            async with self._turn:
                if not (self._progress.is_waiting or self._is_over or self._link.is_left):
                    await self._advance()
        finally:
            self._is_awaited = False

    async def _advance(self) -> None:
        """Takes what comes next."""
        try:
            events = await self._link.read(self._progress.received_id)
        except ChatError as exc:
            if exc.type == CONNECTION_LOST:  # a later loop tries anew
                raise
            self._failure = exc
            events = None
        for each in events or ():
            if self._progress.receive(event_of(*each)):
                self._link.note_event()
        if events is None or self._progress.done is not None:
            self._end()

    def reconnect(self, delay_s: float = 0.0) -> None:
        """Replaces the connection after a while; while one is waited for, tries it now. For whoever knows more of the
        network, and to see that nothing is lost."""
        self._link.reconnect(delay_s)

    # -- ending -------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Ends the answer at the server, which closes upstream at once, and returns when its last event has come.
        The loop is still given what was on its way, and `Done` with `cancelled`. Again is fine.

        Raises:
            ChatError: the server no longer has the answer, or could not be reached.
        """
        self._link.is_stopped = True
        if not self._link.was_sent and not self._is_over:  # nothing was asked: nothing will be
            self._finish_reason = "cancelled"
            self._end()
        if self._is_over:
            return
        summary = await self._delete()
        if summary is not None:
            self._finish_reason = summary.get("finish_reason")
            self._link.end_wait()
            await self._read_to_end()

    async def _delete(self) -> dict[str, Any] | None:
        """What the server says of the stopped answer; None when there is none any more.

        While the request that begins the answer is under way, the server may not know it yet.
        """
        for turn in range(10_000):
            try:
                return await self._transport.ask("DELETE", f"/chat/{self.id}", max_retries=self._max_retries)
            except ChatError as exc:
                if self._is_over:
                    return None
                if exc.type != "not_found" or self._link.is_known:
                    raise
            if not self._turn.locked() and turn >= len(_UNKNOWN_YET_S):  # nobody asks any more
                return None
            await asyncio.sleep(_UNKNOWN_YET_S[min(turn, len(_UNKNOWN_YET_S) - 1)])
        return None

    async def _read_to_end(self) -> None:
        """Takes what is left, so that the loop finds it; not where nobody reads."""
        while not self._is_over and (self._link.is_open or self._turn.locked()):
            async with self._turn:
                if not self._is_over and (self._link.is_open or self._reader is not None):
                    with suppress(ChatError):  # the loop is told of it
                        await self._advance()

    def _end(self) -> None:
        self._is_over = True
        self._link.close()

    def _leave(self) -> None:
        if not self._turn.locked():  # else `stop` reads
            self._link.close()

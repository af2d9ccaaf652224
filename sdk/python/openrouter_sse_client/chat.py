"""One answer: asked for, read, read on after a lost connection, stopped.

Three ends differ. `stop()` ends the answer at the server. Leaving (`break`, a cancelled task, `aclose()`) closes the
connection only: the answer goes on for its `grace_s`, and another loop over the same object goes on after the last
event. A lost connection is neither: reading goes on by itself where it was cut.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from openrouter_sse_client.errors import HTTP_ERROR, ChatError, error_from
from openrouter_sse_client.results import Result, result_of
from openrouter_sse_client.transport import FIRST_TRIES, Connection, Lost, Transport, unreachable
from openrouter_sse_client.wire.backoff import backoff_s
from openrouter_sse_client.wire.events import Error, Event, Usage, event_of
from openrouter_sse_client.wire.progress import Progress
from openrouter_sse_client.wire.sse import EventTooLarge, SSEDecoder

State = Literal["connecting", "open", "waiting", "closed"]
_PASSING = frozenset({"overloaded", "shutting_down", "store_unavailable", "too_many_requests"})
"""What the server says for a while to readers that come back: no end of the answer."""
_READ_TWICE = "two loops read this answer; let the second read client.resume(chat.id)"
_UNKNOWN_YET_S = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Pauses of `stop` while the request that begins the answer is still under way; the last one again and again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that begins an answer, or None of it: an answer is resumed that somebody else has begun.

    Attributes:
        body: JSON.
        key: the `Idempotency-Key`: only with one may a request be repeated.
    """

    body: bytes
    key: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was lost and is tried again.

    Attributes:
        reason: in a few words.
        was_connected: whether the server has had a word before; else it may never have been there.
        attempt: tries in a row without an event, this one included.
        delay_s: until then.
    """

    reason: str
    was_connected: bool
    attempt: int
    delay_s: float


class Chat:
    """One answer, read by `async for`.

    Attributes:
        id: names the answer at the server, from the beginning: store it, and `Client.resume` reads it elsewhere.
        state: `connecting`, `open`, `waiting` (to try again), `closed`.
        reconnects: how often a lost connection came back.
    """

    def __init__(
        self,
        transport: Transport,
        stream_id: str,
        asked: Asked | None,
        last_event_id: str | None,
        max_retries: int,
    ) -> None:
        self.id = stream_id
        self.state: State = "closed"
        self.reconnects = 0
        self._transport = transport
        self._asked = asked
        self._max_retries = max_retries
        self._progress = Progress(last_event_id)
        self._connection: Connection | None = None
        self._decoder = SSEDecoder()
        self._turn = asyncio.Lock()  # whose turn it is to read: the loop's, or that of `stop`
        self._wake = asyncio.Event()
        self._reader: object | None = None  # stands for the loop that reads
        self._is_awaited = False  # it waits for an event
        self._was_sent = asked is None
        self._is_known = asked is None  # the server has said that it has the answer
        self._opening: asyncio.Task[Connection | None] | None = None
        self._is_left = False
        self._is_stopped = False
        self._is_over = False
        self._asked_delay_s: float | None = None
        self._failures = 0
        self._failure: ChatError | None = None
        self._finish_reason: str | None = None
        self._listeners: dict[str, list[Callable[[Any], object]]] = {}

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
        self._listeners.setdefault(name, []).append(listener)
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
        self._is_left = True
        self.reconnect()
        self._change("closed")

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
        self._is_left = False
        try:
            while not self._is_left:
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
                if not (self._progress.is_waiting or self._is_over or self._is_left):
                    await self._advance()
        finally:
            self._is_awaited = False

    async def _advance(self) -> None:
        """Connects, or reads one piece."""
        try:
            if self._connection is None:
                await self._connect()
            else:
                self._take(await self._connection.read())
        except Lost as lost:
            self._disconnect()
            if self._is_left:
                return
            if self._is_stopped and not self._is_known:  # it may never have begun: do not ask for it again
                self._end()
            else:
                await self._wait_after(lost)
        except ChatError as exc:
            self._failure = exc
            self._end()

    def _take(self, piece: bytes) -> None:
        if not piece:
            raise Lost("cut")
        try:
            events = self._decoder.receive_data(piece)
        except EventTooLarge as exc:
            raise ChatError(f"The server sent {exc}.", type=HTTP_ERROR) from exc
        for each in events:
            if self._progress.receive(event_of(*each)):
                self._failures = 0
        if self._progress.done is not None:
            self._end()

    # -- connecting ---------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Asks for the answer, or for the rest of it.

        Once the server has said that it has the answer, it is only read. Until then the request is repeated, with its
        key: the server begins and bills the same answer once.
        """
        self._change("connecting")
        received_id = self._progress.received_id
        headers = {} if received_id is None else {"Last-Event-ID": received_id}
        if self._asked is not None and not self._is_known:
            self._was_sent = True
            headers["Idempotency-Key"] = self._asked.key
            opening = self._transport.open_stream("POST", "/chat", body=self._asked.body, headers=headers)
        else:
            opening = self._transport.open_stream("GET", f"/chat/{self.id}", headers=headers)
        connection = await self._opened(opening)
        self._is_known = True
        if connection is None:  # everything was read already
            self._end()
            return
        self.id = connection.stream_id or self.id
        self._connection = connection
        self._decoder = SSEDecoder()  # half an event of the lost connection is sent again, whole
        self._change("open")
        if self._failures:
            self.reconnects += 1
            self._tell("reconnected", None)

    async def _opened(self, opening: Coroutine[Any, Any, Connection | None]) -> Connection | None:
        """The connection, unless it is cut in between. A task, so that others can end it and not their reader."""
        self._opening = asyncio.create_task(opening)
        try:
            return await self._opening
        except asyncio.CancelledError:
            reader = asyncio.current_task()
            if reader is not None and reader.cancelling():
                raise
            raise Lost("cut on purpose") from None
        except ChatError as exc:
            if exc.type in _PASSING and (self._is_known or self._failures):
                raise Lost(str(exc), retry_after_s=exc.retry_after_s) from exc
            raise
        finally:
            self._opening = None

    async def _wait_after(self, lost: Lost) -> None:
        """Until the next try.

        Raises:
            ChatError: it was tried often enough. The next loop tries anew.
        """
        self._failures += 1
        most = min(FIRST_TRIES, self._max_retries) if lost.is_refused and not self._is_known else self._max_retries
        if self._failures > most:
            self._failures = 0
            raise unreachable(self._transport.base_url, lost) from lost
        delay_s = lost.retry_after_s if self._asked_delay_s is None else self._asked_delay_s
        self._asked_delay_s = None
        if delay_s is None:
            delay_s = backoff_s(self._failures, random.random)
        self._change("waiting")
        self._tell("reconnecting", Reconnecting(str(lost), self._is_known, self._failures, delay_s))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), delay_s)

    def reconnect(self, delay_s: float = 0.0) -> None:
        """Replaces the connection after a while; while one is waited for, tries it now. For whoever knows more of the
        network, and to see that nothing is lost."""
        if self._connection is not None or self._opening is not None:
            self._asked_delay_s = delay_s
            self._cut()
        self._end_wait()

    def _end_wait(self) -> None:
        self._wake.set()
        self._wake.clear()

    # -- ending -------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Ends the answer at the server, which closes upstream at once, and returns when its last event has come.
        The loop is still given what was on its way, and `Done` with `cancelled`. Again is fine.

        Raises:
            ChatError: the server no longer has the answer, or could not be reached.
        """
        self._is_stopped = True
        if not self._was_sent and not self._is_over:  # nothing was asked: nothing will be
            self._finish_reason = "cancelled"
            self._end()
        if self._is_over:
            return
        summary = await self._delete()
        if summary is not None:
            self._finish_reason = summary.get("finish_reason")
            self._end_wait()
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
                if exc.type != "not_found" or self._is_known:
                    raise
            if not self._turn.locked() and turn >= len(_UNKNOWN_YET_S):  # nobody asks any more
                return None
            await asyncio.sleep(_UNKNOWN_YET_S[min(turn, len(_UNKNOWN_YET_S) - 1)])
        return None

    async def _read_to_end(self) -> None:
        """Takes what is left, so that the loop finds it; not where nobody reads."""
        while not self._is_over and (self._connection is not None or self._turn.locked()):
            async with self._turn:
                if not self._is_over and (self._connection is not None or self._reader is not None):
                    with suppress(ChatError):  # the loop is told of it
                        await self._advance()

    def _end(self) -> None:
        self._is_over = True
        self._disconnect()
        self._change("closed")

    def _leave(self) -> None:
        if not self._turn.locked():  # else `stop` reads
            self._disconnect()
            self._change("closed")

    def _cut(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _change(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._tell("state", state)

    def _tell(self, name: str, value: object) -> None:
        for listener in self._listeners.get(name, ()):
            listener(value)

"""The connection to one answer: opened, lost, tried again, cut on purpose."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from openrouter_sse_client.errors import HTTP_ERROR, ChatError
from openrouter_sse_client.transport import FIRST_TRIES, Connection, Lost, Transport, unreachable
from openrouter_sse_client.wire.backoff import backoff_s
from openrouter_sse_client.wire.sse import EventTooLarge, ServerSentEvent, SSEDecoder

State = Literal["connecting", "open", "waiting", "closed"]
_PASSING = frozenset({"overloaded", "shutting_down", "store_unavailable", "too_many_requests"})
"""What the server says for a while to readers that come back: no end of the answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that begins an answer.

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


class Link:
    """Reads one answer over as many connections as it takes.

    Attributes:
        id: names the answer at the server.
        state: `connecting`, `open`, `waiting` (to try again), `closed`.
        reconnects: how often a lost connection came back.
        was_sent: whether anything was asked.
        is_known: whether the server has said that it has the answer.
        is_left: whoever reads wants no more: a lost connection is not tried again.
        is_stopped: the answer shall end: what may never have begun is not asked for again.

    Args:
        asked: None: somebody else has begun the answer.
    """

    def __init__(self, transport: Transport, stream_id: str, asked: Asked | None, max_retries: int) -> None:
        self.id = stream_id
        self.state: State = "closed"
        self.reconnects = 0
        self.was_sent = self.is_known = asked is None
        self.is_left = self.is_stopped = False
        self._transport = transport
        self._asked = asked
        self._max_retries = max_retries
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection | None] | None = None
        self._decoder = SSEDecoder()
        self._wake = asyncio.Event()
        self._failures = 0
        self._asked_delay_s: float | None = None
        self._listeners: dict[str, list[Callable[[Any], object]]] = {}

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def on(self, name: str, listener: Callable[[Any], object]) -> None:
        """Calls the listener at every `reconnecting`, `reconnected` or `state`."""
        self._listeners.setdefault(name, []).append(listener)

    async def read(self, received_id: str | None) -> list[ServerSentEvent] | None:
        """Connects, or reads one piece: what events that brought. None: there is nothing more to read.

        Args:
            received_id: after which event the server goes on.

        Raises:
            ChatError: the server refused, or was tried often enough.
        """
        try:
            if self._connection is None:
                return [] if await self._connect(received_id) else None
            return self._decoded(await self._connection.read())
        except Lost as lost:
            self._disconnect()
            if self.is_left:
                return []
            if self.is_stopped and not self.is_known:
                return None
            await self._wait_after(lost)
            return []

    def note_event(self) -> None:
        """An event came: the next lost connection is the first in a row."""
        self._failures = 0

    def close(self) -> None:
        """Ends the connection, if there is one."""
        self._disconnect()
        self._change("closed")

    def reconnect(self, delay_s: float = 0.0) -> None:
        """Replaces the connection after a while; while one is waited for, tries it now."""
        if self._connection is not None or self._opening is not None:
            self._asked_delay_s = delay_s
            if self._opening is not None:
                self._opening.cancel()
            self._disconnect()
        self.end_wait()

    def end_wait(self) -> None:
        """Tries a lost connection now."""
        self._wake.set()
        self._wake.clear()

    async def _connect(self, received_id: str | None) -> bool:
        """Asks for the answer, or for the rest of it; False when everything was read already.

        Once the server has said that it has the answer, it is only read. Until then the request is repeated, with its
        key: the server begins and bills the same answer once.
        """
        self._change("connecting")
        headers = {} if received_id is None else {"Last-Event-ID": received_id}
        if self._asked is not None and not self.is_known:
            self.was_sent = True
            headers["Idempotency-Key"] = self._asked.key
            opening = self._transport.open_stream("POST", "/chat", body=self._asked.body, headers=headers)
        else:
            opening = self._transport.open_stream("GET", f"/chat/{self.id}", headers=headers)
        connection = await self._opened(opening)
        self.is_known = True
        if connection is None:
            return False
        self.id = connection.stream_id or self.id
        self._connection = connection
        self._decoder = SSEDecoder()  # half an event of the lost connection is sent again, whole
        self._change("open")
        if self._failures:
            self.reconnects += 1
            self._tell("reconnected", None)
        return True

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
            if exc.type in _PASSING and (self.is_known or self._failures):
                raise Lost(str(exc), retry_after_s=exc.retry_after_s) from exc
            raise
        finally:
            self._opening = None

    def _decoded(self, piece: bytes) -> list[ServerSentEvent]:
        if not piece:
            raise Lost("cut")
        try:
            return self._decoder.receive_data(piece)
        except EventTooLarge as exc:
            raise ChatError(f"The server sent {exc}.", type=HTTP_ERROR) from exc

    async def _wait_after(self, lost: Lost) -> None:
        """Until the next try.

        Raises:
            ChatError: it was tried often enough.
        """
        self._failures += 1
        most = min(FIRST_TRIES, self._max_retries) if lost.is_refused and not self.is_known else self._max_retries
        if self._failures > most:
            self._failures = 0
            raise unreachable(self._transport.base_url, lost) from lost
        delay_s = lost.retry_after_s if self._asked_delay_s is None else self._asked_delay_s
        self._asked_delay_s = None
        if delay_s is None:
            delay_s = backoff_s(self._failures, random.random)
        self._change("waiting")
        self._tell("reconnecting", Reconnecting(str(lost), self.is_known, self._failures, delay_s))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), delay_s)

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

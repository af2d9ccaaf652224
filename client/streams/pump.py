"""Reads one answer from OpenRouter to its end, whatever happens, and hands its events on.

The retries before the first event and the time limits live here. Time is looked at once a read and once a deadline,
never per event: at the nearest limit, and at another one when life was seen since.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from client.errors import (
    Failure,
    OpenRouterError,
    UpstreamConnectionError,
    UpstreamStatusError,
    UpstreamStreamError,
    UpstreamTimeout,
)
from client.streams.deadlines import Due, deadlines_of
from client.translation.errors.failures import with_body
from client.translation.events import ChatEvent, StreamFailed
from client.translation.foreign.fronts import CHAT, front_of
from client.translation.foreign.translator import ForeignTranslator
from client.translation.translate import DONE, EMPTY_REPLY, INTERRUPTED, STREAMING, ChatTranslator
from client.upstream.openrouter import OpenRouterClient, UpstreamReply
from client.upstream.reply_kind import EVENTS, JSON, OTHER, Kind, kind_of
from client.upstream.retry import retry_delay_s

logger = logging.getLogger(__name__)

_LINGER_S = 2.0
"""How long the end of a connection is waited for once all that matters has come."""

_REUSE_S = 1.0
"""How long the last byte after `[DONE]` is waited for, so that the connection can be used again."""


class Sink(Protocol):
    """Where the events go."""

    def opened(self, generation_id: str | None) -> None:
        """Upstream accepted the request."""

    def refused(self, failure: Failure) -> None:
        """Upstream refused the request, and will not be asked again."""

    def let_request_go(self) -> None:
        """The request will not be sent again."""

    def append(self, events: list[ChatEvent]) -> bool:
        """Takes the events of one read; false when nothing more shall be read now."""

    @property
    def is_full(self) -> bool:
        """True when nothing more shall be read now."""

    async def wait_room(self) -> None:
        """Returns when `is_full` is false again."""


class Pump:
    """One answer under way.

    Attributes:
        translator: that of the current attempt; it knows generation, model, usage and times.
        retries: attempts after the first.
        retried: types of the failures after which it was tried again.
        earlier: what upstream said was used up by attempts that were followed by another.

    Args:
        headers: sent with every attempt.
        keeps_chunks: the sink takes upstream's chunks from the translator, also those that give no event.
        protocol: that of the body and of upstream's answer: chat completions, or one of `upstream.protocols`.
    """

    __slots__ = (
        "_body",
        "_config",
        "_deadlines",
        "_expired",
        "_has_handed_on",
        "_head",
        "_headers",
        "_is_sure",
        "_keeps_chunks",
        "_kind",
        "_linger_until_s",
        "_openrouter",
        "_protocol",
        "_sink",
        "_task",
        "_waiting",
        "_waits_for_room",
        "earlier",
        "retried",
        "retries",
        "translator",
    )

    def __init__(
        self,
        openrouter: OpenRouterClient,
        body: Mapping[str, Any],
        sink: Sink,
        headers: Mapping[str, str] | None = None,
        *,
        keeps_chunks: bool = False,
        protocol: str = CHAT,
    ) -> None:
        self._keeps_chunks = keeps_chunks
        self._protocol = protocol
        self.retries = 0
        self.retried: tuple[str, ...] = ()
        self.earlier: tuple[dict[str, Any], ...] = ()
        self._openrouter = openrouter
        self._config = openrouter.config
        self._body = body
        self._headers = headers
        self._sink = sink
        self._deadlines = deadlines_of(asyncio.get_running_loop())
        self.translator = self._new_translator()
        self._waits_for_room = False
        self._has_handed_on = False
        self._expired: Failure | None = None
        self._waiting: set[Due] | None = None  # for the nearest limit, where it is among others
        self._task: asyncio.Task[Any] | None = None  # that of the current attempt
        self._linger_until_s: float | None = None
        self._kind: Kind | None = None
        self._is_sure = False  # of what the reply is, whatever its label says
        self._head = bytearray()  # of a reply of which that is not known, or that is no stream

    async def run(self) -> None:
        """Attempts until one gets through; the last event handed on is `Done`."""
        while True:
            try:
                await self._attempt()
                return
            except OpenRouterError as error:
                delay_s = self._delay_s(error)
                if delay_s is None:
                    self._give_up(error)
                    return
                self.retried += (error.failure.type,)
                usage = error.usage or self.translator.usage
                if usage is not None:
                    self.earlier += (usage,)
                logger.info("upstream %s; trying again in %.1f s", error.failure.type, delay_s)
            self.retries += 1
            await asyncio.sleep(delay_s)
            self.translator = self._new_translator()

    @property
    def has_stalled(self) -> bool:
        """Whether upstream was silent for longer than the settings allow."""
        return self._expired is not None and self._expired is not INTERRUPTED

    def release(self) -> None:
        """Gives back what only a running answer needs: finished ones are kept, and requests can be large."""
        self._body = {}
        self._head = bytearray()
        self.translator.release()

    def _new_translator(self) -> ChatTranslator:
        front = front_of(self._protocol)
        translator = ChatTranslator if front is None else partial(ForeignTranslator, front)
        return translator(
            self._deadlines.time,
            max_event_bytes=self._config.max_event_bytes,
            read_error=self._openrouter.failure_of,
            hide=self._openrouter.hide,
            earlier=self.earlier,
            keeps_payloads=self._keeps_chunks,
        )

    def _delay_s(self, error: OpenRouterError) -> float | None:
        """Never again once an event was handed on."""
        if self._has_handed_on:
            return None
        return retry_delay_s(error, self.retries, self._config.max_retries)

    def _give_up(self, error: OpenRouterError) -> None:
        if self.translator.has_begun:
            failure = INTERRUPTED if isinstance(error, UpstreamConnectionError) else error.failure
        else:
            failure = error.failure
            if self._protocol != CHAT and isinstance(error, UpstreamStatusError):
                failure = with_body(failure, error.body, self._openrouter.hide)
            self.translator.usage = error.usage or self.translator.usage
            self._sink.refused(failure)
        self._has_handed_on = True
        self._sink.append(self.translator.close(failure))

    # -- one attempt --------------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        self._expired = self._linger_until_s = None
        task = self._task = asyncio.current_task()
        cancelling = 0 if task is None else task.cancelling()
        try:
            self.due()
            reply = await self._openrouter.open_chat(self._body, self._headers, self._note_life, self._protocol)
            try:
                await self._look_at(reply)
                if self._kind is EVENTS:
                    await self._take_events(reply)
                if self._kind is not EVENTS:
                    await self._take_whole(reply)
                self._unwatch()
                if self.translator.failure is None and not reply.has_ended:
                    await reply.read_rest(_REUSE_S)
            finally:
                reply.close()
        except asyncio.CancelledError:  # by a limit, or from outside: as `asyncio.timeout` tells them apart
            if self._expired is None or (task is not None and task.uncancel() > cancelling):
                raise
            raise UpstreamTimeout(self._expired) from None
        finally:
            self._task = None
            self._unwatch()

    async def _look_at(self, reply: UpstreamReply) -> None:
        """Takes a reply for what it is: labels are wrong too often. (What comes next is no step of this one: it would
        be held for as long as the answer takes.)"""
        self.translator.generation_id = reply.generation_id
        self._head = bytearray()
        self._kind = EVENTS if reply.is_event_stream else None
        self._is_sure = False
        if self._kind is None:
            await reply.hand_on(self._look)

    async def _take_events(self, reply: UpstreamReply) -> None:
        self._sink.opened(reply.generation_id)
        if self._head:
            self._take(bytes(self._head))
        while self.translator.state is not DONE:
            if self._sink.is_full:
                await self._wait_room()
            await reply.hand_on(self._take)
            if self._kind is not EVENTS or self.translator.state is DONE:
                return
            if not reply.has_ended:
                await asyncio.sleep(0)  # there may be room at once, and more to take: others have their turn
            else:
                events = self.translator.receive_eof()
                if not self._has_handed_on:
                    self._begin(events)
                self._sink.append(events)

    def _take(self, data: bytes) -> bool:
        """Takes one read, in the turn of the loop in which it came; whether more can be taken now."""
        events = self.translator.receive_data(data)
        if events or (self._has_handed_on and self.translator.has_payloads):
            if not self._has_handed_on:
                self._begin(events)
            has_room = self._sink.append(events)
            if self.translator.state is not STREAMING:
                return self._take_end() and has_room
            return has_room
        return self._is_sure or self._has_handed_on or self._doubt(data)

    def _look(self, data: bytes) -> bool:
        """Takes the beginning of a reply that is not said to be events, until it tells what it is."""
        self.translator.last_read_s = self._deadlines.time()
        self._head = bytearray((self._head + data).lstrip())
        self._kind = kind_of(bytes(self._head[:64]))
        self._is_sure = self._kind is not None
        return not self._is_sure

    def _doubt(self, data: bytes) -> bool:
        """What is said to be events and begins without one may be JSON or a page; whether it still may be events."""
        self._head = bytearray((self._head + data).lstrip())  # blanks are not kept: any number may come first
        head = bytes(self._head[:64])
        kind = kind_of(head)
        self._is_sure = kind is not None
        if kind is JSON or (kind is OTHER and head.startswith(b"<")):
            self._kind = kind
        return self._kind is EVENTS

    def _begin(self, events: list[ChatEvent]) -> None:
        """From the first event that is handed on, nothing is tried again."""
        if not self.translator.has_begun:
            self._retry_if_failed(events)
        self._has_handed_on = True
        self._body = {}
        self._sink.let_request_go()

    def _take_end(self) -> bool:
        """The answer has ended, or all but ended; whether more may follow."""
        if self.translator.is_lingering and self._linger_until_s is None:
            self._linger_until_s = self._deadlines.time() + _LINGER_S
            self.due()
        return self.translator.state is not DONE

    async def _take_whole(self, reply: UpstreamReply) -> None:
        """A reply that is no event stream: a whole completion, an error under status 200, or a stranger."""
        await reply.hand_on(self._gather)
        body = bytes(self._head)
        if len(body) > self._config.max_event_bytes:
            raise reply.too_large(self._config.max_event_bytes)
        if not body.strip():
            raise UpstreamStreamError(EMPTY_REPLY)
        if self._kind is not JSON and "json" not in reply.content_type:
            raise reply.not_a_stream(body)
        events = self.translator.receive_completion(body)
        if not self.translator.has_begun:
            self._retry_if_failed(events)
            self._sink.refused(_failure_in(events))
        else:
            self._sink.opened(self.translator.generation_id)
        self._has_handed_on = True
        self._sink.append(events)

    def _gather(self, data: bytes) -> bool:
        """Takes more of a reply that is read whole."""
        self.translator.last_read_s = self._deadlines.time()
        self._head += data
        return len(self._head) <= self._config.max_event_bytes

    def _retry_if_failed(self, events: list[ChatEvent]) -> None:
        """An error that is the first thing a stream says may be tried again: nothing was passed on yet."""
        failed = next((event for event in events if isinstance(event, StreamFailed)), None)
        if failed is None:
            return
        code = failed.failure.upstream.get("code")
        error = UpstreamStreamError(failed.failure, upstream_status=code if isinstance(code, int) else None)
        if self._delay_s(error) is not None:
            raise error

    async def _wait_room(self) -> None:
        """Not reading is no silence of upstream's."""
        self._waits_for_room = True
        try:
            await self._sink.wait_room()
        finally:
            self._waits_for_room = False
            self._note_life()

    def _note_life(self) -> None:
        """Upstream could say nothing until now: it was not read from, or was taking the request."""
        self.translator.last_read_s = self.translator.last_event_s = self._deadlines.time()

    # -- time limits --------------------------------------------------------------------------------------------

    def due(self) -> None:
        """Waits for the nearest limit, or ends the attempt when that has passed."""
        self._unwatch()
        now_s = self._deadlines.time()
        deadline_s = self._deadline_s()
        if self._waits_for_room:
            deadline_s = now_s + self._config.idle_timeout_s
        if now_s >= deadline_s:
            self._expired = self._expiry()
            if self._task is not None:
                self._task.cancel()
        else:
            self._waiting = self._deadlines.add(self, deadline_s)

    def _unwatch(self) -> None:
        if self._waiting is not None:
            self._waiting.discard(self)
            self._waiting = None

    def _deadline_s(self) -> float:
        if self._linger_until_s is not None:  # whatever comes now moves it no more
            return self._linger_until_s
        translator, config = self.translator, self._config
        return min(translator.last_read_s + config.idle_timeout_s, translator.last_event_s + config.timeout_s)

    def _expiry(self) -> Failure:
        """What is told of the deadline that has passed."""
        if self._linger_until_s is not None:
            return INTERRUPTED
        translator, config = self.translator, self._config
        if translator.last_read_s + config.idle_timeout_s <= translator.last_event_s + config.timeout_s:
            return _timed_out("has been silent for", config.idle_timeout_s, "idle_timeout_s")
        return _timed_out("has sent no event for", config.timeout_s, "timeout_s")


def _timed_out(what: str, seconds: float, setting: str) -> Failure:
    return Failure(
        error=f"OpenRouter {what} {seconds:g} s (upstream.{setting}); try again or choose another model.",
        type="upstream_timeout",
        status=504,
        retryable=True,
    )


def _failure_in(events: list[ChatEvent]) -> Failure:
    return next((event.failure for event in events if isinstance(event, StreamFailed)), EMPTY_REPLY)

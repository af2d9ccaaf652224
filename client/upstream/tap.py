"""A response's body, handed on in the very turn of the loop in which it came, a bounded share a turn.

To wait in `StreamReader.readany()` costs a future and a switch of tasks for every read, which for an event a read is
a tenth of all it costs. A tap stands between the transport and aiohttp's protocol instead: it passes everything on
to the protocol, and then takes from the response's stream what that has made of it. All it uses is public: a
connection's transport, a transport's `set_protocol`, a stream's `read_nowait`. It knows nothing of what it hands on.

One that saw the head (`TappedResponse`) of a stream in chunks hands whole chunks on by itself: aiohttp does much for
each, and an upstream sends every event as a chunk. To the protocol it is as if these had not been sent. It gets
everything else as it came: a part of a chunk, the last one, whatever is no proper chunk, and all that follows.

However much comes at once, and however far it can be unpacked: what is more than `TURN_BYTES` waits for the next turn
of the loop, where everybody else has had theirs before. What waits here was read already and is no more than that one
read; the transport is paused meanwhile. An end of the connection waits behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, Self

import aiohttp
from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import DataQueue
from multidict import CIMultiDict, CIMultiDictProxy

from client.border.few import Few
from client.upstream.chunked import (
    CRLF,
    LENGTHS,
    NO_LENGTH,
    framed_body,
    is_part_of_line,
    is_strange,
    lean_head,
    missing_bytes,
    whole_chunks,
)

if TYPE_CHECKING:
    from aiohttp.connector import Connection


_NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())


class BrokenChunks(aiohttp.ClientPayloadError):
    """The body is no chunks, though its head says so."""


Take = Callable[[bytes], bool]
"""Takes what has come; tells whether it wants more now."""

TURN_BYTES = 49_152
"""Most of a body that is handed on, or given to aiohttp's parser, in one turn of the loop."""

CHUNKS_TURN_BYTES = 65_536
"""The same of whole chunks, which take less of it."""


class TappedResponse(aiohttp.ClientResponse):
    """A response that can be handed on from its head on: a session's `response_class`.

    The body of an answer to a POST that is a stream of events in chunks waits for `hand_on`, and can be read by
    nothing else before.
    """

    tap: Tap | None = None

    async def start(self, connection: Connection) -> Self:
        """Reads the head."""
        transport, protocol = connection.transport, connection.protocol
        if self.method == hdrs.METH_POST and transport is not None and protocol is not None:
            current = transport.get_protocol()
            if current is protocol or isinstance(current, Tap):  # one that stays there between its own requests
                self.tap = Tap(transport, protocol)
                self.tap.await_head()
        await super().start(connection)
        return self

    def spare(self) -> None:
        """Lets go of the heads of request and response, of which nothing can be asked any more, and of room in
        queues: 3 kB, for as long as an answer is open."""
        self._headers, self._raw_headers = _NO_HEADERS, ()
        self._cache.clear()
        self._request_info = None  # type: ignore[assignment]
        if not self.content.total_bytes:
            self.content._buffer, self.content._http_chunk_splits = Few(), Few()  # type: ignore[assignment]
        spare_queue(None if self._connection is None else self._connection.protocol)


def spare_queue(protocol: object) -> None:
    """Has the queue of what a connection's parser reads take no room where it is empty."""
    if isinstance(protocol, DataQueue) and not len(protocol) and not isinstance(protocol._buffer, Few):
        protocol._buffer = Few()  # type: ignore[assignment]


class Body(Protocol):
    """What aiohttp has made of a body."""

    total_bytes: int

    def read_nowait(self, n: int = -1) -> bytes: ...

    def is_eof(self) -> bool: ...

    def at_eof(self) -> bool: ...

    def exception(self) -> BaseException | None: ...


class Tappable(Protocol):
    """What can be handed on: a response."""

    @property
    def content(self) -> Body: ...

    @property
    def connection(self) -> Connection | None: ...


async def hand_on(response: Tappable, take: Take, broken: Callable[[Exception], Exception] | None = None) -> None:
    """Gives `take` what comes of the body, as it comes, until it wants no more or the body ends.

    What comes afterwards is kept by aiohttp, which stops reading when that is too much; call again for it. This is
    held for as long as an answer takes, and so is every coroutine around it.

    Raises:
        aiohttp.ClientError, OSError: the connection or the body broke; in its place what `broken` makes of it.
        Exception: what `take` raised.
    """
    try:
        tap: Tap | None = getattr(response, "tap", None)
        if tap is not None and tap.follows_chunks:
            tap.begin(response.content, take)
            if not tap.closed.done() and (spare := getattr(response, "spare", None)):  # else all of it came at once
                spare()
        else:
            tap = await _tap_behind(response, take)
        if tap is not None:
            try:
                await tap.closed
            finally:
                tap.stop()
    except (aiohttp.ClientError, OSError) as exc:
        if broken is None:
            raise
        raise broken(exc) from exc


async def _tap_behind(response: Tappable, take: Take) -> Tap | None:
    """Hands on what aiohttp has of the body, and what comes through a tap; None where that was all."""
    content = response.content
    while True:
        fed_bytes = content.total_bytes
        body = content.read_nowait(TURN_BYTES)
        if (body and not take(body)) or content.at_eof():
            return None
        is_behind = len(body) == TURN_BYTES or content.total_bytes != fed_bytes
        if not (is_behind and content.is_eof()):
            break
        await asyncio.sleep(0)  # the whole body is there, and the connection may be another response's
    transport = None if response.connection is None else response.connection.transport
    protocol = None if transport is None else transport.get_protocol()
    if isinstance(protocol, Tap) and response.connection is not None:  # one that stays there
        protocol = response.connection.protocol
    if transport is None or not isinstance(protocol, asyncio.Protocol):
        raise aiohttp.ServerDisconnectedError
    tap = Tap(transport, protocol)
    tap.begin(content, take, is_behind=is_behind)
    return tap


_UNKNOWN = -(1 << 62)
"""How much of a body was handed on, where others have read of it too: far from everything that came."""


class Tap(asyncio.Protocol):
    """What a transport talks to while a body is handed on.

    Attributes:
        closed: resolves when no more will be handed on; holds what went wrong.
    """

    __slots__ = (
        "_at",
        "_awaits_head",
        "_content",
        "_handed_bytes",
        "_has_begun",
        "_has_part",
        "_has_paused",
        "_held",
        "_is_behind",
        "_is_broken",
        "_is_over",
        "_is_plain",
        "_loop",
        "_lost",
        "_missing_bytes",
        "_protocol",
        "_take",
        "_transport",
        "_turn",
        "closed",
    )

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None]
        self._transport = transport
        self._protocol = protocol
        self._has_begun = False
        self._content: Body
        self._take: Take
        self._is_plain = False  # whether nothing waits, the connection stands, and somebody takes what comes
        self._awaits_head = False
        self._missing_bytes = NO_LENGTH  # of a chunk that aiohttp has begun to read; `NO_LENGTH`: not followed
        self._handed_bytes = _UNKNOWN  # of what aiohttp has made of the body
        self._held = b""  # what was read and waits for its turn, from here on:
        self._at = 0
        self._turn: asyncio.Handle | None = None  # the next one, when something waits for it
        self._is_behind = False  # aiohttp has more of the body than was handed on
        self._has_paused = False
        self._has_part = False  # what waits is part of the line that a chunk begins with, and no more
        self._lost: list[Exception | None] = []  # how the connection ended, when that waits too
        self._is_over = False  # the protocol has been told of that end
        self._is_broken = False  # what it was given before that is no proper body
        transport.set_protocol(self)

    def await_head(self) -> None:
        """What comes first is the head of a response."""
        self._awaits_head = True

    @property
    def follows_chunks(self) -> bool:
        """Whether it knows where the chunks of the body begin, of which none was handed on yet."""
        return self._missing_bytes != NO_LENGTH

    def begin(self, content: Body, take: Take, *, is_behind: bool = False) -> None:
        """Hands on from now on; `is_behind`: aiohttp has some of the body already."""
        self.closed = self._loop.create_future()
        self._has_begun = True
        self._content, self._take = content, take
        self._is_behind = is_behind
        self._handed_bytes = _UNKNOWN if is_behind else content.total_bytes
        if is_behind:
            self._wait_turn()
        elif self._held or self._lost:
            self._go_on()
        else:
            self._is_plain = True

    def stop(self, error: Exception | None = None) -> None:
        """Hands nothing more on, and steps aside."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._step_aside()
        self._resolve(error)

    def _resolve(self, error: Exception | None) -> None:
        """Tells whoever waits."""
        if self.closed.done():
            return
        if error is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(error)

    # -- what the transport says ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hands on what bytes are of the body, or passes them on."""
        if self._is_plain and len(data) <= TURN_BYTES:
            if self._missing_bytes:
                if self._missing_bytes == NO_LENGTH:
                    self._feed(data)
                    self._hand_on()
                    return
            elif not self.closed.done():
                line, _, chunk = data.partition(CRLF)
                if LENGTHS[line] + 2 == len(chunk) and chunk[-2:] == CRLF:  # one chunk, as most reads are
                    self._hand(chunk[:-2])
                    return
        self._is_plain = False
        if self._awaits_head:
            self._take_head(data)
            return
        self._hold(data)
        if self._turn is not None or not self._has_begun:
            self._pause()
        else:
            self._go_on()

    def eof_received(self) -> bool | None:
        """Passes it on."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The body has ended, or is broken: aiohttp knows which, once it has everything that came before."""
        if self._awaits_head:
            self._protocol.connection_lost(exc)
            return
        self._is_plain = False
        self._lost.append(exc)
        if self._has_begun and self._turn is None:
            self._go_on()

    def pause_writing(self) -> None:
        """Passes it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Passes it on."""
        self._protocol.resume_writing()

    # -- one turn ---------------------------------------------------------------------------------------------------

    def _take_head(self, data: bytes) -> None:
        """Follows the chunks of a body that is to be handed on, and leaves any other response alone."""
        self._awaits_head = False
        begin = framed_body(data)
        if not begin or is_strange(data[begin:]):
            self._transport.set_protocol(self._protocol)
            self._protocol.data_received(data)
            return
        self._missing_bytes = 0
        self._hold(data[begin:])
        if len(self._held) > TURN_BYTES:
            self._pause()
        self._protocol.data_received(lean_head(data[:begin]))

    def _hold(self, data: bytes) -> None:
        self._held = self._held[self._at :] + data if self._at < len(self._held) else data
        self._at = 0
        self._has_part = False

    def _go_on(self) -> None:
        self._turn = None
        if not self._is_behind:
            if self._missing_bytes == NO_LENGTH or self._lost:
                self._pass_on(TURN_BYTES)
            elif self._missing_bytes:
                share_bytes = min(self._missing_bytes, len(self._held) - self._at, TURN_BYTES)
                self._missing_bytes -= share_bytes
                self._pass_on(share_bytes)
            elif not self.closed.done():
                self._hand_chunks()
        self._hand_on()

    def _hand_chunks(self) -> None:
        """Hands on whole chunks of what waits. Of one that is not whole, or too large for a turn, what is there is
        passed on, but for a part of the line that it begins with."""
        at = self._at
        share = self._held[at : at + CHUNKS_TURN_BYTES]
        body, size = whole_chunks(share)
        self._at = at + size
        if body:
            self._hand(body)
        if self.closed.done() or (size and at + CHUNKS_TURN_BYTES < len(self._held)):
            return
        rest = share[size:]
        self._has_part = bool(rest) and is_part_of_line(rest)
        if not self._has_part:
            self._missing_bytes = missing_bytes(rest) if rest else 0
            self._pass_on(len(rest))

    def _hand(self, body: bytes) -> None:
        try:
            if not self._take(body):
                self.stop()
        except Exception as exc:  # whoever waits shall have it, not the loop
            self.stop(exc)

    def _pass_on(self, most_bytes: int) -> None:
        """Gives the protocol its share of what waits, and the end when nothing else does."""
        share = self._held[self._at : self._at + most_bytes]
        self._at += len(share)
        if self._at == len(self._held):
            self._held, self._at = b"", 0
        if share:
            self._feed(share)
        if self._lost and not self._held:
            self._is_over = True
            self._is_broken = _is_broken(self._protocol)
            self._lose(self._lost.pop())

    def _feed(self, data: bytes) -> None:
        """Gives the protocol what is not taken here."""
        self._protocol.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        """Tells the protocol that the connection has ended."""
        self._protocol.connection_lost(error)

    def _hand_on(self) -> None:
        if self.closed.done():  # whoever waited was cancelled in this very turn
            return
        content = self._content
        fed_bytes = content.total_bytes
        is_all = fed_bytes - self._handed_bytes <= TURN_BYTES
        try:  # to ask for all there is costs less than to ask for no more than so much, a fifth of what an event does
            body = content.read_nowait() if is_all else content.read_nowait(TURN_BYTES)
            if (body and not self._take(body)) or content.at_eof():
                self.stop()
                return
        except Exception as exc:  # whoever waits shall have it, not the loop
            self.stop(exc)
            return
        if is_all and self._is_plain and content.total_bytes == fed_bytes:
            self._handed_bytes = fed_bytes
            return
        self._handed_bytes += len(body)
        if is_all:
            self._is_behind = content.total_bytes != fed_bytes
        else:
            self._is_behind = len(body) == TURN_BYTES or content.total_bytes != fed_bytes
            if not self._is_behind:
                self._handed_bytes = fed_bytes  # all of it, whoever has read what came before
        if self._is_behind or self._lost or (self._held and not self._has_part):
            self._is_plain = False
            self._wait_turn()
        elif self._is_over:
            # aiohttp tells nobody who reads of bad chunks
            self.stop(BrokenChunks() if self._is_broken else aiohttp.ServerDisconnectedError())
        else:
            self._is_plain = not self._has_part
            self._handed_bytes = fed_bytes
            self._resume()

    def _wait_turn(self) -> None:
        """Goes on in the next turn of the loop."""
        self._turn = self._loop.call_soon(self._go_on)
        if self._content.is_eof():
            self._step_aside()
        elif self._held:  # aiohttp resumes whenever something of its own was taken
            self._pause()

    def _step_aside(self) -> None:
        """Gives the connection back. Must happen at once: it may be another response's in the next turn."""
        self._missing_bytes = NO_LENGTH
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)
        if not self._is_plain:
            self._pass_on(len(self._held))
            if not self._is_over:
                self._resume()

    def _pause(self) -> None:
        self._has_paused = True
        with suppress(RuntimeError):  # closed already
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Takes back its own pauses; aiohttp its own, whenever something is taken of what it has."""
        if self._has_paused:
            self._has_paused = False
            with suppress(RuntimeError):
                self._transport.resume_reading()


def _is_broken(protocol: asyncio.Protocol) -> bool:
    """Whether aiohttp's parser could not read what it was given."""
    return isinstance(protocol, aiohttp.DataQueue) and isinstance(protocol.exception(), HttpProcessingError)

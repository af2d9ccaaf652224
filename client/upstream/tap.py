"""A response's body, handed on in the very turn of the loop in which it came, a bounded share a turn.

To wait in `StreamReader.readany()` costs a future and a switch of tasks for every read, which for an event a read is
a tenth of all it costs. A tap stands between the transport and aiohttp's protocol instead: it passes everything on
to the protocol, and then takes from the response's stream what that has made of it. All it uses is public: a
connection's transport, a transport's `set_protocol`, a stream's `read_nowait`. It knows nothing of what it hands on.

However much comes at once, and however far it can be unpacked: what is more than `TURN_BYTES` waits for the next turn
of the loop, where everybody else has had theirs before. What waits here was read already and is no more than that one
read; the transport is paused meanwhile. An end of the connection waits behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp

Take = Callable[[bytes], bool]
"""Takes what has come; tells whether it wants more now."""

TURN_BYTES = 49_152
"""Most of a body that is handed on, or given to aiohttp's parser, in one turn of the loop."""


async def hand_on(response: aiohttp.ClientResponse, take: Take) -> None:
    """Gives `take` what comes of the body, as it comes, until it wants no more or the body ends.

    What comes afterwards is kept by aiohttp, which stops reading when that is too much; call again for it.

    Raises:
        aiohttp.ClientError, OSError: the connection or the body broke.
        Exception: what `take` raised.
    """
    content = response.content
    while True:
        fed_bytes = content.total_bytes
        body = content.read_nowait(TURN_BYTES)
        if (body and not take(body)) or content.at_eof():
            return
        is_behind = len(body) == TURN_BYTES or content.total_bytes != fed_bytes
        if not (is_behind and content.is_eof()):
            break
        await asyncio.sleep(0)  # the whole body is there, and the connection may be another response's
    transport = None if response.connection is None else response.connection.transport
    protocol = None if transport is None else transport.get_protocol()
    if transport is None or not isinstance(protocol, asyncio.Protocol):
        raise aiohttp.ServerDisconnectedError
    tap = _Tap(transport, protocol, content, take, is_behind=is_behind)
    try:
        await tap.closed
    finally:
        tap.close()


_UNKNOWN = -(1 << 62)
"""How much of a body was handed on, where others have read of it too: far from everything that came."""


class _Tap(asyncio.Protocol):
    """What a transport talks to while a body is handed on.

    Attributes:
        closed: resolves when no more will be handed on; holds what went wrong.
    """

    __slots__ = (
        "_content",
        "_handed_bytes",
        "_held",
        "_is_behind",
        "_is_over",
        "_is_plain",
        "_loop",
        "_lost",
        "_protocol",
        "_take",
        "_transport",
        "_turn",
        "closed",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        content: aiohttp.StreamReader,
        take: Take,
        *,
        is_behind: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._transport = transport
        self._protocol = protocol
        self._content = content
        self._take = take
        self._is_plain = not is_behind  # nothing waits, the connection stands
        self._handed_bytes = _UNKNOWN if is_behind else content.total_bytes  # of the body
        self._held = bytearray()  # what was read and waits for its turn
        self._turn: asyncio.Handle | None = None  # the next one, when something waits for it
        self._is_behind = is_behind  # aiohttp has more of the body than was handed on
        self._lost: list[Exception | None] = []  # how the connection ended, when that waits too
        self._is_over = False  # the protocol has been told of that end
        transport.set_protocol(self)
        if is_behind:
            self._wait_turn()

    def close(self, error: Exception | None = None) -> None:
        """Hands nothing more on, and steps aside."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._step_aside()
        if self.closed.done():
            return
        if error is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(error)

    # -- what the transport says ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Passes bytes on, and hands on what they were of the body."""
        if self._is_plain and len(data) <= TURN_BYTES:
            self._protocol.data_received(data)
            self._hand_on()
            return
        self._is_plain = False
        self._held += data
        if self._turn is None:
            self._go_on()
        else:
            self._pause()

    def eof_received(self) -> bool | None:
        """Passes it on."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The body has ended, or is broken: aiohttp knows which, once it has everything that came before."""
        self._is_plain = False
        self._lost.append(exc)
        if self._turn is None:
            self._go_on()

    def pause_writing(self) -> None:
        """Passes it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Passes it on."""
        self._protocol.resume_writing()

    # -- one turn ---------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        self._turn = None
        if not self._is_behind:
            self._pass_on(TURN_BYTES)
        self._hand_on()

    def _pass_on(self, most_bytes: int) -> None:
        """Gives the protocol its share of what waits, and the end when nothing else does."""
        if self._held:
            share = bytes(memoryview(self._held)[:most_bytes])
            del self._held[:most_bytes]
            self._protocol.data_received(share)
        if self._lost and not self._held:
            self._is_over = True
            self._protocol.connection_lost(self._lost.pop())

    def _hand_on(self) -> None:
        if self.closed.done():  # whoever waited was cancelled in this very turn
            return
        content = self._content
        fed_bytes = content.total_bytes
        is_all = fed_bytes - self._handed_bytes <= TURN_BYTES
        try:  # to ask for all there is costs less than to ask for no more than so much, a fifth of what an event does
            body = content.read_nowait() if is_all else content.read_nowait(TURN_BYTES)
            if (body and not self._take(body)) or content.at_eof():
                self.close()
                return
        except Exception as exc:  # whoever waits shall have it, not the loop
            self.close(exc)
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
        if self._is_behind or self._held or self._lost:
            self._is_plain = False
            self._wait_turn()
        elif self._is_over:
            self.close(aiohttp.ServerDisconnectedError())  # aiohttp tells nobody who reads of bad chunks
        else:
            self._is_plain = True
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
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)
        if not self._is_plain:
            self._pass_on(len(self._held))
            if not self._is_over:
                self._resume()

    def _pause(self) -> None:
        with suppress(RuntimeError):  # closed already
            self._transport.pause_reading()

    def _resume(self) -> None:
        with suppress(RuntimeError):
            self._transport.resume_reading()

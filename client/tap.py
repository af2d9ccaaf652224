"""A response's body, handed on in the very turn of the loop in which it came.

To wait in `StreamReader.readany()` costs a future and a switch of tasks for every read, which for an event a read is
a tenth of all it costs. A tap stands between the transport and aiohttp's protocol instead: it passes everything on
to the protocol, and then takes from the response's stream what that has made of it. All it uses is public: a
connection's transport, a transport's `set_protocol`, a stream's `read_nowait`. It knows nothing of what it hands on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

Take = Callable[[bytes], bool]
"""Takes what has come; tells whether it wants more now."""


async def hand_on(response: aiohttp.ClientResponse, take: Take) -> None:
    """Gives `take` what comes of the body, as it comes, until it wants no more or the body ends.

    What comes afterwards is kept by aiohttp, which stops reading when that is too much; call again for it.

    Raises:
        aiohttp.ClientError, OSError: the connection or the body broke.
        Exception: what `take` raised.
    """
    content = response.content
    if not _hand_on_now(content, take) or content.at_eof():
        return
    transport = None if response.connection is None else response.connection.transport
    protocol = None if transport is None else transport.get_protocol()
    if transport is None or not isinstance(protocol, asyncio.Protocol):
        raise aiohttp.ServerDisconnectedError
    tap = _Tap(transport, protocol, content, take)
    try:
        await tap.closed
    finally:
        tap.close()


def _hand_on_now(content: aiohttp.StreamReader, take: Take) -> bool:
    """Hands on what is there, and what reading lets in; tells whether more is wanted. Raises what broke the body."""
    fed_bytes = -1
    while fed_bytes != content.total_bytes:
        fed_bytes = content.total_bytes
        body = content.read_nowait()
        if body and not take(body):
            return False
    return True


class _Tap(asyncio.Protocol):
    """What a transport talks to while a body is handed on.

    Attributes:
        closed: resolves when no more will be handed on; holds what went wrong.
    """

    __slots__ = ("_content", "_protocol", "_take", "_transport", "closed")

    def __init__(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, content: aiohttp.StreamReader, take: Take
    ) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._protocol = protocol
        self._content = content
        self._take = take
        transport.set_protocol(self)

    def close(self, error: Exception | None = None) -> None:
        """Steps aside. Must happen at once: the connection may be another response's in the next turn."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)
        if self.closed.done():
            return
        if error is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(error)

    def data_received(self, data: bytes) -> None:
        """Passes bytes on, and hands on what they were of the body."""
        self._protocol.data_received(data)
        if self.closed.done():  # whoever waited was cancelled in this very turn
            return
        try:
            if not _hand_on_now(self._content, self._take) or self._content.at_eof():
                self.close()
        except Exception as exc:  # whoever waits shall have it, not the loop
            self.close(exc)

    def eof_received(self) -> bool | None:
        """Passes it on."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The body has ended, or is broken: aiohttp knows which."""
        self._protocol.connection_lost(exc)
        if self.closed.done():
            return
        try:
            wants_more = _hand_on_now(self._content, self._take)
        except Exception as error:
            self.close(error)
        else:
            is_cut = wants_more and not self._content.at_eof()  # aiohttp tells nobody who reads of bad chunks
            self.close(aiohttp.ServerDisconnectedError() if is_cut else None)

    def pause_writing(self) -> None:
        """Passes it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Passes it on."""
        self._protocol.resume_writing()

"""A request that is sent, and its reply, past aiohttp's own objects for both.

Requests for answers differ in nothing but their bodies, and nearly all replies are streams of events in whole chunks.
aiohttp makes a request, a writer, a task that writes, a response, a parser and a stream of each, which is a sixth of
what a short answer costs. Here the head is put together once, and goes out with the body on a connection of aiohttp's
pool; a reply of the usual kind is taken by a tap alone. Any other one goes to aiohttp's parser, from its first byte
on, and so does the rest of a body in which something stands that the tap does not take. All names
of aiohttp that are used are public, though not all are documented for this.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from client.border.media_type import media_type
from client.upstream.chunked import LAST_CHUNK, NO_LENGTH, is_strange, lean_head, stream_head
from client.upstream.tap import TURN_BYTES, Body, Take, Tap, spare_queue

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

EVENT_STREAM: Final = "text/event-stream"
_SMALL_HEAD: Final = 400
"""Bytes of a head that is kept as it came; of a longer one only what aiohttp would need."""
_FORBIDDEN: Final = re.compile("[\r\n\0]")


class Endpoint:
    """Where requests are sent, and what all of them have in common.

    Args:
        headers: of all of them, beside those of the session.
        timeout: its `sock_connect` bounds the making of a connection; nothing else of it counts.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> None:
        self._session = session
        self._timeout = timeout
        loop = asyncio.get_running_loop()
        self.request = aiohttp.ClientRequest("POST", url, headers={**session.headers, **headers}, loop=loop)
        self._headers = CIMultiDict(self.request.headers)
        self._headers.popall(hdrs.CONTENT_LENGTH, None)
        self._head = self._rendered(self._headers)

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> Exchange:
        """Sends a body, and returns the reply when its head has come. Whoever has it closes it.

        Args:
            headers: of this request, in place of those of the same name.

        Raises:
            aiohttp.ClientError, OSError: as those of a session.
            ValueError: a header cannot be sent.
        """
        head = self._head
        if headers:
            merged = self._headers.copy()
            merged.update(headers)
            head = self._rendered(merged)
        connection = await self._connected()
        exchange = _exchange_of(connection)
        try:
            await exchange.open(connection, self.request, b"%b%d\r\n\r\n%b" % (head, len(body), body))
        except BaseException:
            exchange.close()
            raise
        return exchange

    def _rendered(self, headers: CIMultiDict[str]) -> bytes:
        """The head up to the size of the body."""
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if any(map(_FORBIDDEN.search, lines)):
            raise ValueError("a header holds the end of a line")
        start = f"POST {self.request.url.raw_path_qs} HTTP/1.1"
        return "\r\n".join((start, *lines, "Content-Length: ")).encode()

    async def _connected(self) -> Connection:
        connector = self._session.connector
        if connector is None or self._session.closed:
            raise RuntimeError("Session is closed")
        while True:
            try:
                connection = await connector.connect(self.request, [], self._timeout)
            except TimeoutError as exc:
                raise aiohttp.ConnectionTimeoutError(f"no connection to {self.request.host} in time") from exc
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()  # something came on it that nobody had asked for


class _NothingRead:
    """Stands for what aiohttp has made of a body while it was given nothing of it (`tap.Body`)."""

    def __init__(self, *, has_ended: bool) -> None:
        self.total_bytes = 0
        self._has_ended = has_ended

    def read_nowait(self, n: int = -1) -> bytes:
        """Nothing."""
        return b""

    def is_eof(self) -> bool:
        """Whether the body has ended."""
        return self._has_ended

    def at_eof(self) -> bool:
        """The same."""
        return self._has_ended

    def exception(self) -> BaseException | None:
        """None."""
        return None


_UNREAD: Final = _NothingRead(has_ended=False)
_WHOLE: Final = _NothingRead(has_ended=True)
_NOT_LOST: Final = ConnectionError()
_NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())


class Exchange(Tap):
    """A request on a connection, and its reply, with as much as is asked of an `aiohttp.ClientResponse`; then others.

    It stays with its connection while that waits in aiohttp's pool, and passes on whatever comes then: where another
    protocol is set, the loop stops reading and begins again, which would be four system calls a request.

    Attributes:
        status: of the reply.
        headers: all of them; none where the tap has taken the head.
        content_type: without its parameters.
        generation_id: upstream's `X-Generation-Id`.
    """

    __slots__ = (
        "_connection",
        "_head",
        "_is_read",
        "_is_tapped",
        "_opened",
        "_stays",
        "content_type",
        "generation_id",
        "headers",
        "status",
        "url",
    )
    _protocol: ResponseHandler

    def __init__(self, transport: asyncio.Transport, protocol: ResponseHandler) -> None:
        super().__init__(transport, protocol)
        self.url = URL()  # where the request was sent
        self._opened: asyncio.Future[None]
        self._set_out(None)

    def _set_out(self, connection: Connection | None) -> None:
        """As it is before a request on that connection; None: while it waits for one."""
        self._connection = connection
        self._content: Body = _UNREAD
        self._head = b""
        self._stays = True  # whether the connection may be used again, as far as its head says
        self._is_tapped = False  # whether the reply is a stream that is taken here
        self._is_read = False  # whether aiohttp's parser has the reply, or the rest of it
        self._has_begun = self._is_plain = self._is_behind = self._has_part = False
        self._missing_bytes = NO_LENGTH
        self._held, self._at = b"", 0
        self._awaits_head = True
        self.status = 200
        self.headers = _NO_HEADERS
        self.content_type = EVENT_STREAM
        self.generation_id: str | None = None

    async def open(self, connection: Connection, request: aiohttp.ClientRequest, data: bytes) -> None:
        """Sends a request, and returns when the head of the reply has come.

        Args:
            connection: the one that it stays with.
            request: what would be sent by aiohttp.
            data: what is sent.

        Raises:
            aiohttp.ClientError, OSError: the connection broke, or what came is no HTTP.
        """
        self._set_out(connection)
        self.url = request.url
        if self._transport.is_closing():
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        self._opened = self._loop.create_future()
        self._transport.write(data)
        await self._opened
        if not self._is_tapped:
            await self._read_head(request)

    # -- as a response ----------------------------------------------------------------------------------------------

    @property
    def tap(self) -> Tap | None:
        """What hands the body on; None where aiohttp has it from its head on."""
        return self if self._is_tapped else None

    @property
    def content(self) -> Body:
        """What aiohttp has of the body."""
        return self._content

    @property
    def connection(self) -> Connection | None:
        """None once it was let go."""
        return self._connection

    def spare(self) -> None:
        """Lets go of room that nothing needs for as long as an answer is open."""
        spare_queue(self._protocol)

    def release(self) -> None:
        """Gives back the connection, whose body was read to its end."""
        if self._held or self._lost or not self._stays:  # more than that end has come, or no more is to come
            self.close()
            return
        connection = self._leave()
        if connection is not None:
            connection.release()

    def close(self) -> None:
        """Closes the connection, unless it was let go."""
        connection = self._leave()
        if connection is not None:
            connection.close()

    def _leave(self) -> Connection | None:
        """Passes everything on to aiohttp from now on."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        connection = self._connection
        lost = self._lost.pop() if self._lost else _NOT_LOST
        self._set_out(None)
        if lost is not _NOT_LOST:
            self._protocol.connection_lost(lost)
        self._resume()
        return connection

    # -- as a tap ---------------------------------------------------------------------------------------------------

    @property
    def follows_chunks(self) -> bool:
        """Whether it is asked to hand on, and not another tap."""
        return self._connection is not None

    def begin(self, content: Body, take: Take, *, is_behind: bool = False) -> None:
        """Hands on from now on, what waits first."""
        super().begin(self._content, take, is_behind=self._is_read)
        if self._content is _WHOLE:
            self.stop()

    def stop(self, error: Exception | None = None) -> None:
        """Hands nothing more on: whatever comes waits, and the connection is not read until somebody goes on."""
        if not self._has_begun:
            return
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._has_begun = self._is_plain = False
        if not self._is_read and self._held[self._at :] == LAST_CHUNK and not self._lost:
            self._held, self._at = b"", 0
            self._content = _WHOLE
        self._resolve(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, before the reply or with it."""
        if not self._awaits_head:
            super().connection_lost(exc)
            return
        self._protocol.connection_lost(exc)
        if self._connection is not None:
            self._awaits_head = False
            self._note_opened()

    def _take_head(self, data: bytes) -> None:
        if self._connection is None:  # nobody has asked for anything
            self._protocol.data_received(data)
            return
        self._awaits_head = False
        head = stream_head(data)
        if head is not None and not is_strange(data[head.size :]):
            self._is_tapped = True
            self._head = data[: head.size] if head.size <= _SMALL_HEAD else lean_head(data[: head.size])
            self.generation_id, self._stays = head.generation_id, head.stays
            self._missing_bytes = 0
            self._hold(data[head.size :])
            if len(self._held) > TURN_BYTES:
                self._pause()
        else:
            self._is_read = True
            self._transport.set_protocol(self._protocol)
            self._protocol.set_response_params(read_until_eof=True)
            self._protocol.data_received(data)
        self._note_opened()

    def _note_opened(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def _read_head(self, request: aiohttp.ClientRequest) -> None:
        """Takes the head from aiohttp's parser, behind what is said before it (RFC 9110, section 15.2)."""
        while True:
            try:
                message, self._content = await self._protocol.read()
            except HttpProcessingError as exc:
                raise aiohttp.ClientResponseError(
                    request.request_info,
                    (),
                    status=exc.code,
                    message=exc.message,
                    headers=exc.headers,
                ) from exc
            if message.code >= 200 or message.code == 101:
                break
        self.status, self.headers = message.code, message.headers
        self.content_type = media_type(message.headers.get(hdrs.CONTENT_TYPE))
        self.generation_id = message.headers.get("X-Generation-Id")

    def _feed(self, data: bytes) -> None:
        if not self._is_read:
            if data == LAST_CHUNK and not self._held and not self._lost:
                self._content = _WHOLE
                return
            if not self._begin_reading():
                return
        self._protocol.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        if self._is_read or self._begin_reading():
            self._protocol.connection_lost(error)

    def _begin_reading(self) -> bool:
        """Has aiohttp read the body from here on, as if nothing had come of it before; false where it cannot."""
        self._is_read = True
        self._protocol.set_response_params(read_until_eof=True)
        self._protocol.data_received(self._head)
        reading = self._protocol.read()
        try:
            reading.send(None)
        except StopIteration as done:
            _, self._content = done.value
            return True
        except Exception as exc:
            self.stop(exc)
            return False
        reading.close()
        self.stop(aiohttp.ClientPayloadError("the head of the reply is none"))
        return False

    def _step_aside(self) -> None:
        """Not before it is let go: until then the connection is nobody else's."""


def _exchange_of(connection: Connection) -> Exchange:
    """The one that stays with a connection, or is to."""
    transport, protocol = connection.transport, connection.protocol
    assert transport is not None  # noqa: S101 - the connection stands
    assert protocol is not None  # noqa: S101
    found = transport.get_protocol()
    return found if type(found) is Exchange else Exchange(transport, protocol)

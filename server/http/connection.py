"""Connections: aiohttp's, with what callers of this server may count on.

1. A caller who has closed its sending side gets its answers. TCP does not tell it from one who has gone: both send
   the same FIN, and only who has gone answers what is written with a reset. So something harmless is written: a
   comment in an event stream, at once; before the head of a POST's response, `100 Continue`, which a client may get
   at any time (RFC 9110, section 15.2.1), once an answer has not come by itself. The others only cost what is being
   worked out anyway. A connection that was reset is lost, and its handler cancelled, as ever.
2. What is no proper HTTP is refused in our error shape, and so is a head that comes too slowly. The connection ends
   with that, but not in a way that would lose the refusal: a socket that is closed with bytes unread is reset.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable
from enum import Enum, auto
from itertools import chain, repeat
from typing import Any, Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo
from aiohttp.web_request import BaseRequest

from client.border.few import Few
from server.config import LiveConfig
from server.errors import INTERNAL, failure_response
from server.http.envelope import Envelope
from server.http.malformed import bad_http, failure_of_parser
from server.keys import EXPECTATION

_UNASKED_LINGERING_S: Final = 1.0
"""How long a connection stays open for a body that nobody asked for."""
_LINGERING_S: Final = 2.0
"""How long one stays open, after a refusal, for a caller that does not close it."""
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LOOKS_S: Final = (0.001, 0.003, 0.01, 0.03)
"""After so long it is looked whether what was written was answered with a reset: on one machine that is at once."""
_PATIENCE_S: Final = 0.05
"""How long an answer may take to come by itself before `100 Continue` is written."""
_RARELY_S: Final = 15.0
"""How often something is written in the end: who has closed its sending side long ago may still leave."""


class Waits(Enum):
    """What comes next on a connection: its first request, one more, an answer that begins, or nothing."""

    FIRST = auto()
    MORE = auto()
    ANSWER = auto()
    NOTHING = auto()


class Connection(web.RequestHandler):
    """One caller's connection.

    Attributes:
        probe: writes something that an event stream's reader does not mind; set while one is being written.
        was_asked_to_continue: whether any of its requests had an expectation, as few have.
    """

    __slots__ = (
        "_answered",
        "_has_ended",
        "_head_timer",
        "_is_deaf",
        "_last_payload",
        "_received",
        "_rest",
        "_settings",
        "_watching",
        "probe",
        "was_asked_to_continue",
    )

    def __init__(self, manager: web.Server, settings: LiveConfig, **options: Any) -> None:
        super().__init__(manager, **options)
        self.probe: Callable[[], None] | None = None
        self.was_asked_to_continue = False
        self._settings = settings
        self._messages = Few()  # type: ignore[assignment]
        self._last_payload: StreamReader = EMPTY_PAYLOAD
        self._answered: StreamReader | None = None  # the body of the request that was answered last
        self._has_ended = False  # no more requests will come
        self._is_deaf = False  # what still comes is thrown away
        self._rest: StreamReader | None = None  # what follows a head that was refused: nothing, and then the end
        self._received = b""  # what a refusal is about
        self._head_timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Takes what has come; one request after the other, since the parser forgets those before a fault."""
        while self._last_payload.is_eof() and (end := data.find(_HEAD_END)) >= 0:
            if _is_one_request(data, end):  # as nearly all reads are
                break
            self._receive(data[: end + len(_HEAD_END)])
            data = data[end + len(_HEAD_END) :]
            if not data:
                return
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._parser is None and self.transport is not None:
            self._parser = self._new_parser()
        count, payload, body_bytes = self._request_count, self._last_payload, self._last_payload.total_bytes
        super().data_received(data)
        if self._request_count != count:
            self._take_messages(data)
        elif data and self._head_timer is None and payload.is_eof() and payload.total_bytes - body_bytes != len(data):
            self._await_head()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The caller has closed its sending side, or has gone; returns whether the connection stays open."""
        if self._watching is not None:  # uvloop says it again whenever reading is resumed
            return True
        if self._rest is not None:
            self._rest.feed_eof()
        elif self.is_idle:
            if self._head_timer is None:
                return False
            self._refuse(400, "the head of the request broke off")
        self._has_ended = True
        self._break_payload()
        self._watching = asyncio.ensure_future(self._watch())
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        super().connection_lost(exc)

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the response, or the end of one that was begun."""
        self.probe = None
        if self._has_ended and not self._messages:
            resp.force_close()
        if (
            self.was_asked_to_continue and EXPECTATION in request
        ):  # nobody read the body, and the caller may never send it
            resp.force_close()
            self._lingering_time = _UNASKED_LINGERING_S
        finished = await super().finish_response(request, resp, start_time)
        self._answered = request.content
        if not resp.keep_alive and not request.content.is_eof():
            self._hang_up_politely(request.content)
        return finished

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to what the parser refused, or to what went wrong outside of all our handlers.

        Raises:
            ConnectionError: a response has begun, so that there can be no other.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("another response has begun")
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
            failure = INTERNAL
        elif status == 400 and isinstance(exc, HttpProcessingError):
            failure = failure_of_parser(exc, message or "", self._received)
        else:
            failure = bad_http(status, message or "", retryable=status == 408)
        response = failure_response(failure)
        response.force_close()
        return response

    # -- what an open answer need not hold ------------------------------------------------------------------------

    def spare_parser(self) -> None:
        """Lets go of the parser, and of the head that it has parsed last, until something comes again: 2 kB."""
        if self._head_timer is None and not self._messages and self._last_payload.is_eof() and not self._upgraded:
            self._parser = None

    def _new_parser(self) -> HttpRequestParser:
        """One as aiohttp has made for the connection."""
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_headers=self.max_headers,
            max_field_size=self.max_field_size,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )

    # -- what is refused before there is a request ----------------------------------------------------------------

    def _take_messages(self, data: bytes) -> None:
        """Looks at what the parser has found."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        message, payload = self._messages[-1]
        if not isinstance(message, _ErrInfo):
            self._last_payload = payload
            self._messages[-1] = (Envelope(message), payload)  # type: ignore[assignment]
            return
        self._received, self._is_deaf, self._lingering_time = data, True, _LINGERING_S
        if self._last_payload.is_eof():
            self._messages[-1] = (message, self._new_rest())
        else:  # it is a body that is not well-formed: whoever reads it is told, and answers
            self._messages.pop()
            self._has_ended = True
            self._break_payload()

    def _await_head(self) -> None:
        """Part of a head has come; the rest has to come in time."""
        if not (self._close or self._force_close):
            timeout_s = self._settings.current.server.request_timeout_s
            self._head_timer = self._loop.call_later(timeout_s, self._give_up_head)

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self.is_idle:
            self._refuse(408, "The head of the request came too slowly (server.request_timeout_s); send it again.")
        else:  # an earlier request is still being answered
            self._await_head()

    def _refuse(self, status: int, error: str) -> None:
        """Answers in place of a request that never came."""
        self._is_deaf, self._lingering_time = True, _LINGERING_S
        self._messages.append((_ErrInfo(status, BadHttpMessage(error), error), self._new_rest()))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _new_rest(self) -> StreamReader:
        self._rest = StreamReader(self, limit=1, loop=self._loop)
        return self._rest

    def _hang_up_politely(self, content: StreamReader) -> None:
        """Says that nothing more will come, and has aiohttp wait until the caller has read that and closes."""
        self._is_deaf = True
        if self.transport is None or self._watching is not None:
            content.feed_eof()
            return
        content.set_exception(None)  # type: ignore[arg-type] # aiohttp would log it as a fault of its own
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # -- who has closed its sending side --------------------------------------------------------------------------

    @property
    def waits(self) -> Waits:
        """What comes next on it."""
        if self._close or self._force_close:
            return Waits.NOTHING
        if self.is_idle:
            return Waits.MORE if self._request_count else Waits.FIRST
        request = self._current_request
        return Waits.NOTHING if request is not None and request.writer.output_size else Waits.ANSWER

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request; the first one, or the next."""
        return not self._messages and (self._waiter is not None or not self._request_count)

    def _break_payload(self) -> None:
        """Tells whoever reads the body that the rest will not come."""
        payload = self._last_payload
        if payload.is_eof():
            return
        if payload is self._answered:
            payload.feed_eof()
        else:
            payload.set_exception(web.RequestPayloadError("the rest of the body will not come"))

    def _may_be_told(self) -> bool:
        """Whether `100 Continue` may be written: before the head, to a request that costs something."""
        request = self._current_request
        return (
            request is not None
            and request.method == hdrs.METH_POST
            and request.version >= HttpVersion11
            and request.writer.output_size == 0
        )

    async def _watch(self) -> None:
        """Finds out whether a caller that has closed its sending side has gone, as long as it is served."""
        for interval_s in chain((_PATIENCE_S, 1.0, 2.0, 4.0, 8.0), repeat(_RARELY_S)):
            if self.probe is not None:
                self.probe()
            for wait_s in (*_LOOKS_S, interval_s):
                await asyncio.sleep(wait_s)
                if self._has_left():
                    return
            if self.transport is not None and self._may_be_told():
                self.transport.write(_CONTINUE)

    def _has_left(self) -> bool:
        """Whether nothing is left to be done; closes the connection then."""
        if self.transport is None:
            return True
        if self.is_idle:  # the FIN came in the very moment in which the last response was out
            self.force_close()
            return True
        if _was_reset(self.transport):
            self.transport.abort()
            return True
        return False


def _is_one_request(data: bytes, end: int) -> bool:
    """Whether a read is a head, which ends at `end`, and the whole body that it names."""
    length = _LENGTH.search(data, 0, end + 2)
    return length is not None and int(length[1]) == len(data) - end - len(_HEAD_END)


def write_now(response: web.StreamResponse, data: bytes) -> None:
    """Writes to a response that is sent piece by piece, in this turn of the loop, without waiting for the connection.

    Raises:
        ConnectionError: the caller has gone.
    """
    writing = response.write(data)
    try:
        writing.send(None)
        writing.close()  # it would wait now, but only after the connection has taken the data
    except StopIteration:
        pass


def _was_reset(transport: asyncio.Transport) -> bool:
    """Whether the other side has said that nobody is there; on a UNIX socket that is known at once."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    if not hasattr(select, "poll"):  # Windows: the next write fails
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))

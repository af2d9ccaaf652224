"""A reply that is there as a whole, head and body, and goes out in one write.

Most short answers have ended before their head is sent. What aiohttp does for any response (headers put together,
looked through, signals, a writer that may do more than write) costs such a request a twentieth of all it costs.
What goes out says the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.web_request import BaseRequest

from server.errors import NOSNIFF

_FIXED: Final = (
    f"HTTP/1.1 200 OK\r\n{NOSNIFF}: nosniff\r\nServer: {SERVER_SOFTWARE}\r\nTransfer-Encoding: chunked\r\n"
)


def can_be_whole(request: web.Request) -> bool:
    """Whether nothing of the reply's head depends on whose page asks, or on an older HTTP."""
    return request.version >= HttpVersion11 and hdrs.ORIGIN not in request.headers


class WholeReply(web.StreamResponse):
    """Status 200, in one chunk, as streams are sent: clients may count on it.

    Args:
        headers: names and values, but for those that every reply has; `Connection` is added here.
    """

    def __init__(self, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        super().__init__()
        self._lines = [f"{name}: {value}\r\n" for name, value in headers]
        self._content = body
        self._stays = True
        self._is_sent = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays for another request."""
        return self._stays

    def force_close(self) -> None:
        """The connection ends behind this reply."""
        self._stays = False

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Sends all of it; once.

        Raises:
            ConnectionError: the caller has gone.
            ValueError: a header holds the end of a line.
        """
        if self._is_sent:
            return None
        self._is_sent = True
        self._stays = self._stays and request.keep_alive
        lines = "".join(self._lines)
        if lines.count("\n") != len(self._lines) or lines.count("\r") != len(self._lines) or "\0" in lines:
            raise ValueError("a header holds the end of a line")
        kept = "keep-alive" if self._stays else "close"
        head = f"{_FIXED}{lines}Date: {_date_of(int(time.time()))}\r\nConnection: {kept}\r\n\r\n".encode()
        writer = request.writer
        if self._content:
            await writer.write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(self._content), self._content))
        else:
            await writer.write(head + b"0\r\n\r\n")
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""


@lru_cache(maxsize=2)
def _date_of(epoch_s: int) -> str:
    """As HTTP has it; a busy second has many replies."""
    return formatdate(epoch_s, usegmt=True)

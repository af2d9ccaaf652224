"""A large request body on its way up, watched: what upstream takes of it is a sign of life."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

_PIECE_BYTES = 131_072
_SEND_BUFFER_BYTES = 262_144
"""Linux grows it to 4 MB: what lies there looks as if upstream had it, and on a slow line is minutes of silence."""


class Upload(Payload):
    """A body that is written piece by piece.

    Args:
        note_progress: called whenever there is room for the next piece, which there is when upstream has taken what
            went before.
    """

    SMALL_BYTES: Final = _PIECE_BYTES
    """A body up to this size is one piece: nothing would be noted of it."""

    def __init__(self, body: bytes, note_progress: Callable[[], None] | None = None) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self._note_progress = note_progress

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The whole body as text."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Writes the whole body."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Writes so many bytes of the body, or all of it."""
        body = memoryview(self._value)[:content_length]
        _keep_little_in_the_kernel(writer)
        for at in range(0, len(body), _PIECE_BYTES):
            await writer.write(body[at : at + _PIECE_BYTES])  # returns when there is room again
            if self._note_progress is not None:
                self._note_progress()

    async def as_bytes(self, *args: Any, **kwargs: Any) -> bytes:
        """The whole body."""
        return bytes(self._value)


def _keep_little_in_the_kernel(writer: AbstractStreamWriter) -> None:
    transport = getattr(writer, "transport", None)
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

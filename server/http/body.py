"""The body of a request: read when it is wanted, unpacked step by step, and no more of it than the settings allow.

aiohttp is told not to unpack: it would do so while it reads, for whoever sends, before anybody asks who that is.
Rules of this module:

1. Nothing is read, and nothing unpacked, before a handler asks; so the caller is known and the route exists.
2. What the head alone decides (size, coding) is refused at once, and a caller who waits for `100 Continue` gets the
   refusal in its place.
3. A step of unpacking takes under a millisecond; then other callers have their turn.
4. Who sends too slowly is given up.
5. Both the packed and the unpacked size end at `server.max_body_bytes`.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import hdrs, web

from client.streams.readable import StreamsFull
from server.errors import ApiError, overloaded, refuse
from server.http.malformed import bad_http
from server.keys import EXPECTATION, SETTINGS, STREAMS

CODINGS: Final = "gzip, deflate"
"""The codings of `Content-Encoding` that are unpacked."""

_STEP_BYTES: Final = 65_536
"""Most that one step gives: about 0.2 ms."""
_SLICE_BYTES: Final = 1024
"""Packed bytes that one step takes: a member of a few bytes would have what follows it copied each time."""
_TURN_COST: Final = 512 * 1024
"""Unpacked bytes, each step counted for `_STEP_COST` more, after which others have their turn: about 2 ms."""
_STEP_COST: Final = 4096
_LEAST_BYTES_PER_S: Final = 500
"""Who sends more slowly than that for longer than `server.request_timeout_s` is given up."""
_TOO_SLOW: Final = "The body came too slowly (server.request_timeout_s); send the request again."
_BROKEN: Final = "The body broke off, or is not framed as its head says."
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(request: web.Request) -> bytes:
    """The whole body, unpacked.

    Raises:
        ApiError: `unsupported_media_type` for a coding, `payload_too_large`, or `invalid_json`.
    """
    content = request.content
    if (
        content.is_eof()
        and content.total_bytes <= request.app[SETTINGS].current.server.max_body_bytes
        and content.exception() is None
        and hdrs.CONTENT_ENCODING not in request.headers
    ):  # it came with the head, as small ones do: nothing is left to be waited for
        return content.read_nowait()
    return await BodyReader(request).read_rest()


class BodyReader:
    """Reads one request's body piece by piece; the constructor refuses what the head alone decides.

    Attributes:
        is_packed: whether it comes in a coding, and so is not what `Content-Length` says.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._content = request.content
        self._left = self._limit = request.app[SETTINGS].current.server.max_body_bytes
        self._packed_left = self._limit
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        if (request.content_length or 0) > self._limit:
            raise self._too_large()
        codings = request.headers.getall(hdrs.CONTENT_ENCODING, None)
        self._unpacker = None if codings is None else _unpacker_for(", ".join(codings))
        self.is_packed = self._unpacker is not None

    async def read_rest(self) -> bytes:
        """Everything that has not been read yet.

        Raises:
            ApiError: `overloaded` too: what is gathered is counted with the answers.
        """
        piece = await self.read_piece()
        if self._content.is_eof() and self._unpacker is None:
            return piece + await self.read_piece() if piece else piece
        pieces, streams, held_bytes = [piece], self._request.app[STREAMS], 0
        try:
            while piece:
                streams.hold(len(piece))
                held_bytes += len(piece)
                piece = await self.read_piece()
                pieces.append(piece)
            return b"".join(pieces)
        except StreamsFull as exc:
            refusal = overloaded(exc)
            refusal.closes = True
            raise refusal from exc
        finally:
            streams.release(held_bytes)

    async def read_piece(self) -> bytes:
        """The next bytes; empty at the end."""
        while True:
            if self._unpacker is not None and self._unpacker.has_more:
                piece = self._unpacker.step()
                await self._unpacker.take_turns()
            else:
                piece = await self._read_packed()
                if not piece:
                    self._check_end()
                    return b""
                if self._unpacker is not None:
                    self._unpacker.feed(piece)
                    continue
            if piece:
                self._left -= len(piece)
                if self._left < 0:
                    raise self._too_large()
                return piece

    async def _read_packed(self) -> bytes:
        """The next bytes as they come over the connection."""
        if not self._content.is_eof() and not self._content.total_bytes:
            await self._ask_for_it()
        try:
            if self._content.is_eof():
                piece = await self._content.readany()
            else:
                async with asyncio.timeout_at(self._deadline_s()):
                    piece = await self._content.readany()
        except web.RequestPayloadError as exc:
            refusal = refuse("invalid_json", 400, _BROKEN)
            refusal.closes = True
            raise refusal from exc
        except TimeoutError as exc:
            raise ApiError(bad_http(408, _TOO_SLOW, retryable=True), closes=True) from exc
        self._packed_left -= len(piece)
        if self._packed_left < 0:
            raise self._too_large()
        return piece

    def _deadline_s(self) -> float:
        """When the next bytes must be there, by the loop's clock."""
        now_s, timeout_s = self._loop.time(), self._request.app[SETTINGS].current.server.request_timeout_s
        received = self._limit - self._packed_left
        return min(now_s + timeout_s, self._began_s + timeout_s + received / _LEAST_BYTES_PER_S)

    async def _ask_for_it(self) -> None:
        """Lets a caller who waits for that begin to send."""
        if self._request.pop(EXPECTATION, None) is not None:
            writer = self._request.writer
            await writer.write(_CONTINUE)
            writer.output_size = 0  # it is no part of the response

    def _check_end(self) -> None:
        if self._unpacker is not None and not self._unpacker.is_whole:
            raise _not_coded()

    def _too_large(self) -> ApiError:
        return refuse(
            "payload_too_large", 413, f"Maximum request body size {self._limit} exceeded (server.max_body_bytes)."
        )


def _unpacker_for(coding: str) -> _Unpacker | None:
    names = [name for name in (part.strip().lower() for part in coding.split(",")) if name not in ("", "identity")]
    if not names:
        return None
    if names in (["gzip"], ["x-gzip"]):
        return _Unpacker(is_gzip=True)
    if names == ["deflate"]:
        return _Unpacker(is_gzip=False)
    refusal = refuse(
        "unsupported_media_type",
        415,
        f"Content-Encoding {coding[:100]} is not taken here; send the body as it is, or in one of {CODINGS}.",
    )
    refusal.headers[hdrs.ACCEPT_ENCODING] = CODINGS
    raise refusal


def _not_coded() -> ApiError:
    return refuse("invalid_json", 400, "The body broke off, or is not coded as Content-Encoding says.")


class _Unpacker:
    """Unpacks gzip (RFC 1952, any number of members) and deflate (RFC 1950, and bare RFC 1951 as many send it)."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._packed = memoryview(b"")
        self._at = 0
        self._rest = b""
        self._decompressor: zlib._Decompress | None = None
        self._is_held_back = False
        self._cost = 0

    @property
    def has_more(self) -> bool:
        """Whether a step may give something before more is fed."""
        return bool(self._rest) or self._is_held_back or self._at < len(self._packed)

    @property
    def is_whole(self) -> bool:
        """Whether what was fed ends where the coding ends."""
        return self._decompressor is not None and self._decompressor.eof

    def feed(self, packed: bytes) -> None:
        """Takes packed bytes, once `has_more` is false."""
        self._packed, self._at = memoryview(packed), 0

    async def take_turns(self) -> None:
        """Gives others their turn after so much work."""
        if self._cost >= _TURN_COST:
            self._cost = 0
            await asyncio.sleep(0)

    def step(self) -> bytes:
        """The next unpacked bytes; empty when this step gave none.

        Raises:
            ApiError: `invalid_json`, since it is not coded as it says.
        """
        piece = self._rest
        if not piece and not self._is_held_back:
            piece = bytes(self._packed[self._at : self._at + _SLICE_BYTES])
            self._at += len(piece)
        if self._decompressor is None or (self._decompressor.eof and self._is_gzip):
            self._decompressor = zlib.decompressobj(self._window_bits(piece))
        elif self._decompressor.eof:
            raise _not_coded()  # something stands behind the end
        try:
            found = self._decompressor.decompress(piece, _STEP_BYTES)
        except zlib.error as exc:
            raise _not_coded() from exc
        self._rest = self._decompressor.unconsumed_tail or self._decompressor.unused_data
        self._is_held_back = len(found) == _STEP_BYTES and not self._decompressor.eof
        self._cost += len(found) + _STEP_COST
        return found

    def _window_bits(self, start: bytes) -> int:
        if self._is_gzip:
            return zlib.MAX_WBITS | 16
        has_zlib_head = start[0] & 0x0F == 8
        return zlib.MAX_WBITS if has_zlib_head else -zlib.MAX_WBITS

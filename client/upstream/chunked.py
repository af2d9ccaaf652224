"""Whole chunks of a chunked body (RFC 9112, section 7.1), told from the bytes of a connection.

Only what is certain is taken: chunks that are there from their length to their last line end, without extensions.
Whatever else stands on the wire, the last chunk too, is somebody else's to understand. Pure module.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

CRLF: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_split = re.compile(CRLF).split
"""Twice as fast as that of bytes, for a separator of two."""
LAST_CHUNK: Final = b"0\r\n\r\n"
_LAST: Final = CRLF + LAST_CHUNK
_LAST_LINE: Final = b"0"
_SAID: Final = b"data"
"""Without it there is no event, however its lines end."""
_LINE_BYTES: Final = 8
"""Digits of a length that is read: more than any chunk has."""
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{1,%d}" % _LINE_BYTES)
_MOST_KEPT: Final = 4096
_MOST_FIELDS: Final = 100
_READ: Final = (
    rb"(?i:connection|content-[a-z]+|keep-alive|set-cookie|trailer|transfer-encoding|upgrade|x-generation-id)"
)
_without_unread = re.compile(rb"\r\n(?!%b:)[A-Za-z0-9-]+: [ -~]{0,1000}(?=\r\n)" % _READ).sub
_LONGEST_HEAD: Final = 8000
"""Bytes; aiohttp takes no longer line."""
_PLAIN_HEAD: Final = re.compile(
    rb"HTTP/1\.1 200 [\t -~]*\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n){1,100}\r\n"
)
_TYPE_NAME: Final = b"\r\ncontent-type:"
_EVENT_STREAM: Final = re.compile(rb"\r\ncontent-type:[\t ]*text/event-stream[\t ]*[;\r]")
_CONNECTION_NAME: Final = b"\r\nconnection:"
_CONNECTION: Final = re.compile(rb"\r\nconnection:[\t ]*(keep-alive|close)[\t ]*\r")
_GENERATION_NAME: Final = b"\r\nx-generation-id:"
NO_LENGTH: Final = -1


class _Lengths(dict[bytes, int]):
    """Lengths of chunks by their line; `NO_LENGTH` for any other line, and for that of the last chunk."""

    def __missing__(self, line: bytes) -> int:
        length = (int(line, 16) or NO_LENGTH) if _HEX.fullmatch(line) else NO_LENGTH
        if len(self) < _MOST_KEPT and len(line) <= _LINE_BYTES:
            self[line] = length
        return length


LENGTHS: Final = _Lengths()


def framed_body(data: bytes) -> int:
    """Where the body begins in what came first on a connection: behind the head of a stream of server-sent events in
    chunks that are not packed; 0 where it is anything else, or may be."""
    end = data.find(_HEAD_END)
    if end < 0 or not data.startswith(b"HTTP/1.1 200 "):
        return 0
    head = data[: end + 2].lower()
    is_framed = (
        head.count(b"\r\ntransfer-encoding:") == 1
        and b"\r\ntransfer-encoding: chunked\r\n" in head
        and b"\r\ncontent-type: text/event-stream" in head
        and b"\r\ncontent-encoding:" not in head
        and b"\r\ncontent-length:" not in head
        and b"\r\n " not in head  # a line that goes on with the one before (section 5.2)
        and b"\r\n\t" not in head
    )
    return end + len(_HEAD_END) if is_framed else 0


def lean_head(head: bytes) -> bytes:
    """The head of such a body without the fields that nobody reads, of which there are twenty where a network of
    proxies has sent it: a parser keeps every one for as long as the answer is open. What is no ordinary field stays,
    for the parser to judge."""
    return head if head.count(CRLF) > _MOST_FIELDS else _without_unread(b"", head)


class StreamHead(NamedTuple):
    """What is told of an answer before its first chunk.

    Attributes:
        size: bytes of the head.
        generation_id: as it was sent.
        stays: whether the connection is for more requests than this one.
    """

    size: int
    generation_id: str | None
    stays: bool = True


def stream_head(data: bytes) -> StreamHead | None:
    """The head of a stream of events in chunks; None where anything in it is unusual."""
    size = framed_body(data)
    if not size or size > _LONGEST_HEAD or not _PLAIN_HEAD.fullmatch(data, 0, size):
        return None
    head = data[: size - 2].lower()
    kind = _EVENT_STREAM.search(head)
    if kind is None or head.count(_TYPE_NAME) != 1:
        return None
    stays = True
    if _CONNECTION_NAME in head:
        said = _CONNECTION.search(head)
        if said is None or head.count(_CONNECTION_NAME) != 1:
            return None
        stays = said[1] != b"close"
    at = head.find(_GENERATION_NAME)
    if at < 0:
        return StreamHead(size, None, stays)
    at += len(_GENERATION_NAME)
    return StreamHead(size, data[at : data.index(CRLF, at)].strip().decode("utf-8", "surrogateescape"), stays)


def whole_chunks(data: bytes) -> tuple[bytes, int]:
    """What the whole chunks hold with which the data begins, and how many bytes of it they are. It must begin with a
    chunk."""
    end = len(data) - 5 if data.endswith(_LAST) else len(data)
    parts = _split(data if end == len(data) else data[:end])
    whole = (len(parts) - 1) // 2 * 2  # a line and what it measures, again and again
    pieces = parts[1:whole:2]
    if list(map(len, pieces)) != list(map(LENGTHS.__getitem__, parts[:whole:2])):
        return _one_by_one(data)  # there are line ends within chunks
    return b"".join(pieces), end - sum(map(len, parts[whole:])) - 2 * (len(parts) - whole - 1)


def _one_by_one(data: bytes) -> tuple[bytes, int]:
    pieces: list[bytes] = []
    at = 0
    while (line_end := data.find(CRLF, at, at + _LINE_BYTES + 2)) >= 0:
        length = LENGTHS[data[at:line_end]]
        start = line_end + 2
        if length == NO_LENGTH or data[start + length : start + length + 2] != CRLF:
            break
        pieces.append(data[start : start + length])
        at = start + length + 2
    return b"".join(pieces), at


def is_part_of_line(rest: bytes) -> bool:
    """Whether a chunk has begun of which not even the length is known."""
    return len(rest) <= _LINE_BYTES + 1 and CRLF not in rest


def missing_bytes(rest: bytes) -> int:
    """How many bytes are missing of the chunk that has begun, its last line end included; `NO_LENGTH` where that
    cannot be told."""
    line, found, begun = rest.partition(CRLF)
    length = LENGTHS[line] if found else NO_LENGTH
    missing = length + 2 - len(begun)
    return missing if length > 0 and missing > 0 else NO_LENGTH


def is_strange(data: bytes) -> bool:
    """Whether something in the data is none of the chunks that are read here, or may be none, and nothing was said
    before it."""
    body, size = whole_chunks(data)
    if _SAID in body:
        return False
    rest = data[size:]
    line, found, _ = rest.partition(CRLF)
    return LENGTHS[line] == NO_LENGTH and line != _LAST_LINE if found else len(rest) > _LINE_BYTES + 1

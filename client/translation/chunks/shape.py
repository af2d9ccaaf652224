"""Chunks that differ from one before in a text or two, recognised by their bytes.

Nearly all chunks of an answer are alike but for the piece of text in them. A *shape* is such a chunk with the text
taken out: what stands before, between and after its strings. A payload of that shape holds the same JSON with other
strings in these places, so all else in it has been read and told already, whatever fields it has. Nothing is assumed
of their order or spelling: a shape is proved on a probe when it is made. Pure module.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

Path = tuple[str | int, ...]

_LONGEST_SHAPE: Final = 8192
"""Bytes of a chunk that a shape is made of: others are rare, and dear to look through."""
_decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_STRING = rb'"%b"[ \t]*:[ \t]*("(?:[^"\\]|\\.)*")'


class ChunkShape:
    """The bytes around the one or two strings of a chunk."""

    __slots__ = ("_from", "_head", "_middle", "_tail", "_to", "is_swapped")

    def __init__(self, head: bytes, middle: bytes | None, tail: bytes, is_swapped: bool) -> None:
        self._head = head
        self._middle = middle
        self._tail = tail
        self._from = len(head) - 1  # the quotes belong to head, middle and tail, and to the strings
        self._to = 1 - len(tail)
        self.is_swapped = is_swapped

    def text_in(self, payload: bytes) -> str | None:
        """The string of a payload of this shape, which has one; None for another payload."""
        if payload.startswith(self._head) and payload.endswith(self._tail):
            try:
                return _decode_text(payload[self._from : self._to])
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
        return None

    def texts_in(self, payload: bytes) -> tuple[str, str] | None:
        """The two strings of a payload of this shape, in the order of the paths; None for another payload."""
        middle = self._middle
        if middle is None or not (payload.startswith(self._head) and payload.endswith(self._tail)):
            return None
        at = payload.find(middle, self._from)
        if at < 0:
            return None
        try:
            first = _decode_text(payload[self._from : at + 1])
            second = _decode_text(payload[at + len(middle) - 1 : self._to])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return (second, first) if self.is_swapped else (first, second)


def shape_of(payload: bytes, found: Any, *paths: Path) -> ChunkShape | None:
    """The shape of a payload around the strings at one or two paths; None when it is not easily found.

    Args:
        found: what the payload decodes to.
    """
    if len(payload) > _LONGEST_SHAPE:
        return None
    names = {str(path[-1]).encode() for path in paths}
    pattern = _STRING % (b"(?:" + b"|".join(map(re.escape, names)) + b")")
    spans = [match.span(1) for match in re.finditer(pattern, payload, re.DOTALL)]
    if len(spans) != len(paths):
        return None
    probes = [f"\x01{number}" for number in range(len(spans))]
    pieces, at = [], 0
    for start, end in spans:
        pieces.append(payload[at : start + 1])
        at = end - 1
    pieces.append(payload[at:])
    probe = b"".join(piece + b"\\u0001%d" % number for number, piece in enumerate(pieces[:-1])) + pieces[-1]
    try:
        probed = _decode(probe)
        seen = [_swap(probed, path, _at(found, path)) for path in paths]
        if probed != found or sorted(seen) != probes:
            return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return None
    return ChunkShape(pieces[0], pieces[1] if len(pieces) > 2 else None, pieces[-1], seen != probes)


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _swap(value: Any, path: Path, new: Any) -> Any:
    """Puts a value in the place of another, which it returns."""
    holder = _at(value, path[:-1])
    old, holder[path[-1]] = holder[path[-1]], new
    return old

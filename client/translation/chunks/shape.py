"""Chunks that differ from one before in a text or two, recognised by their bytes.

Nearly all chunks of an answer are alike but for the piece of text in them. A *shape* is such a chunk with the text
taken out: what stands before, between and after its strings. A payload of that shape holds the same JSON with other
strings in these places, so all else in it has been read and told already, whatever fields it has. Nothing is assumed
of their order or spelling: a shape is proved on a probe when it is made. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

Path = tuple[str | int, ...]

_LONGEST_SHAPE: Final = 8192
"""Bytes of a chunk that a shape is made of: others are rare, and dear to look through."""
_decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(str).decode_lines
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

    def fits(self, payload: bytes) -> bool:
        """Whether a payload may be of this shape."""
        return payload.startswith(self._head) and payload.endswith(self._tail)

    @property
    def around(self) -> tuple[bytes, bytes | None, bytes]:
        """What stands before, between and behind the strings, quotes included; None between where there is one."""
        return self._head, self._middle, self._tail

    def end_of_run(self, payloads: Sequence[bytes], at: int) -> int:
        """Where those may end that fit like the one at that place: looked for as if others followed that do not."""
        end = len(payloads)
        if self.fits(payloads[end - 1]):
            return end
        while end - at > 1:
            middle = (at + end) // 2
            if self.fits(payloads[middle]):
                at = middle
            else:
                end = middle
        return end

    def all_in(self, payloads: Sequence[bytes]) -> list[str] | None:
        """The strings of payloads that are all of this shape, of each its one or its two as they stand in it; None
        where one of them is not, or may not be.

        No line end can stand in a string, so a line is a string, as it is a payload's.
        """
        head, tail, start, end = self._head, self._tail, self._from, self._to
        strings = [each[start:end] for each in payloads if each.startswith(head) and each.endswith(tail)]
        if len(strings) != len(payloads):
            return None
        lines, count = b"\n".join(strings), len(strings)
        if self._middle is not None:
            if lines.count(self._middle) != count:
                return None
            lines, count = lines.replace(self._middle, b'"\n"'), 2 * count
        if lines.count(b"\n") != count - 1:
            return None
        try:
            texts = _decode_texts(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return texts if len(texts) == count else None


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

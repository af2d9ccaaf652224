"""Thinking under both of its names: clients of OpenAI-compatible servers read `reasoning` or `reasoning_content`.

A chunk that thinks and does nothing else gets its text put in again as the bytes that it is. Chunks that are alike
but for their texts (`client.translation.chunks.shape`) are not even decoded for that. Pure module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from client.border.json_codec import decode_json
from client.translation.chunks.shape import Path, shape_of

REASONING: Final = b'"reasoning"'
_DATA: Final = b"data: "
_END: Final = b"\n\n"
_NO_LINE_ENDS: Final = bytes(byte for byte in range(256) if byte not in b"\r\n")
_OPENING: Final = REASONING + b':"'
_QUOTE, _BACKSLASH = b'"\\'
_MOST_SHAPES: Final = 8
"""Shapes that are made for one answer: where they do not last, they are not worth it."""
_DELTA: Final[Path] = ("choices", 0, "delta")


class _Delta(msgspec.Struct, gc=False):
    reasoning: msgspec.Raw
    reasoning_content: msgspec.UnsetType = msgspec.UNSET  # whatever it is: a name must not stand there twice


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    message: None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: tuple[_Choice]


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_texts = msgspec.json.Decoder(str).decode_lines


class SecondName:
    """Puts the thinking of chunks in under its second name, for one reader of one answer."""

    __slots__ = ("_before", "_end", "_has_one", "_head", "_left", "_middle", "_start", "_tail")

    def __init__(self) -> None:
        # What stands before, between and behind the texts of a record like those before, and where these are.
        self._head = self._middle = self._tail = b""
        self._start = self._end = 0  # 0: nothing is known
        self._before = b""  # what such a record begins with, up to the first name, and behind that the second
        self._has_one = False  # the first chunk of its kind may be the only one
        self._left = _MOST_SHAPES

    @property
    def is_learnt(self) -> bool:
        """Whether a record like others before it can be known."""
        return self._start > 0

    def put_into_alike(self, record: bytes) -> bytes | None:
        """A record, without the empty line at its end, with its thinking twice; None where it is not like those
        before it, which says nothing. One that is has no quote in its texts, so that these end where they seem to."""
        start, end = self._start, self._end
        if not start or record[:start] != self._head or record[end:] != self._tail:
            return None
        thinking = record[start:end]
        if self._middle:
            thinking, found, other = thinking.partition(self._middle)
            if not found or _QUOTE in other or other[-1:] == b"\\":
                return None
        if not thinking or _QUOTE in thinking or thinking[-1] == _BACKSLASH:
            return None
        return b'%b%b","reasoning":"%b' % (self._before, thinking, record[start:])

    def put_into_run(self, records: bytes) -> tuple[bytes, bytes] | None:
        """Whole records with their thinking twice, as far as all of them are like those before them, and what follows
        on these. None where they are not, or may not be: each must be looked at for itself."""
        if not self._start or not records.startswith(self._head):
            return None
        head, tail, start, end = self._head, self._tail, self._start, self._end
        blocks = records.split(_END)
        count = self._end_of_run(blocks)
        pieces = [each[start:end] for each in blocks[:count] if each.startswith(head) and each.endswith(tail)]
        firsts = self._thinking_in(pieces) if len(pieces) == count else None
        if firsts is None:
            return None
        before = self._before[:-1]  # the quote is the text's own
        after = tail + _END
        said = (after + before).join([b'%b,"reasoning":"%b' % each for each in zip(firsts, pieces, strict=True)])
        return b"%b%b%b" % (before, said, after), _END.join(blocks[count:])

    def _end_of_run(self, blocks: Sequence[bytes]) -> int:
        """Where those may end that are like the first: looked for as if others followed that are not."""
        at, end = 0, len(blocks)
        while end - at > 1:
            middle = (at + end) // 2
            if blocks[middle].startswith(self._head) and blocks[middle].endswith(self._tail):
                at = middle
            else:
                end = middle
        return end

    def _thinking_in(self, pieces: Sequence[bytes]) -> Sequence[bytes] | None:
        """The JSON of the thinking in pieces of records, which have stood between the same; None where one of them is
        something else, or may be.

        No line end can stand in a JSON text, so a line is a text.
        """
        lines, step = b'"%b"' % b'"\n"'.join(pieces), 1
        if self._middle:
            lines, step = lines.replace(self._middle, b'"\r"'), 2
        if lines.translate(None, _NO_LINE_ENDS) != (b"\r\n"[2 - step :] * len(pieces))[:-1]:
            return None
        lines = lines.replace(b"\r", b"\n")
        try:
            texts = _decode_texts(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return None if len(texts) != step * len(pieces) or "" in texts[::step] else lines.split(b"\n")[::step]

    def put_in(self, chunk: bytes) -> bytes | None:
        """Any chunk with its thinking twice; None where it does anything else that must be looked at, or does not
        think."""
        thinking = _thinking_alone(chunk)
        if thinking is None:
            return None
        at = chunk.find(REASONING)
        if self._has_one:
            self._learn(chunk, at)
        self._has_one = True
        return b'%b"reasoning_content":%b,%b' % (chunk[:at], thinking, chunk[at:])

    def _learn(self, chunk: bytes, at: int) -> None:
        if self._left == 0 or not chunk.startswith(_OPENING, at):
            return
        self._left -= 1
        found = decode_json(chunk)
        shape = shape_of(chunk, found, *_paths(found))
        head, middle, tail = (b"", None, b"") if shape is None else shape.around
        if head != chunk[: at + len(_OPENING)]:  # or its first text is another
            self._start = 0
            return
        self._head, self._middle, self._tail = _DATA + head, middle or b"", tail
        self._start, self._end = len(self._head), -len(tail)
        self._before = _DATA + chunk[:at] + b'"reasoning_content":"'


def _thinking_alone(chunk: bytes) -> bytes | None:
    """The JSON of the text. The name must stand in the chunk once and as itself: then the place is the right one."""
    if chunk.count(REASONING) != 1 or chunk.find(b'"error"') >= 0 or chunk.find(b"\\u") >= 0:
        return None
    try:
        thinking = bytes(_decode(chunk).choices[0].delta.reasoning)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return thinking if thinking.startswith(b'"') and len(thinking) > 2 else None


def _paths(found: Any) -> tuple[Path, ...]:
    """Where the texts of a chunk are that thinks: beside its thinking an entry of `reasoning_details` may have one.

    A path that is wrong is found out when the shape is proved.
    """
    details = found["choices"][0]["delta"].get("reasoning_details")
    entry = details[0] if isinstance(details, list) and len(details) == 1 else None
    if not isinstance(entry, dict):
        return ((*_DELTA, "reasoning"),)
    field = "summary" if entry.get("summary") else "text"
    return ((*_DELTA, "reasoning"), (*_DELTA, "reasoning_details", 0, field))

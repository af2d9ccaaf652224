"""Chunks that say again what one before them said, with other text: the short way of a translator.

A recurrence is a shape of chunk, and what becomes of the text in it. It is made of a chunk that was read by the rule
for all (`client.translation.chunks.chunk`), and does what that rule would do. Pure module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from client.border.json_codec import decode_json
from client.translation.chunks.chunk import Chunk, Piece
from client.translation.chunks.shape import ChunkShape, Path, shape_of
from client.translation.events import (
    ChatEvent,
    ContentDelta,
    ReasoningDelta,
    ReasoningDetails,
    ToolCall,
    ToolCallDelta,
)
from client.translation.tool_calls import Fragment

_MOST_OTHERS: Final = 4
"""Shapes kept at a time, beside that of text: thinking, and the pieces of parallel calls take turns."""
_MOST_VAIN: Final = 8
"""Shapes that were made and never seen again before no more are made: every chunk has something of its own."""
_PLAIN_BEFORE_SHAPE: Final = 6
"""Plain chunks that are read as such before a shape is made of one, which a short answer is not worth."""
_DELTA: Final[Path] = ("choices", 0, "delta")
_REASONING: Final = ("reasoning", "reasoning_content", "reasoning_text")

AddDetails = Callable[[dict[str, Any], str, Sequence[str]], None]
AddCallPiece = Callable[[Fragment], ToolCallDelta | None]


class _Thinking:
    """A chunk of thinking alone."""

    __slots__ = ("_text_in", "shape")
    is_thinking = True

    def __init__(self, shape: ChunkShape) -> None:
        self.shape = shape
        self._text_in = shape.text_in

    def take(self, payload: bytes, events: list[ChatEvent]) -> bool:
        text = self._text_in(payload)
        if not text:
            return False
        events.append(ReasoningDelta(text))
        return True

    def take_all(self, payloads: Sequence[bytes]) -> list[ChatEvent]:
        texts = self.shape.all_in(payloads)
        return [] if texts is None or "" in texts else list(map(ReasoningDelta, texts))


class _DetailedThinking:
    """A chunk of thinking with an entry of `reasoning_details` beside it."""

    __slots__ = ("_add", "_entry", "_field", "_texts_in", "shape")
    is_thinking = True

    def __init__(self, shape: ChunkShape, entry: dict[str, Any], add: AddDetails) -> None:
        self.shape = shape
        self._texts_in = shape.texts_in
        self._entry = entry
        self._field = _text_field(entry)
        self._add = add

    def take(self, payload: bytes, events: list[ChatEvent]) -> bool:
        texts = self._texts_in(payload)
        if texts is None or not texts[0]:
            return False
        self._add(self._entry, self._field, texts[1:])
        events.append(ReasoningDelta(texts[0]))
        return True

    def take_all(self, payloads: Sequence[bytes]) -> list[ChatEvent]:
        texts = self.shape.all_in(payloads)
        if texts is None:
            return []
        is_swapped = self.shape.is_swapped
        said, details = texts[is_swapped::2], texts[not is_swapped :: 2]
        if "" in said:
            return []
        self._add(self._entry, self._field, details)
        return list(map(ReasoningDelta, said))


class _CallPiece:
    """A piece of a tool call's arguments."""

    __slots__ = ("_add", "_fragment", "_text_in", "shape")
    is_thinking = False

    def __init__(self, shape: ChunkShape, fragment: dict[str, Any], add: AddCallPiece) -> None:
        self.shape = shape
        self._text_in = shape.text_in
        self._fragment = Fragment(fragment)
        self._add = add

    def take(self, payload: bytes, events: list[ChatEvent]) -> bool:
        text = self._text_in(payload)
        if not text:
            return False
        self._fragment.arguments = text
        delta = self._add(self._fragment)
        if delta is not None:
            events.append(delta)
        return True

    def take_all(self, payloads: Sequence[bytes]) -> list[ChatEvent]:
        return []  # each is looked at for itself: a call may be whole, or not begun


Taker = _Thinking | _DetailedThinking | _CallPiece


class Recurrences:
    """The recurrences of one answer.

    Attributes:
        content_in: the text of a payload that recurs and has a piece of the answer as text; None while none is known.
        expects_content: the last chunk had a piece of the answer as text, so the next may well be plain.
        others: those without text of the answer.
        was_seen: set from outside when a payload was one of them.
        add_call_piece: takes a fragment of a tool call that is alone in its chunk; set from outside with the first.

    Args:
        add_details: takes an entry of `reasoning_details` that came before, again and again, with other texts in one
            of its fields.
    """

    __slots__ = (
        "_add_details",
        "_content",
        "_last_kinds",
        "_plain",
        "_vain",
        "add_call_piece",
        "content_in",
        "expects_content",
        "others",
        "was_seen",
    )

    def __init__(self, add_details: AddDetails) -> None:
        self.content_in: Callable[[bytes], str | None] | None = None
        self._content: ChunkShape | None = None
        self.others: list[Taker] = []
        self.expects_content = True
        self.was_seen = False
        self._plain = 0
        self._add_details = add_details
        self.add_call_piece: AddCallPiece | None = None
        self._last_kinds: list[type] = []
        self._vain = 0

    def note_plain(self, payload: bytes) -> None:
        """A chunk was read that holds a piece of the answer and nothing else, and has no known shape."""
        self._plain += 1
        if self._plain >= _PLAIN_BEFORE_SHAPE and self._may_be_worth_it():
            self._plain = 0
            self._learn(payload, [(ContentDelta, "")])

    def note(self, payload: bytes, chunk: Chunk) -> None:
        """A chunk was read by the rule for all; the second of its kind in a row may be the first of many."""
        if not chunk.pieces:
            return
        kinds = [kind for kind, _ in chunk.pieces]
        is_first = kinds != self._last_kinds
        self._last_kinds = kinds
        self.expects_content = kinds == [ContentDelta]
        if not is_first and _is_plain(chunk) and self._may_be_worth_it():
            self._learn(payload, chunk.pieces)

    def take_run(self, payloads: Sequence[bytes], at: int) -> list[ChatEvent]:
        """An event for each payload from there on that is like the one before it, as far as that is seen at once;
        none where it is not, or not worth it."""
        shape = self._content
        if shape is not None and self.content_in is not None and shape.fits(payloads[at]):
            texts = shape.all_in(payloads[at : shape.end_of_run(payloads, at)])
            events: list[ChatEvent] = [] if texts is None or "" in texts else list(map(ContentDelta, texts))
        elif self.others and self.others[0].shape.fits(payloads[at]):
            other = self.others[0]
            events = other.take_all(payloads[at : other.shape.end_of_run(payloads, at)])
        else:
            return []
        self.was_seen = self.was_seen or bool(events)
        return events

    def _may_be_worth_it(self) -> bool:
        if self.was_seen:
            self.was_seen, self._vain = False, 0
        if self._vain >= _MOST_VAIN:
            self.content_in, self.others = None, []
            return False
        return True

    def _learn(self, payload: bytes, pieces: list[Piece]) -> None:
        found = decode_json(payload)
        paths = _paths(found, pieces)
        shape = shape_of(payload, found, *paths) if paths else None
        if shape is not None:
            self._vain += 1
            self._keep(shape, pieces)

    def _keep(self, shape: ChunkShape, pieces: list[Piece]) -> None:
        kind, value = pieces[0]
        if kind is ContentDelta:
            self.content_in, self._content = shape.text_in, shape
            return
        if kind is ToolCall:
            if self.add_call_piece is not None:
                self.others.insert(0, _CallPiece(shape, value[0], self.add_call_piece))
        elif kind is ReasoningDetails:
            self.others.insert(0, _DetailedThinking(shape, value[0], self._add_details))
        else:
            self.others.insert(0, _Thinking(shape))
        del self.others[_MOST_OTHERS:]


def _is_plain(chunk: Chunk) -> bool:
    """Whether a chunk like it adds its text and nothing else."""
    stated = (chunk.finish_reason, chunk.native_finish_reason, chunk.error, chunk.logprobs, chunk.usage)
    return not chunk.is_whole and stated == (None, None, None, None, None)


def _paths(found: dict[str, Any], pieces: list[Piece]) -> tuple[Path, ...]:
    """Where the text of a chunk that adds nothing else is; nothing for a chunk of another kind.

    A path that is wrong is found out when the shape is proved.
    """
    choices = found.get("choices")
    delta = choices[0].get("delta") if isinstance(choices, list) and isinstance(choices[0], dict) else None
    if not isinstance(delta, dict):
        return ()
    kinds = tuple(kind for kind, _ in pieces)
    first: Any = pieces[0][1] if pieces else None
    if kinds == (ContentDelta,):
        return ((*_DELTA, "content"),)
    if kinds == (ReasoningDelta,):
        field = next((name for name in _REASONING if delta.get(name) == first), "")
        return ((*_DELTA, field),) if field else ()
    if kinds == (ReasoningDetails, ReasoningDelta):
        field = _text_field(first[0])
        has_text = len(first) == 1 and isinstance(first[0], dict) and first[0].get(field)
        return ((*_DELTA, "reasoning"), (*_DELTA, "reasoning_details", 0, field)) if has_text else ()
    if kinds == (ToolCall,):
        function = first[0].get("function") if len(first) == 1 and isinstance(first[0], dict) else None
        is_piece = isinstance(function, dict) and isinstance(function.get("arguments"), str)
        return ((*_DELTA, "tool_calls", 0, "function", "arguments"),) if is_piece else ()
    return ()


def _text_field(entry: Any) -> str:
    return "summary" if isinstance(entry, dict) and entry.get("summary") else "text"

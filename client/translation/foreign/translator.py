"""A translator of another protocol: the one of chat completions, with a front before it. Pure module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from client.border.json_codec import decode_either_way, encode_json
from client.errors import Failure
from client.translation.chunks.shape import shape_of
from client.translation.events import ChatEvent, ContentDelta
from client.translation.foreign.front import END, Front
from client.translation.translate import DONE, NO_WAYS, WAITING, ChatTranslator, Ways

_OTHER_WORDS = Failure(
    error="Upstream answered in chat completions, although asked in another protocol; check upstream.protocols.",
    type="upstream_protocol",
    status=502,
    retryable=False,
)
_MOST_LEARNT: Final = 32
"""Shapes made for one answer: each block of text has its own."""


class ForeignTranslator(ChatTranslator):
    """Translates one reply of another protocol. The payloads that it keeps are upstream's own.

    Args:
        front: a new one.
        more: as for `ChatTranslator`.
    """

    __slots__ = ("_front", "_learnt", "_text_in")

    def __init__(self, front: Front, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._front = front
        self._text_in: Callable[[bytes], str | None] | None = None  # of events like one before, but for their text
        self._learnt = 0

    def _expected(self) -> Ways:
        """The short way of text alone: the others are those of chunks."""
        if self._text_in is None or super()._expected() is NO_WAYS:
            return NO_WAYS
        return self._text_in, False, ()

    def _take(self, payload: bytes, events: list[ChatEvent], *, is_last: bool = False) -> None:
        """One event's data. `[DONE]` is no word of most of these protocols, and says nothing of their end."""
        is_marker = payload.strip(b' \t\r\n"') == b"[DONE]"
        if self.state is DONE or is_marker:
            self._keep_not(payload)
            if self.state is not DONE and self._front.has_done_marker:
                self._take_done_marker(events)
            return
        found, is_plain = decode_either_way(payload)
        if not isinstance(found, dict):
            super()._take(payload, events, is_last=is_last)
            return
        if self.state is WAITING and _is_chunk(found):  # no reader of the protocol would be shown it
            self._keep_not(payload)
            events += self.close(_OTHER_WORDS)
            return
        whole = self._front.events_of_whole(found)
        if whole and self.payloads is not None:
            self.payloads.put(payload, *map(encode_json, whole))
        elif not is_plain and self.payloads is not None:
            self.payloads.make_readable(payload, found)
        is_about_model, before = False, len(events)
        for event in whole or [found]:
            for chunk in self._front.chunks_of(event):
                is_about_model = True
                if self.state is DONE:  # a failure with its usage was the end
                    break
                if chunk is END:
                    self._take_done_marker(events)
                else:
                    self._take_found(chunk, is_plain, events)
        if not is_about_model:
            self._junk += 1
        elif is_plain and len(events) == before + 1 and type(events[before]) is ContentDelta:
            self._learn(payload, found)

    def _learn(self, payload: bytes, found: dict[str, Any]) -> None:
        """An event has given a piece of the answer and nothing else, so others like it do the same."""
        path = self._front.text_path
        if path is not None and self._learnt < _MOST_LEARNT:
            self._learnt += 1
            shape = shape_of(payload, found, path)
            self._text_in = None if shape is None else shape.text_in


def _is_chunk(found: dict[str, Any]) -> bool:
    """Whether this is a chunk of chat completions that tells of no error."""
    choices = found.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if "type" in found or found.get("error") or not isinstance(first, dict) or first.get("error"):
        return False
    return isinstance(first.get("delta", first.get("message")), dict) and first.get("finish_reason") != "error"

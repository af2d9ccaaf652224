"""The blocks of an answer as events, one block at a time, in the order in which they began.

Calls may come in turns, and Messages has no words for that: what belongs to a later block waits until the one before
it is whole. A text is whole when something else begins; a call when its JSON is, or at the end. Pure module.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from client.border.json_codec import encode_json
from client.border.json_progress import JsonProgress
from server.protocols.messages.thinking import signature_of

CALL, THINKING = "tool_use", "thinking"


def event_bytes(event: dict[str, Any]) -> bytes:
    """One event under its name."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encode_json(event) + b"\n\n"


@dataclass(slots=True)
class _Block:
    """A block under way.

    Attributes:
        key: what tells it from others of its type: the number of a call, or what names an entry of thinking.
        start: with which it is opened.
        waiting: pieces that have not gone out.
        entry: what is known of thinking beside its text, which the signature at its end is made of.
    """

    key: Any
    start: dict[str, Any]
    waiting: list[dict[str, Any]] = field(default_factory=list)
    entry: dict[str, Any] = field(default_factory=dict)
    progress: JsonProgress = field(default_factory=JsonProgress)
    length: int = 0
    is_ended: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing more of it can follow when another has begun; `{}` may stand for what is still to come."""
        return self.is_ended or self.start["type"] != CALL or (self.progress.has_ended and self.length > len("{}"))


class BlockWriter:
    """Writes the blocks of one answer."""

    def __init__(self) -> None:
        self._index = -1
        self._blocks: deque[_Block] = deque()  # the first one is open
        self._gone: set[Any] = set()  # keys of calls that have been closed

    @property
    def is_empty(self) -> bool:
        """Whether no block has begun."""
        return self._index < 0

    def text(self, text: str) -> bytes:
        """A piece of visible text."""
        return self._add("text", None, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})

    def thinking(self, key: Any, text: str, entry: dict[str, Any] | None = None) -> bytes:
        """A piece of thinking, and what is known of it: none of that goes out before its block ends.

        What comes when the block is gone has a further one, of a signature alone; of what needs none nothing is left
        to be said.
        """
        entry = {name: value for name, value in (entry or {}).items() if value is not None}
        data = b""
        if text or "signature" in entry or self._last(THINKING, key) is not None:
            start = {"type": THINKING, "thinking": "", "signature": ""}
            data = self._add(THINKING, key, start, {"type": "thinking_delta", "thinking": text} if text else None)
            self._blocks[-1].entry |= entry
        return data

    def redacted(self, data: str) -> bytes:
        """Thinking that nobody may read."""
        return self._add("redacted_thinking", object(), {"type": "redacted_thinking", "data": data}, None)

    def call(self, number: int, id_: str | None, name: str | None, arguments: str) -> bytes:
        """A piece of a call."""
        if number in self._gone:
            return b""
        known = self._call(number)
        if arguments.strip() == "{}" and (known is None or not known.length):
            arguments = ""  # what a call has without a word; others may be still to come in its place
        start = {"type": CALL, "id": id_ or "", "name": name or "", "input": {}}
        piece = {"type": "input_json_delta", "partial_json": arguments} if arguments else None
        data = self._add(CALL, number, start, piece)
        if arguments and self._blocks and (block := self._call(number)) is not None:
            block.progress.feed(arguments)
            block.length += len(arguments)
            data += self._go_on()
        return data

    def end(self) -> bytes:
        """Closes all blocks."""
        for block in self._blocks:
            block.is_ended = True
        return self._go_on() + (self._close() if self._blocks else b"")

    def _call(self, number: int) -> _Block | None:
        return next((each for each in self._blocks if each.start["type"] == CALL and each.key == number), None)

    def _add(self, kind: str, key: Any, start: dict[str, Any], piece: dict[str, Any] | None) -> bytes:
        block = self._call(key) if kind == CALL else self._last(kind, key)
        data = b""
        if block is None:
            block = _Block(key, start)
            self._blocks.append(block)
            data = self._open() if len(self._blocks) == 1 else self._go_on()
        if piece is None:
            return data
        if block is self._blocks[0]:
            return data + self._delta(piece)
        block.waiting.append(piece)
        return data

    def _last(self, kind: str, key: Any) -> _Block | None:
        """The newest block, if it is of that type and nothing says that it is another one."""
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.start["type"] != kind or (last.key != key and None not in (last.key, key)):
            return None
        last.key = key if last.key is None else last.key
        return last

    def _go_on(self) -> bytes:
        """Closes what is whole and has been followed by another, and opens that."""
        pieces: list[bytes] = []
        while len(self._blocks) > 1 and self._blocks[0].is_whole:
            pieces += [self._close(), self._open()]
        return b"".join(pieces)

    def _open(self) -> bytes:
        self._index += 1
        block = self._blocks[0]
        start = {"type": "content_block_start", "index": self._index, "content_block": block.start}
        waiting, block.waiting = block.waiting, []
        return event_bytes(start) + b"".join(map(self._delta, waiting))

    def _close(self) -> bytes:
        block = self._blocks.popleft()
        if block.start["type"] == CALL:
            self._gone.add(block.key)
        signature = signature_of(block.entry) if block.entry else None
        signed = b"" if signature is None else self._delta({"type": "signature_delta", "signature": signature})
        return signed + event_bytes({"type": "content_block_stop", "index": self._index})

    def _delta(self, piece: dict[str, Any]) -> bytes:
        return event_bytes({"type": "content_block_delta", "index": self._index, "delta": piece})

"""What a front is: it stands before the translator of chat completions, and makes chunks of other events.

Pure module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from client.translation.chunks.shape import Path

Chunk = dict[str, Any]
END = None
"""What stands for `[DONE]`: the protocol has said that the answer is over."""

LIFE: Chunk = {"choices": [{"index": 0, "delta": {}}]}
"""A chunk that adds nothing: the model is at work on what chat completions have no word for."""


class Front(Protocol):
    """Reads one answer, event by event. It raises for nothing that an event holds.

    Attributes:
        text_path: where a piece of the answer's text stands in events that differ in nothing else; None where all
            events differ in more.
        has_done_marker: whether the protocol says `[DONE]` at the end, as chat completions do.
    """

    text_path: Path | None
    has_done_marker: bool

    def chunks_of(self, event: dict[str, Any]) -> Iterable[Chunk | None]:
        """The chunks that an event stands for, in order, and `END`; none where it says nothing of the model, such as
        a ping. What is no event of the protocol is given back as it is: it may be an error in any wrapping."""

    def events_of_whole(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        """The events that a reply stands for which is not streamed; none where it is no such reply."""

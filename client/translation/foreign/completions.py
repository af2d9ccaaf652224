"""The older completions of a text, streamed or whole, as chunks of chat completions.

A chunk and a whole reply have one shape there. Tokens' probabilities have another one than in chat completions, and
stay with the protocol's own readers. Pure module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from client.translation.chunks.shape import Path
from client.translation.foreign.front import Chunk

_SAME = ("index", "finish_reason", "native_finish_reason", "error")


class CompletionsFront:
    """One answer of `/completions` (`client.translation.foreign.front.Front`)."""

    text_path: Path | None = None
    has_done_marker = True

    def chunks_of(self, event: dict[str, Any]) -> Iterable[Chunk | None]:
        """See `Front`."""
        choices = event.get("choices")
        if not isinstance(choices, list):
            return [event]
        return [{**event, "choices": [_choice(each) if isinstance(each, dict) else each for each in choices]}]

    def events_of_whole(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Front`: a whole reply is one event."""
        return []


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    for name, ours in (("text", "content"), ("reasoning", "reasoning")):
        if isinstance(choice.get(name), str):
            delta[ours] = choice[name]
    return {"index": 0, **{name: choice[name] for name in _SAME if name in choice}, "delta": delta}

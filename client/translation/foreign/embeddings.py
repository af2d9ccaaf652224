"""A list of embeddings as the one chunk that tells what it did cost: nothing is said in it. Pure module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from client.translation.chunks.shape import Path
from client.translation.foreign.front import END, Chunk

_SAME = ("id", "model", "provider")


class EmbeddingsFront:
    """One reply of `/embeddings` (`client.translation.foreign.front.Front`)."""

    text_path: Path | None = None
    has_done_marker = False

    def chunks_of(self, event: dict[str, Any]) -> Iterable[Chunk | None]:
        """See `Front`."""
        if not isinstance(event.get("data"), list):
            return [event]
        usage = event.get("usage")
        told = {"usage": {"completion_tokens": 0, **usage}} if isinstance(usage, dict) else {}
        names = {name: event[name] for name in _SAME if name in event}
        return [{**names, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **told}, END]

    def events_of_whole(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Front`: the reply is one event."""
        return []

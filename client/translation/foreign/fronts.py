"""Which other protocols upstream may answer in, and the front of each. Pure module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from client.translation.foreign.completions import CompletionsFront
from client.translation.foreign.embeddings import EmbeddingsFront
from client.translation.foreign.front import Front
from client.translation.foreign.messages import MessagesFront
from client.translation.foreign.responses import ResponsesFront

CHAT: Final = "chat"
"""Chat completions: what is read without a front."""

FRONTS: Final[dict[str, Callable[[], Front]]] = {
    "messages": MessagesFront,
    "responses": ResponsesFront,
    "completions": CompletionsFront,
    "embeddings": EmbeddingsFront,
}
"""By the name that `upstream.protocols` and the last part of the path have for it."""


def front_of(protocol: str) -> Front | None:
    """A new front for one answer; None for chat completions.

    Raises:
        KeyError: there is no such protocol.
    """
    return None if protocol == CHAT else FRONTS[protocol]()

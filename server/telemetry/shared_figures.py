"""What the shared store did and does, as plain numbers; `exposition` gives them names, and `/health` shows some."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from client.streams.histogram import Histogram

_FLUSH_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class SharedFigures:
    """Counted since the start.

    Attributes:
        flush_s: seconds that writes took.
        entries: pieces of logs that were written.
        refits: logs that were written again from where the engine stood.
        fenced: answers of this process that others had ended.
        buried: processes whose answers this one has ended.
        restored: times that an engine which had lost its data was made good.
        refused: requests that were refused, by why.
    """

    flush_s: Histogram = field(default_factory=lambda: Histogram(_FLUSH_S))
    entries: int = 0
    refits: int = 0
    fenced: int = 0
    buried: int = 0
    restored: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def note_refused(self, why: str) -> None:
        """A request was refused."""
        self.refused[why] = self.refused.get(why, 0) + 1


class SharedState(Protocol):
    """The shared store, as far as it is looked at.

    Attributes:
        figures: counted since the start.
    """

    @property
    def figures(self) -> SharedFigures: ...

    @property
    def has_contact(self) -> bool:
        """Whether the engine answers, and what was lost is made good."""

    @property
    def replicas(self) -> int:
        """Processes that share it, this one included; 0 without contact."""

    @property
    def mirrored(self) -> int:
        """Answers of others that are kept here."""

    @property
    def unacked_bytes(self) -> int:
        """What waits to be written there."""

    @property
    def oldest_unacked_s(self) -> float:
        """For how long the oldest of it waits."""


SHARED = web.AppKey("SHARED", SharedState)
"""Missing where there is no store."""

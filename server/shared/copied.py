"""What is known of one answer's copy in the engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from client.streams.stream import Stream


_MOST_READING: Final = 64
"""More processes that read one answer need not be known."""


class Copy:
    """The copy of an answer that this process owns, until its end stands there.

    Attributes:
        stream: the answer.
        place: by what it is known there.
        rid: under which name of this process it was last written.
        keys: of its meta and its log there.
        acked: number of the last event that stands there.
        acked_bytes: how many bytes its log had up to there; None: nobody has counted.
        stands: whether it is known there, as far as can be told.
        state: what of its state stands there.
        has_log: whether its log has a key there.
        trimmed: first event that is kept there.
        renew_at_s: when its keys must be given a longer life.
        behind_since_s: since when something waits to be written; None: nothing does.
        positions: where its readers in other processes are; empty while nobody has to know.
        read_by: the processes that have said that somebody reads it there.
        settled: set when it stands there, or is not going to.
    """

    __slots__ = (
        "acked",
        "acked_bytes",
        "behind_since_s",
        "has_log",
        "keys",
        "place",
        "positions",
        "read_by",
        "renew_at_s",
        "rid",
        "settled",
        "stands",
        "state",
        "stream",
        "trimmed",
    )

    def __init__(self, stream: Stream, place: str, keys: tuple[bytes, bytes]) -> None:
        self.stream = stream
        self.place = place
        self.keys = keys
        self.rid = ""
        self.acked = 0
        self.acked_bytes: int | None = None
        self.stands = False
        self.state: tuple[object, ...] = ()
        self.has_log = False
        self.trimmed = 1
        self.renew_at_s = 0.0
        self.behind_since_s: float | None = None
        self.positions: list[int] = []
        self.read_by: frozenset[str] = frozenset()
        self.settled = asyncio.Event()

    def stand_at(self, number: int) -> None:
        """The engine says up to which event it has it."""
        self.acked, self.acked_bytes = number, None

    def note_reading(self, rid: str, *, is_read: bool) -> None:
        """A process says whether somebody reads it there."""
        others = self.read_by - {rid}
        self.read_by = others | {rid} if is_read and len(others) < _MOST_READING else others

    def is_awaited(self, piece_bytes: int) -> bool:
        """Whether somebody waits for it to be written: readers elsewhere, whoever stops it there, one whose log is
        full, or what would soon be more than a piece."""
        log = self.stream.log
        return (
            bool(self.read_by)
            or log.closed
            or self.acked_bytes is None
            or log.written_bytes - self.acked_bytes >= piece_bytes // 2
            or self.stream.has_full_log
        )

    def state_now(self) -> tuple[object, ...]:
        """What of its state may have changed."""
        stream = self.stream
        return stream.model, stream.generation_id, stream.has_verdict, stream.refusal is None

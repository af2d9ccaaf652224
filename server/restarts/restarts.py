"""The door of this room: it is told of every answer of this process, and lets those of earlier ones be found."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from client.streams.settlement import Settled
from client.streams.stream import Stream
from client.streams.streams import Streams
from server.budgets.ledger import Ledger
from server.restarts.endings import DecodeAsked, EncodeAsked, Endings
from server.restarts.settlements import Settlements

if TYPE_CHECKING:  # loaded where answers are kept on disk
    from server.restarts.disk import LogsOnDisk

logger = logging.getLogger(__name__)

NO_FOLDER = 'streams.keep is "disk", but nothing says where: answers are kept in memory alone. Set server.state_dir.'


class Restarts:
    """What outlives this process, and what has outlived earlier ones.

    Args:
        logs_path: the file of logs on disk; None: their text is not kept.
        encode_asked, decode_asked: what is kept of a request (`Readable.asked`), as bytes and back.
    """

    def __init__(
        self, ledger: Ledger, logs_path: Path | None, *, encode_asked: EncodeAsked, decode_asked: DecodeAsked
    ) -> None:
        self._ledger = ledger
        self._logs_path = logs_path
        self._encode_asked = encode_asked
        self._decode_asked = decode_asked
        self._settlements = Settlements()
        self._streams: Streams | None = None
        self._endings: Endings | None = None
        self._disk: LogsOnDisk | None = None

    def begin(self, stream: Stream) -> None:
        """An answer has been begun."""
        if self._ledger.has_file:
            self._ledger.started.begin(stream)
        if self._disk is not None:
            self._disk.begin(stream)

    def end(self, stream: Stream) -> None:
        """An answer has ended."""
        self._ledger.started.end(stream)

    def settle(self, left_over: Settled) -> None:
        """Looks up what an answer of an earlier process has cost, and tells its readers, too."""
        self._settlements.settle(left_over)

    def attend(self, streams: Streams) -> None:
        """These are the answers of this process; before the ledger is opened."""
        self._settlements.look_up = streams.settle
        self._endings = endings = Endings(
            self._ledger.started,
            streams,
            self._settlements,
            encode_asked=self._encode_asked,
            decode_asked=self._decode_asked,
            clock=lambda: self._ledger.now_s,
        )
        if self._logs_path is not None:
            from server.restarts.disk import LogsOnDisk

            self._disk = LogsOnDisk(self._logs_path, streams, endings)
        elif streams.config.keep == "disk":
            logger.warning(NO_FOLDER)
        self._streams = streams

    async def open(self) -> None:
        """From now on what earlier processes have left is found; the ledger is open."""
        for elsewhere in (self._disk, self._endings):
            if elsewhere is not None and self._streams is not None:
                self._streams.join(elsewhere)
        if self._endings is not None:
            self._endings.open()
        if self._disk is not None:
            await self._disk.open()

    async def aclose(self) -> None:
        """Writes what is left: every answer has ended, and its log is still there."""
        if self._disk is not None:
            await self._disk.aclose()
        if self._endings is not None:
            self._endings.close()

"""The end of an answer that somebody else has told, since whoever ran it was taken for dead. Pure module.

Its own readers may have seen some events more than anybody else knows of. So that no number ever names two things,
the two events of such an end, `error` and `done`, stand far above all that the answer can have had: at the number
behind which it was sealed, plus `JUMP`, plus 1 and 2. That number and the stream's id make the same bytes everywhere.
Numbers in other words, which are counted as they are made, jump to the same place. Nothing else is told at such an
end: what was half said differs from reader to reader.
"""

from __future__ import annotations

import re

from client.border.json_codec import encode_json
from client.errors import Failure
from client.streams.wire import EventEncoder
from client.translation.events import Done, StreamFailed

JUMP = 1_000_000_000
"""More events than any answer has."""
ENDING_COUNT = 2
DIED = Failure(
    error="The process that ran this answer ended in the middle of it; what came before is valid. Send the request "
    "again.",
    type="stream_interrupted",
    status=502,
    retryable=True,
)
_DONE = Done(False, "interrupted", None)
_ERROR = b"event: error\n"
_SEALED = re.compile(rb'event: error\n(?:id: [^\n]*:([0-9]{10,18})\n|data: \{"sealed":([0-9]+),)')


def ending_of(stream_id: str, last: int, *, holds_chunks: bool, failure: Failure = DIED) -> bytes:
    """The two events, or records of a log that holds upstream's chunks (`client.streams.raw_log`).

    Args:
        last: number of the last event in front of them, as far as whoever seals it knows.
    """
    behind = last + JUMP
    if not holds_chunks:
        encoder = EventEncoder(stream_id)
        encoder.count = behind
        return encoder.encode([StreamFailed(failure), _DONE])
    told = encode_json({"sealed": behind, "failure": failure, "is_upstreams": False})
    return _ERROR + b"data: " + told + b"\n\nevent: done\ndata: " + encode_json(_DONE) + b"\n\n"


def sealed_behind(records: bytes) -> int | None:
    """The number behind which numbers go on at these records of either kind of log; None: where they were.

    An end of this kind always comes in a piece of its own (`StreamLog.jump`).
    """
    if not records.startswith(_ERROR):
        return None
    found = _SEALED.match(records)
    if found is None:
        return None
    return int(found[1]) - 1 if found[2] is None else int(found[2])

"""The end of an answer in which something failed: it is told in any case, and never as a whole answer.

Nothing here runs while an answer goes as it should.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from client.errors import Failure
from client.streams.raw_log import RawEncoder
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent, Done, StreamFailed
from client.translation.translate import DONE, ChatTranslator

logger = logging.getLogger(__name__)

INTERNAL = Failure(
    error="The server failed in the middle of this answer; its log has the details.",
    type="internal",
    status=500,
    retryable=False,
)


def last_words(
    translator: ChatTranslator, failure: Failure | None, reason: str | None = None, *, whose: str
) -> list[ChatEvent]:
    """The end of the answer, also where the translator has no words for it any more.

    Args:
        whose: whose end it is, for the log.
    """
    has_failed = translator.failure is not None
    try:
        events = translator.close(failure, reason)
    except Exception:
        logger.exception("%s: its end could not be told", whose)
        events = []
    if events and isinstance(events[-1], Done):
        return events
    translator.state = DONE
    translator.failure = translator.failure or failure
    translator.finish_reason = reason or "interrupted"
    told: list[ChatEvent] = [] if failure is None or has_failed else [StreamFailed(failure)]
    return [*told, Done(False, translator.finish_reason, None)]


def encode_each(
    events: Sequence[ChatEvent], encoder: EventEncoder | RawEncoder, translator: ChatTranslator, *, whose: str
) -> bytes:
    """For events of which one cannot be encoded: that is left out, and the answer is said to have failed."""
    *others, last = events
    if not isinstance(last, Done):
        others.append(last)
    pieces = [_encode_one(event, encoder, whose) for event in others]
    is_whole = None not in pieces
    if not is_whole and not isinstance(last, Done):
        end = last_words(translator, INTERNAL, whose=whose)
        return _joined(pieces) + encode_each(end, encoder, translator, whose=whose)
    if isinstance(last, Done):
        if not is_whole:
            last = Done(False, last.finish_reason, last.native_finish_reason)
            if translator.failure is None:
                translator.failure = INTERNAL
                pieces.append(_encode_one(StreamFailed(INTERNAL), encoder, whose))
        pieces.append(_encode_one(last, encoder, whose) or encoder.bare_done())
    return _joined(pieces)


def _encode_one(event: ChatEvent, encoder: EventEncoder | RawEncoder, whose: str) -> bytes | None:
    try:
        return encoder.encode([event])
    except Exception:
        logger.exception("%s: an event could not be encoded", whose)
        return None


def _joined(pieces: Sequence[bytes | None]) -> bytes:
    return b"".join(piece for piece in pieces if piece is not None)

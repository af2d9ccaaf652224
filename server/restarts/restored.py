"""An answer made again of what the file has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from client.streams.mirror import Mirror
from client.streams.readable import Summary
from client.streams.seal import ENDING_COUNT
from client.streams.streams import Streams
from server.restarts.log_file import CUT, KeptAnswer, Piece

_A_TURN = 8
"""Pieces that are taken in one turn of the loop."""


async def restored(streams: Streams, answer: KeptAnswer, pieces: Sequence[Piece], asked: object) -> Mirror:
    """The answer with its own end, or, where the file has not all of it, as one that was cut off behind what it has.

    Raises:
        StreamsFull: there is no room for it.
    """
    mirror = Mirror(streams, msgspec.structs.replace(answer.kept.facts, asked=asked))
    try:
        if pieces:
            mirror.begin_behind(pieces[0].last - pieces[0].count)
        for number, piece in enumerate(pieces, 1):
            mirror.take(piece.data, piece.count, piece.last)
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        if answer.last != CUT and pieces and pieces[-1].last == answer.last:
            mirror.finish(answer.kept.facts.finish_reason)
        else:
            mirror.seal(mirror.log.last)
    except BaseException:
        mirror.drop()
        raise
    return mirror


def summary_of(answer: KeptAnswer, last: int) -> Summary:
    """What a list says of it.

    Args:
        last: number of the last event that the file has.
    """
    facts = answer.kept.facts
    is_cut = answer.last == CUT
    return Summary(
        id=facts.id,
        owner=facts.owner,
        generation_id=facts.generation_id,
        model=facts.model or facts.requested_model,
        is_running=False,
        finish_reason="interrupted" if is_cut else facts.finish_reason,
        created_s=facts.created_s,
        protocol=facts.protocol,
        upstream_protocol=facts.upstream_protocol,
        readers=0,
        events=last + ENDING_COUNT if is_cut else answer.last,
    )

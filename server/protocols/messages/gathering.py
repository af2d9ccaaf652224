"""A whole message read from a log, a piece a turn of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

from client.streams.gathering import PIECE_BYTES
from client.streams.readable import Readable
from server.protocols.messages.view import view_of
from server.protocols.messages.whole import WholeMessage


async def whole_message(stream: Readable) -> dict[str, Any]:
    """The message of an answer that has ended well.

    Raises:
        EventsGone: some of it was dropped.
    """
    view, whole = view_of(stream), WholeMessage()
    after = 0
    while after < stream.log.last:
        records, after = await stream.log.read_after(after, PIECE_BYTES)
        whole.feed(view.view(records))
        await asyncio.sleep(0)
    return whole.message()

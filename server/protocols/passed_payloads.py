"""What upstream said, read back from a log, for protocols whose replies are upstream's own."""

from __future__ import annotations

from aiohttp import web

from client.streams.gathering import PIECE_BYTES
from client.streams.raw_log import records_of
from client.streams.readable import Readable
from server.errors import refuse
from server.keys import SETTINGS


def check_spoken(request: web.Request, protocol: str) -> None:
    """Whether a request can be passed on in this protocol, which is translated into no other.

    Raises:
        ApiError: `not_found`, upstream does not speak it.
    """
    if not request.app[SETTINGS].current.upstream.speaks(protocol):
        error = (
            f"{request.path} is passed on only where upstream has {protocol}, as OpenRouter does; if yours does, "
            f"name it in upstream.protocols (OPENROUTER_PROTOCOLS={protocol})."
        )
        raise refuse("not_found", 404, error)


async def payloads_of(stream: Readable) -> list[bytes]:
    """The JSON of all that upstream said, in order."""
    payloads: list[bytes] = []
    after = 0
    while after < stream.log.last:
        records, after = await stream.log.read_after(after, PIECE_BYTES)
        payloads += [data for name, data in records_of(records) if name is None]
    return payloads

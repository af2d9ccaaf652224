"""Plays a scripted reply onto a real connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable

from aiohttp import hdrs, web

from client.sandbox.calls import Call
from client.sandbox.script import HangUp, Hold, Mark, Pause, Reply, Step, step_bytes


async def play_reply(request: web.Request, reply: Reply, call: Call) -> web.StreamResponse:
    """Performs `reply`; returns early after a `HangUp`."""
    response = web.StreamResponse(status=reply.status, headers=_head(reply))
    if await _play(request, None, reply.before, call):
        await response.prepare(request)
        await _play(request, response, reply.steps, call)
        if response.content_length is not None and call.bytes_sent < response.content_length:
            response.force_close()  # a body shorter than announced ends by closing
    return response


def _head(reply: Reply) -> dict[str, str]:
    kind: dict[str, str] = {} if reply.content_type is None else {hdrs.CONTENT_TYPE: reply.content_type}
    return {hdrs.CACHE_CONTROL: "no-cache", **kind, **reply.headers}


async def _play(request: web.Request, response: web.StreamResponse | None, steps: Iterable[Step], call: Call) -> bool:
    """Plays the steps in order; False when one of them hung up."""
    for step in steps:
        match step:
            case HangUp(reset):
                hang_up(request, call, reset=reset)
                return False
            case Pause(delay_s):
                await asyncio.sleep(delay_s)
            case Hold(until):
                await until.wait()
            case Mark(reached):
                reached.set()
            case _:
                if response is None:
                    raise ValueError("bytes cannot go out before the head of the reply")
                await send(response, step_bytes(step), call)
    return True


async def send(response: web.StreamResponse, data: bytes, call: Call) -> None:
    """Writes and waits while the caller does not read.

    Raises:
        ConnectionResetError: the caller is gone.
    """
    await response.write(data)
    call.bytes_sent += len(data)


def hang_up(request: web.Request, call: Call, *, reset: bool = False) -> None:
    """Drops the connection without a word; with `reset` the kernel sends RST in place of FIN."""
    call.hung_up = True
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if reset and sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()

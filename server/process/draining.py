"""The end of a process in three steps: leave what is new to others, let answers end, and tell who is left.

Who else there is decides how. A socket that systemd passed outlives this process, and so does the service where
several processes share a store: then nothing more is accepted, and connections that exist are handed over: what they
still send is served, and told to be the last. Alone on its own port a process goes on accepting, and says that it
restarts.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from server.http.hand_over import HandOver
from server.http.server import HttpServer
from server.keys import SETTINGS, STREAMS
from server.process.notify import Notifier
from server.process.reporting import status_line
from server.routes.readiness import ENDING, READINESS
from server.telemetry.logs import say

_SPARE_S: Final = 30.0
"""What closing takes at the very most, on top of `server.shutdown_timeout_s`."""
_UNANSWERED_S: Final = 10.0
"""How long, where nobody else serves, a request that has begun may take until its answer begins: it may be large."""
_UNREAD_S: Final = 10.0
"""How long readers may take, where others serve, when no answer runs here any more: they can read on there."""
_LOOK_S: Final = 0.05
_LOOKS: Final = 2
"""So often in a row must nothing be left: between an answer's end and what its caller sends next is a moment."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the process listens.

    Attributes:
        sockets: that it accepts from.
        are_passed: they are systemd's, and stay when it has gone.
    """

    sockets: Sequence[socket.socket]
    are_passed: bool


async def drain(runner: web.AppRunner, doors: Doors, hurry: asyncio.Event, notifier: Notifier) -> None:
    """Returns when no answer runs any more, `server.shutdown_timeout_s` are over, or `hurry` is set."""
    app, streams = runner.app, runner.app[STREAMS]
    config = app[SETTINGS].current
    has_siblings = config.redis.url is not None
    timeout_s = config.server.shutdown_timeout_s
    ends_s = asyncio.get_running_loop().time() + timeout_s
    app[READINESS].reason = ENDING
    if doors.are_passed or has_siblings:
        await stop_accepting(runner, doors.sockets)
    notifier.send(
        STOPPING=1,
        STATUS=status_line(app),
        EXTEND_TIMEOUT_USEC=int((timeout_s + _SPARE_S) * 1e6),  # the unit does not know our settings
    )
    if doors.are_passed and not has_siblings:
        await _first_of(_fresh_served(runner), hurry.wait(), until_s=min(ends_s, ends_s - timeout_s + _UNANSWERED_S))
    streams.is_draining = not has_siblings
    if streams.active:
        say(f"Waiting up to {timeout_s:g} s for {streams.active} answers; a second signal ends them at once.")
    at_rest = _all_handed_over(runner) if has_siblings else streams.wait_idle()
    await _first_of(at_rest, hurry.wait(), until_s=ends_s)
    streams.is_draining = True


async def stop_accepting(runner: web.AppRunner, sockets: Sequence[socket.socket]) -> None:
    """Leaves new connections to others, who have the same socket or the same port.

    asyncio begins a connection a turn of its loop after it has accepted it. When the site is stopped in between, the
    connection stays open, and nobody serves it; uvloop does both at once.
    """
    for sock in sockets:
        asyncio.get_running_loop().remove_reader(sock)
    await asyncio.sleep(0)
    for site in tuple(runner.sites):
        await site.stop()


async def _fresh_served(runner: web.AppRunner) -> None:
    """Returns when what was accepted just before has been taken; connections that have had an answer are let go: what
    they bring would be refused, and by a new one it waits for the next process."""
    if isinstance(runner.server, HttpServer):
        now_s = asyncio.get_running_loop().time
        going = HandOver(runner.server, now_s(), keeps_idle=False)
        while not going.is_over(now_s()):  # noqa: ASYNC110  # nothing in aiohttp tells of it
            await asyncio.sleep(_LOOK_S)


async def _all_handed_over(runner: web.AppRunner) -> None:
    """Returns when the last answer has ended and been read, and its connection has asked for none more."""
    if not isinstance(runner.server, HttpServer):
        return
    streams, now_s = runner.app[STREAMS], asyncio.get_running_loop().time
    going = HandOver(runner.server, now_s(), keeps_idle=True)
    looks, at_rest_s = 0, now_s()
    while looks < _LOOKS:
        is_over = going.is_over(now_s())
        if streams.active:
            at_rest_s = now_s() + _LOOK_S
        is_read = not streams.readers or now_s() - at_rest_s > _UNREAD_S
        looks = looks + 1 if is_over and is_read and not streams.active else 0
        await asyncio.sleep(_LOOK_S)


async def _first_of(*waits: Awaitable[object], until_s: float) -> None:
    """Until one of them is done, or the loop's clock says `until_s`."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    timeout_s = max(0.0, until_s - asyncio.get_running_loop().time())
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

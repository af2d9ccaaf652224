"""How callers behave in a soak, and what they check. Each behaviour returns a word for how it ended."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from client.streams.wire import PING
from tests.support.callers import Caller, call, call_and_read_head
from tests.support.serving import question
from tests.support.sse_reader import Event, parse_events, text_of

REFUSED = "refused"


class Broken(Exception):
    """A caller did not get what it was promised."""


class Visit:
    """One caller's visit: where the server is, and the dice that were given to it."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self.port = port
        self.dice = dice

    @asynccontextmanager
    async def asking(self, *, small: bool = False, **more: Any) -> AsyncIterator[Caller]:
        """Starts an answer; the connection ends with the block."""
        caller = await call_and_read_head(self.port, "POST", "/chat", question(**more), small=small)
        try:
            yield caller
        finally:
            await caller.aclose()

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body."""
        caller = await call_and_read_head(self.port, method, path, body, headers)
        try:
            return caller.status, b"" if caller.status == 204 else await _rest(caller)
        finally:
            await caller.aclose()


async def reads_whole(visit: Visit) -> str:
    """Reads to the end, then again from the log."""
    async with visit.asking() as caller:
        body = await _rest(caller)
    if caller.status != 200:
        return _check_refusal(body)
    again = await visit.request("GET", caller.headers["location"])
    _check(again == (200, body), "a replay differs")
    return ending_of(body)


async def leaves(visit: Visit) -> str:
    """Reads a little and goes for good, politely or not."""
    async with visit.asking(grace_s=visit.dice.choice([0, 0.05])) as caller:
        await _read_some(visit, caller)
        if visit.dice.random() < 0.5:
            caller.reset()
    return "left"


async def leaves_before_the_head(visit: Visit) -> str:
    """Goes while upstream has not answered."""
    caller = await call(visit.port, "POST", "/chat", question(grace_s=0, stream=visit.dice.random() < 0.5))
    await asyncio.sleep(visit.dice.uniform(0, 0.02))
    caller.reset()
    return "left"


async def comes_back(visit: Visit) -> str:
    """Is cut off several times, and comes back for what it missed, by GET or POST."""
    async with visit.asking(grace_s=5) as caller:
        if caller.status != 200:
            return _check_refusal(await _rest(caller))
        path, got = caller.headers["location"], await _read_some(visit, caller)
        caller.reset()
    for _ in range(visit.dice.randint(0, 2)):
        again = await _resume(visit, path, got)
        if again.status == 200:
            got += await _read_some(visit, again)
        again.reset()
    last = await _resume(visit, path, got)
    if last.status != 204:
        got += await _rest(last)
    await last.aclose()
    status, whole = await visit.request("GET", path)
    _check(
        (status, got) == (200, whole), f"pieces do not make the whole ({status}: {len(got)} of {len(whole)} bytes)"
    )
    return ending_of(got)


async def stops(visit: Visit) -> str:
    """Stops the answer from another connection, twice, and reads what is left."""
    async with visit.asking() as caller:
        begun = await _read_some(visit, caller) if caller.status == 200 else b""
        if caller.status != 200:
            return _check_refusal(await _rest(caller))
        for _ in range(2):
            status, _body = await visit.request("DELETE", caller.headers["location"])
            _check(status == 200, "DELETE failed")
        return ending_of(begun + await _rest(caller))


async def reads_slowly(visit: Visit) -> str:
    """Takes a few bytes at a time, and gives up."""
    async with visit.asking(small=True, grace_s=0) as caller:
        for _ in range(visit.dice.randint(1, 5)):
            if not await caller.reader.read(10):
                break
            await asyncio.sleep(0.01)
        caller.reset()
    return "left"


async def reads_in_company(visit: Visit) -> str:
    """One of several readers of the same stream, one of whom leaves early."""
    async with visit.asking() as caller:
        if caller.status != 200:
            return _check_refusal(await _rest(caller))
        path = caller.headers["location"]
        leaver = await call_and_read_head(visit.port, "GET", path)
        others = [asyncio.create_task(visit.request("GET", path)) for _ in range(3)]
        leaver.reset()
        body = await _rest(caller)
    _check(set(await asyncio.gather(*others)) == {(200, body)}, "readers got different bytes")
    return ending_of(body)


async def wants_json(visit: Visit) -> str:
    """Asks for one JSON reply."""
    async with visit.asking(stream=False) as caller:
        found = json.loads(await caller.read_body())
    if caller.status == 200:
        return str(found["finish_reason"])
    _check(found["status"] == caller.status or "partial" in found, "an error without its status")
    return "interrupted" if "partial" in found else REFUSED


async def asks_for_the_result(visit: Visit) -> str:
    """Looks at the result while the answer runs and when it has ended."""
    async with visit.asking() as caller:
        if caller.status != 200:
            return _check_refusal(await _rest(caller))
        path = caller.headers["location"] + "/result"
        _check((await visit.request("GET", path))[0] in (200, 202), "no result")
        body = await _rest(caller)
    status, result = await visit.request("GET", path)
    _check((status, json.loads(result)["content"]) == (200, text_of(parse_events(body))), "the result differs")
    return ending_of(body)


async def cannot_mean_it(visit: Visit) -> str:
    """Sends ids that nobody gave out."""
    last_id = visit.dice.choice(["nonsense", "AAAAAAAAAAAAAAAAAAAAAA:1"])
    status, _ = await visit.request("POST", "/chat", question(), {"Last-Event-ID": last_id})
    _check(status in (404, 422), "a foreign id was taken")
    return REFUSED


Behaviour = Callable[[Visit], Awaitable[str]]
BEHAVIOURS: dict[Behaviour, int] = {
    reads_whole: 4,
    leaves: 4,
    leaves_before_the_head: 2,
    comes_back: 6,
    stops: 3,
    reads_slowly: 2,
    reads_in_company: 2,
    wants_json: 2,
    asks_for_the_result: 1,
    cannot_mean_it: 1,
}


async def _read_some(visit: Visit, caller: Caller) -> bytes:
    """Some whole events, as many as come in a few chunks."""
    body = b""
    for _ in range(visit.dice.randint(0, 6)):
        if caller.status != 200 or not (piece := await caller.read_chunk()):
            break
        body += piece
    body = body.replace(PING, b"")
    return body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""


async def _rest(caller: Caller) -> bytes:
    """What has not been read yet, without the comments: those are no part of the log."""
    return b"" if caller.has_ended else (await caller.read_body()).replace(PING, b"")


async def _resume(visit: Visit, path: str, got: bytes) -> Caller:
    events = parse_events(got)
    last_id = events[-1].id if events else f"{path.rsplit('/', 1)[1]}:0"
    headers = {"Last-Event-ID": last_id}
    if visit.dice.random() < 0.5:
        return await call_and_read_head(visit.port, "GET", path, None, headers)
    return await call_and_read_head(visit.port, "POST", "/chat", question(), headers)


def ending_of(body: bytes) -> str:
    """The finish reason of a whole body, whose ids have neither gap nor repeat."""
    events = parse_events(body)
    _check(bool(events), "an empty answer")
    _check([each.number for each in events] == list(range(1, len(events) + 1)), "ids with a gap or a repeat")
    _check([each.name for each in events].count("done") == 1 and events[-1].name == "done", "no done at the end")
    return _reason(events[-1])


def _check_refusal(body: bytes) -> str:
    events = parse_events(body)
    _check([each.name for each in events] == ["error", "done"], "a refusal without its events")
    return REFUSED


def _reason(done: Event) -> str:
    return str(done.data["finish_reason"])


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)

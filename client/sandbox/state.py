"""What a running sandbox knows: its address, the requests it saw, the replies scripted for it, its bills."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from aiohttp import web

from client.sandbox.calls import Call
from client.sandbox.generations import Generations
from client.sandbox.script import Reply

CHAT_PATH, MESSAGES_PATH, RESPONSES_PATH = "/chat/completions", "/messages", "/responses"
COMPLETIONS_PATH, EMBEDDINGS_PATH = "/completions", "/embeddings"
ANSWERING = (CHAT_PATH, MESSAGES_PATH, RESPONSES_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH)
"""Paths at which answers are asked for."""
_REFUSALS = 2
_MAX_WAITING = 1000


class Attempts:
    """Counts the tries of `sandbox/rate-limited`: two refusals, then one answer, then anew."""

    def __init__(self) -> None:
        self._refused: OrderedDict[bytes, int] = OrderedDict()

    def refuse(self, fingerprint: bytes) -> bool:
        """True while this request is to be refused."""
        refused = self._refused.pop(fingerprint, 0)
        if refused >= _REFUSALS:
            return False
        self._refused[fingerprint] = refused + 1
        if len(self._refused) > _MAX_WAITING:
            self._refused.popitem(last=False)
        return True


class Sandbox:
    """A running stand-in for OpenRouter, as tests and the product's `--sandbox` hold it.

    Attributes:
        base_url: where it is served, `http://127.0.0.1:PORT/api/v1`; "" until it listens.
        requests: every request of any route, oldest first; only the last `record` are kept.
        calls: those that ask for an answer: at `/chat/completions`, `/messages`, `/responses`, `/completions`
            and `/embeddings`.
    """

    def __init__(self, record: int = 256, settle_s: float = 1.0) -> None:
        self.base_url = ""
        self.attempts = Attempts()
        self.generations = Generations(settle_s)
        self.requests: deque[Call] = deque(maxlen=record)
        self.calls: deque[Call] = deque(maxlen=record)
        self._scripts: dict[tuple[str, str], deque[Reply]] = {}
        self._standing: dict[tuple[str, str], Reply] = {}
        self._arrived = asyncio.Event()

    def script(self, *replies: Reply, path: str = CHAT_PATH, method: str | None = None) -> None:
        """Queues replies; the next requests to `path` take them in order, then the route works as usual.

        Args:
            path: below the base URL and without the query: `/models`, `/generation`, `/model/sandbox/echo`.
            method: POST for paths at which answers are asked for, else GET, unless given.
        """
        self._scripts.setdefault(_route(path, method), deque()).extend(replies)

    def script_always(self, reply: Reply, path: str = CHAT_PATH, method: str | None = None) -> None:
        """Answers every request to `path` with `reply` once the queue is empty, until `clear_scripts`."""
        self._standing[_route(path, method)] = reply

    def clear_scripts(self) -> None:
        """Forgets all scripted replies; the models answer again."""
        self._scripts.clear()
        self._standing.clear()

    async def wait_call(self, number: int = 0) -> Call:
        """The chat request of this number, from 0, as soon as it has arrived."""
        while len(self.calls) <= number:
            self._arrived.clear()
            await self._arrived.wait()
        return self.calls[number]

    def receive(self, call: Call) -> Reply | None:
        """Notes the request and takes the reply scripted for it, if there is one."""
        self.requests.append(call)
        if call.path in ANSWERING:
            self.calls.append(call)
            self._arrived.set()
        route = (call.method, call.path)
        queue = self._scripts.get(route)
        return queue.popleft() if queue else self._standing.get(route)


SANDBOX = web.AppKey("SANDBOX", Sandbox)
CALL = web.RequestKey("CALL", Call)


def _route(path: str, method: str | None) -> tuple[str, str]:
    return method or ("POST" if path in ANSWERING else "GET"), path

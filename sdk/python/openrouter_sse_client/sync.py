"""The same client for programs without an event loop: in scripts, threads and notebooks.

A thread of its own runs the loop; it reads on only when the next event is wanted.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from openrouter_sse_client.chat import Chat
from openrouter_sse_client.client import DEFAULT_URL, Client
from openrouter_sse_client.link import State
from openrouter_sse_client.results import Result
from openrouter_sse_client.transport import Token
from openrouter_sse_client.wire.events import Error, Event, Usage

_T = TypeVar("_T")
_CLOSED = "the client was closed"


class SyncClient:
    """Asks one server for answers. Use it as `with`, or call `close()` at the end.

    Args: those of `Client`; sessions cannot be shared between loops, so there is none.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: Token = None,
        idle_timeout_s: float = 45.0,
        max_retries: int = 8,
    ) -> None:
        self._client = Client(base_url, token=token, idle_timeout_s=idle_timeout_s, max_retries=max_retries)
        self._loop = _Loop()
        self.models = SyncModels(self._client, self._loop)

    def __enter__(self) -> Self:
        """Opens nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; answers go on for their `grace_s`. Again is fine."""
        self._loop.close(self._client.aclose)

    def chat(
        self,
        message: str | Mapping[str, Any] | Iterable[Mapping[str, Any]],
        /,
        *,
        idempotency_key: str | None = None,
        last_event_id: str | None = None,
        **fields: Any,
    ) -> SyncChat:
        """As `Client.chat`."""
        chat = self._client.chat(message, idempotency_key=idempotency_key, last_event_id=last_event_id, **fields)
        return SyncChat(chat, self._loop)

    def resume(self, stream_id: str, *, last_event_id: str | None = None) -> SyncChat:
        """As `Client.resume`."""
        return SyncChat(self._client.resume(stream_id, last_event_id=last_event_id), self._loop)

    def stop(self, stream_id: str) -> dict[str, Any]:
        """As `Client.stop`."""
        return self._loop.run(self._client.stop(stream_id))

    def result(self, stream_id: str) -> Result:
        """As `Client.result`."""
        return self._loop.run(self._client.result(stream_id))

    def chats(self, *, limit: int | None = None) -> dict[str, Any]:
        """As `Client.chats`."""
        return self._loop.run(self._client.chats(limit=limit))

    def usage(self, *, from_: str | None = None, to: str | None = None) -> dict[str, Any]:
        """As `Client.usage`."""
        return self._loop.run(self._client.usage(from_=from_, to=to))

    def health(self) -> dict[str, Any]:
        """As `Client.health`."""
        return self._loop.run(self._client.health())

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As `Client.get`."""
        return self._loop.run(self._client.get(path, params))


class SyncModels:
    """The models that the server offers."""

    def __init__(self, client: Client, loop: _Loop) -> None:
        self._models = client.models
        self._loop = loop

    def search(self, q: str | None = None, **params: Any) -> dict[str, Any]:
        """As `Models.search`."""
        return self._loop.run(self._models.search(q, **params))

    def get(self, model_id: str) -> dict[str, Any]:
        """As `Models.get`."""
        return self._loop.run(self._models.get(model_id))

    def families(self) -> dict[str, Any]:
        """As `Models.families`."""
        return self._loop.run(self._models.families())


class SyncChat:
    """One answer, read by `for`; any thread may call `stop`. Everything else is as in `Chat`."""

    def __init__(self, chat: Chat, loop: _Loop) -> None:
        self._chat = chat
        self._loop = loop

    def __iter__(self) -> Generator[Event, None, None]:
        """The events, each once and in order, to the end; `break` leaves."""
        events: AsyncGenerator[Event, None] = self._chat.__aiter__()
        try:
            while (event := self._loop.run(_next(events))) is not None:
                yield event
        finally:
            self._loop.run_last(events.aclose())

    def __enter__(self) -> Self:
        """Nothing is asked before the first event is wanted."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves: closes the connection. The answer goes on for its `grace_s`; `stop` would end it."""
        self._loop.run_last(self._chat.aclose())

    def stop(self) -> None:
        """As `Chat.stop`."""
        self._loop.run(self._chat.stop())

    def text(self) -> str:
        """As `Chat.text`."""
        return self._loop.run(self._chat.text())

    def result(self) -> Result:
        """As `Chat.result`."""
        return self._loop.run(self._chat.result())

    def on(self, name: Literal["reconnecting", "reconnected", "state"], listener: Callable[[Any], object]) -> Self:
        """As `Chat.on`; the listener is called in the client's thread."""
        self._chat.on(name, listener)
        return self

    @property
    def id(self) -> str:
        """Names the answer at the server."""
        return self._chat.id

    @property
    def last_event_id(self) -> str | None:
        """Id of the last event that the loop was given."""
        return self._chat.last_event_id

    @property
    def content(self) -> str:
        """The text of the answer so far."""
        return self._chat.content

    @property
    def reasoning(self) -> str:
        """The thinking so far."""
        return self._chat.reasoning

    @property
    def usage(self) -> Usage | None:
        """Tokens and cost; None until they were told."""
        return self._chat.usage

    @property
    def error(self) -> Error | None:
        """The `error` event; None without one."""
        return self._chat.error

    @property
    def completed(self) -> bool | None:
        """Whether the answer is whole; None until it has ended."""
        return self._chat.completed

    @property
    def finish_reason(self) -> str | None:
        """Why it ended; None while it runs."""
        return self._chat.finish_reason

    @property
    def state(self) -> State:
        """`connecting`, `open`, `waiting` or `closed`."""
        return self._chat.state

    @property
    def reconnects(self) -> int:
        """How often a lost connection came back."""
        return self._chat.reconnects


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


class _Loop:
    """An event loop in a thread, which begins with the first use."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Does the work there and waits for it; an interrupt here cancels it there.

        Raises:
            RuntimeError: the client was closed.
        """
        try:
            loop = self._started()
        except RuntimeError:
            work.close()
            raise
        tasks: list[asyncio.Task[Any]] = []
        future = asyncio.run_coroutine_threadsafe(_noted(work, tasks), loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError(_CLOSED) from None
        except BaseException:
            if not future.done():
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                concurrent.futures.wait([future])  # what comes next must not meet it half done
            raise

    def run_last(self, work: Coroutine[Any, Any, None]) -> None:
        """The same for what need not be done any more when the client was closed, and may be asked for anywhere: also
        where garbage is collected."""
        if self._loop is None or self._is_closed:
            work.close()
        elif threading.current_thread() is self._thread:
            asyncio.run_coroutine_threadsafe(work, self._loop)
        else:
            self.run(work)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Does the last work and ends the thread."""
        with self._starting:
            loop, self._is_closed = None if self._is_closed else self._loop, True
        if loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(_finish(last), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._is_closed:
                raise RuntimeError(_CLOSED)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                name = "openrouter-sse-client"
                self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
                self._thread.start()
            return self._loop


async def _noted(work: Coroutine[Any, Any, _T], tasks: list[asyncio.Task[Any]]) -> _T:
    """The work, cancelled through the task that is noted."""
    task = asyncio.current_task()
    if task is not None:
        tasks.append(task)
    return await work


async def _finish(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Ends what other threads still wait for, then does the last work."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await last()
    await asyncio.get_running_loop().shutdown_asyncgens()

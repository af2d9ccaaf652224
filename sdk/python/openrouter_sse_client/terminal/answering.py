"""One answer on the screen: read, interrupted, stopped, left."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from openrouter_sse_client.chat import Chat
from openrouter_sse_client.client import Client
from openrouter_sse_client.errors import ChatError, error_from
from openrouter_sse_client.link import Reconnecting
from openrouter_sse_client.terminal.output.screen import Screen
from openrouter_sse_client.terminal.output.words import ways_out
from openrouter_sse_client.terminal.output.writers import JSONWriter, Writer, json_line
from openrouter_sse_client.wire.events import Content, ReasoningDetails, Refusal

WHOLE, FAILED, MISUSED, STOPPED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit codes; the last one is what a shell says of a program whose reader has gone."""
_REST_IS_GONE = (
    "The server no longer has the rest of this answer; what came stays.",
    "It was started anew, or too much time went by. Ask again; in a conversation /retry does.",
)
_SETTLING_S = (0.5, 1.0, 2.0, 4.0)


@dataclass(slots=True)
class Outcome:
    """What became of an answer.

    Attributes:
        code: as an exit code.
        is_left: the person wants to leave.
        error: why it failed; None when it did not, or was refused by the model.
    """

    code: int = FAILED
    is_left: bool = False
    error: ChatError | None = None


class Answering:
    """Reads one answer."""

    def __init__(self, chat: Chat, writer: Writer, screen: Screen) -> None:
        self._chat = chat
        self._writer = writer
        self._screen = screen
        self._interrupts = 0
        self._is_ended = False
        self._is_lost = False
        self._has_answer = self._has_refusal = False
        self._details: tuple[Any, ...] = ()
        self._stopping: asyncio.Task[None] | None = None

    @property
    def message(self) -> dict[str, Any] | None:
        """What came, as a message to be sent back with the next turn."""
        if not self._chat.content:
            return None
        details = {"reasoning_details": list(self._details)} if self._details else {}
        return {"role": "assistant", "content": self._chat.content, **details}

    async def run(self, is_minded: Callable[[ChatError], bool] | None = None) -> Outcome:
        """Reads to the end, whatever that is.

        Args:
            is_minded: which failures are not told, since somebody minds them.
        """
        self._chat.on("reconnecting", self._note_lost).on("reconnected", self._note_back)
        with self._interruptible():
            outcome = await self._read()
        if outcome.error is not None and not (is_minded and is_minded(outcome.error)):
            self._tell(outcome.error)
        return outcome

    async def _read(self) -> Outcome:
        try:
            async with self._chat:
                async for event in self._chat:
                    match event:
                        case Content():
                            self._has_answer = True
                        case Refusal():
                            self._has_refusal = True
                        case ReasoningDetails(details):
                            self._details = details
                        case _:
                            pass
                    self._writer.write(event)
            if self._stopping is not None:
                await self._stopping
            self._writer.end()
        except BrokenPipeError:  # whoever read has enough: nobody shall pay for the rest
            with contextlib.suppress(ChatError):
                await self._chat.stop()
            return Outcome(PIPE_CLOSED, is_left=True)
        except ChatError as exc:
            self._writer.end()
            return Outcome(FAILED, error=exc)
        except asyncio.CancelledError:
            if self._interrupts < 2:
                raise
            self._writer.end()
            return Outcome(STOPPED, is_left=True)
        return self._verdict()

    def _verdict(self) -> Outcome:
        chat = self._chat
        if chat.error is not None:
            return Outcome(FAILED, error=error_from(chat.error))
        if chat.finish_reason == "cancelled":
            self._screen.note("stopped")
            return Outcome(STOPPED, is_left=self._is_ended)
        if chat.completed is False:
            reason = chat.finish_reason or "interrupted"
            told = f"The answer was ended before it was whole ({reason})."
            return Outcome(FAILED, error=ChatError(told, type=reason, retryable=True))
        if chat.finish_reason == "length":
            self._screen.note("cut at the greatest length (max_tokens)")
        return Outcome(FAILED if self._has_refusal and not self._has_answer else WHOLE)

    def _tell(self, error: ChatError) -> None:
        if isinstance(self._writer, JSONWriter) and self._chat.error is None:
            self._screen.lines(json_line({"type": "error", "data": _shape(error), "id": ""}))
        if error.type == "not_found" and self._chat.last_event_id is not None:
            self._screen.error(*_REST_IS_GONE)
        else:
            self._screen.error(str(error), *ways_out(error))

    # -- Ctrl-C and lost connections ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C ends the answer, and only a second one this program's part in it. Whoever ends this program ends the
        answer too; a terminal that goes away (SIGHUP) does not."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; a thread beside the main one
            loop.add_signal_handler(signal.SIGINT, self._interrupt, task)
            loop.add_signal_handler(signal.SIGTERM, self._end, task)
        try:
            yield
        finally:
            with contextlib.suppress(NotImplementedError, RuntimeError):  # as above
                loop.remove_signal_handler(signal.SIGINT)
                loop.remove_signal_handler(signal.SIGTERM)
            if self._stopping is not None:
                self._stopping.cancel()

    def _interrupt(self, reader: asyncio.Task[Any]) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._stopping = asyncio.create_task(self._stop())
        else:
            reader.cancel()

    def _end(self, reader: asyncio.Task[Any]) -> None:
        self._is_ended = True
        self._interrupt(reader)

    async def _stop(self) -> None:
        try:
            await self._chat.stop()
        except ChatError as exc:
            self._screen.note(f"cannot be stopped: {exc} Ctrl-C leaves.")

    def _note_lost(self, lost: Reconnecting) -> None:
        if not self._is_lost:
            self._is_lost = True
            told = f"connection lost ({lost.reason})" if lost.was_connected else lost.reason
            self._screen.note(f"{told}, trying again")

    def _note_back(self, _: object) -> None:
        self._is_lost = False


async def usage_of(client: Client, chat: Chat, *, waits: bool) -> dict[str, Any] | None:
    """What an answer cost: as it was told, or as it is found out of one that was cut; None when that is not known.

    Args:
        waits: for what is still looked up, some seconds.
    """
    if chat.usage is not None:
        return dict(chat.usage.data)
    for wait_s in (0.0, *_SETTLING_S) if waits else (0.0,):
        await asyncio.sleep(wait_s)
        try:
            result = await client.result(chat.id)
        except ChatError:
            return None
        if result.is_settled and result.usage is not None:
            return dict(result.usage)
        if result.usage is None and not result.running:
            return None
    return None


def _shape(error: ChatError) -> dict[str, Any]:
    """The object that the server sent, or one like it."""
    if error.data:
        return dict(error.data)
    return {"error": str(error), "type": error.type, "status": error.status, "retryable": error.retryable}

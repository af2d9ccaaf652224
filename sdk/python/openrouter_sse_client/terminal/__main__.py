"""Where the program begins."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TextIO

from openrouter_sse_client.client import Client
from openrouter_sse_client.errors import ChatError
from openrouter_sse_client.terminal.answering import FAILED, MISUSED, PIPE_CLOSED, STOPPED
from openrouter_sse_client.terminal.asking.arguments import Order, UsageError, parse_arguments
from openrouter_sse_client.terminal.commands import run_command
from openrouter_sse_client.terminal.conversation import Store, state_folder
from openrouter_sse_client.terminal.output.screen import Screen
from openrouter_sse_client.terminal.output.words import ways_out
from openrouter_sse_client.terminal.sandbox import NoServer, sandbox_server
from openrouter_sse_client.terminal.talk import Talk

_MAX_RETRIES = 40
"""Some five minutes, as long as an answer goes on without this program."""


def main() -> int:
    """Runs the program as a process; its exit code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a mark that the terminal's encoding lacks is no reason to end
            stream.reconfigure(errors="backslashreplace")
    try:
        return run(sys.argv[1:], sys.stdin, sys.stdout, sys.stderr, os.environ)
    finally:
        _forget_closed_output()


def run(arguments: Sequence[str], stdin: TextIO, stdout: TextIO, stderr: TextIO, environ: Mapping[str, str]) -> int:
    """Does what the arguments say; the exit code."""
    screen = Screen(stdout, stderr, environ)
    try:
        with contextlib.ExitStack() as stack:
            order = parse_arguments(arguments, environ)
            url = stack.enter_context(sandbox_server()) if order.is_sandbox else order.url
            program = stack.enter_context(_Program(order, url, screen, Store(state_folder(environ))))
            return program.run(stdin)
    except UsageError as exc:
        screen.error(str(exc), "openrouter-chat --help tells what there is")
        return MISUSED
    except NoServer as exc:
        screen.error(str(exc))
    except ChatError as exc:
        screen.error(str(exc), *ways_out(exc))
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        return PIPE_CLOSED
    return FAILED


class _Program:
    """One call of it, with an event loop of its own that stands still while a person types."""

    def __init__(self, order: Order, url: str, screen: Screen, store: Store) -> None:
        self._order = order
        self._screen = screen
        self._store = store
        try:
            token = None if order.is_sandbox else order.token
            self._client = Client(url, token=token, max_retries=_MAX_RETRIES)
        except ValueError as exc:
            raise UsageError(str(exc)) from exc
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def run(self, stdin: TextIO) -> int:
        """The exit code."""
        order = self._order
        if order.command and order.command != "attach":
            code: int = self._do(run_command(order, self._client, self._screen))
            return code
        talk = Talk(order, self._client, self._screen, self._store, self._do)
        if order.command:
            return talk.attach()
        question = "\n\n".join(filter(None, (_piped(stdin), order.question)))
        if question or order.files:
            return talk.once(question)
        if not stdin.isatty():
            raise UsageError("there is no question: neither a word nor anything in the pipe")
        if order.is_json or order.extracts:
            raise UsageError("--json and -x need a question")
        return talk.converse()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = self._loop.create_task(_after_a_look(work))
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
            raise


async def _after_a_look(work: Coroutine[Any, Any, Any]) -> Any:
    """Lets the loop find out first which connections were closed while it stood still."""
    for _ in range(3):
        await asyncio.sleep(0)
    return await work


def _piped(stdin: TextIO) -> str:
    """What a pipe or a file brings."""
    return "" if stdin.isatty() else stdin.buffer.read().decode("utf-8", "replace").strip("\n")


def _open_closed_streams() -> None:
    """Puts nothing in the place of a stream that was closed by whoever started this, as `>&-` does."""
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO())
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO())


def _forget_closed_output() -> None:
    """Has Python not complain at its end about an output that was closed."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

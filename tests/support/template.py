"""Servers from a template: a process that has imported the program, of which each server is a fork.

Importing is most of a server's start, and hardly any test is about that. A fork gets the descriptors, environment,
folder and flags that a new process would get, calls the same `main`, and ends as an interpreter ends.

Whatever runs tests has one template, from its first such server on, and both end together.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_MOST_BYTES = 200_000
_BY_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "SSL_", "TZ")
"""Variables that begin so are read before `main` is."""
_IMPORTED = (
    "client.sandbox",
    "server.commands.command_lines",
    "server.config",
    "server.process.serve",
    "server.shared.opening",
    "uvloop",
)


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a server with these variables is the same from the template."""
    return not any(name.startswith(_BY_THE_INTERPRETER) for name in env)


class Forked:
    """A process, with what tests use of `asyncio.subprocess.Process`.

    Attributes:
        pid: of the server itself.
        stdout: what it prints.
        stderr: what it logs.
    """

    def __init__(self, pipes: Sequence[_Pipe]) -> None:
        self.stdout: asyncio.StreamReader | None = pipes[0].reader
        self.stderr: asyncio.StreamReader | None = pipes[1].reader
        self.pid = 0
        self._pipes = pipes
        self._status = pipes[2].reader
        self._returncode: int | None = None

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal has ended it."""
        return self._returncode

    async def watch(self) -> None:
        """Learns its number, and from then on in the background when it has ended."""
        self.pid = int(await self._status.readline())
        self._watching = asyncio.create_task(self._learn_end())

    async def _learn_end(self) -> None:
        self._returncode = os.waitstatus_to_exitcode(int(await self._status.readline()))

    async def wait(self) -> int:
        """The exit code, when it has ended and all that it printed is here."""
        await asyncio.shield(self._watching)
        for pipe in self._pipes:
            await asyncio.shield(pipe.lost)
        assert self._returncode is not None
        return self._returncode

    def send_signal(self, number: int) -> None:
        """To the process, if it still runs."""
        if self._returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Pipe(asyncio.StreamReaderProtocol):
    """Reads one to its end."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.lost = asyncio.get_running_loop().create_future()
        super().__init__(self.reader)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # nothing is written: it is closed

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set_result(None)


async def fork_server(flags: Sequence[str], *, cwd: str, env: Mapping[str, str], uvloop: bool) -> Forked:
    """A server with these flags, in this folder and with nothing but this environment.

    Args:
        uvloop: whether it finds that package.
    """
    words = json.dumps([list(flags), cwd, dict(env), uvloop]).encode()
    assert len(words) < _MOST_BYTES
    ends = [os.pipe() for _ in range(3)]
    socket.send_fds(_template()[0], [words], [theirs for _, theirs in ends])
    for _, theirs in ends:
        os.close(theirs)
    pipes = [await _reading(ours) for ours, _ in ends]
    process = Forked(pipes)
    await process.watch()
    return process


async def _reading(fd: int) -> _Pipe:
    _, pipe = await asyncio.get_running_loop().connect_read_pipe(_Pipe, os.fdopen(fd, "rb", 0))
    return pipe


def end_template() -> None:
    """Ends it, if there is one: nobody asks any more."""
    if _template.cache_info().currsize:
        control, process = _template()
        control.close()
        process.wait()
        _template.cache_clear()


@cache
def _template() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The way to the template, which ends when this end is closed."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-m", "tests.support.template", str(its.fileno())]
        env = {**os.environ, "PYTHONPATH": str(_ROOT)}
        process = subprocess.Popen(command, cwd="/", env=env, stdout=subprocess.DEVNULL, pass_fds=[its.fileno()])
    return ours, process


# -- in the template ------------------------------------------------------------------------------------------------


def _run(control: socket.socket) -> int:
    """Forks until nobody is there who could ask; in a fork, the server's exit code."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever waits for a server is waited for by nobody
    while True:
        words, files, _, _ = socket.recv_fds(control, _MOST_BYTES, 3)
        if not words:
            return 0
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for_fork(files)
            return _serve(*json.loads(words))
        for fd in files:
            os.close(fd)


def _wait_for_fork(files: Sequence[int]) -> None:
    """Forks once more. Returns in the fork; the other one tells its number, and how it ends."""
    stdout, stderr, status = files
    if pid := os.fork():
        for fd in (stdout, stderr):
            os.close(fd)
        os.write(status, b"%d\n" % pid)
        _, code = os.waitpid(pid, 0)
        os.write(status, b"%d\n" % code)
        os._exit(0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for fd in files:
        os.close(fd)


def _serve(flags: list[str], cwd: str, env: dict[str, str], uvloop: bool) -> int:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if not uvloop:
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    from server.__main__ import main

    sys.argv[:] = ["openrouter-server", *flags]
    return main(flags)


if __name__ == "__main__":
    sys.exit(_run(socket.socket(fileno=int(sys.argv[1]))))

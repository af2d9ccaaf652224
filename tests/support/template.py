"""Commands from a template: a process that has imported the program, of which each process is a fork.

Importing is most of a start, and hardly any test is about that. A fork gets the descriptors, environment, folder and
flags that a new process would get, calls the same `main`, and ends as an interpreter ends.

Whatever runs tests has one template of each command, from the first such process on, and all end together.
"""

from __future__ import annotations

import asyncio
import fcntl
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
from pathlib import Path
from typing import Literal, cast

_ROOT = Path(__file__).parents[2]
_MOST_BYTES = 200_000
_MOST_PASSED = 16
_BY_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "SSL_", "TZ")
"""Variables that begin so are read before `main` is."""
Program = Literal["openrouter-server", "openrouter-mcp"]
_IMPORTED: Mapping[Program, Sequence[str]] = {
    "openrouter-server": (
        "client.sandbox",
        "server.__main__",
        "server.commands.command_lines",
        "server.config",
        "server.process.serve",
        "server.shared.opening",
        "uvloop",
    ),
    "openrouter-mcp": (
        "client.sandbox",
        "mcp_app.chats.chat",
        "mcp_app.server",
        "mcp_app.stdio.conversation",
        "mcp_app.stdio.serve",
        "mcp_app.tools.account",
        "mcp_app.tools.find_models",
        "server.budgets.process_budget",
        "server.commands.mcp_command",
        "server.commands.mcp_stdio",
        "server.config",
        "server.process.sandboxed",
    ),
}


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a process with these variables is the same from the template."""
    found = {name for name in env if name.startswith(_BY_THE_INTERPRETER)}
    return not found or (found == {"PYTHONPATH"} and env["PYTHONPATH"] == str(_ROOT))


class Forked:
    """A process, with what tests use of `asyncio.subprocess.Process`.

    Attributes:
        pid: of the program itself.
        stdin: what it reads, if it was asked for.
        stdout: what it prints.
        stderr: what it logs.
    """

    def __init__(self, pipes: Sequence[_Pipe], stdin: asyncio.StreamWriter | None) -> None:
        self.stdin = stdin
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

    async def communicate(self) -> tuple[bytes, bytes]:
        """What is left of its output and of its errors, when it has ended."""
        assert self.stdout is not None
        assert self.stderr is not None
        printed, logged = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return printed, logged

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

    def close_stdout(self) -> None:
        """Stops reading what it prints: its next words find nobody."""
        self._pipes[0].transport.close()


class _Pipe(asyncio.StreamReaderProtocol):
    """Reads one to its end."""

    transport: asyncio.BaseTransport

    def __init__(self, limit: int) -> None:
        self.reader = asyncio.StreamReader(limit)
        self.lost = asyncio.get_running_loop().create_future()
        super().__init__(self.reader)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = transport

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # nothing is written: it is closed

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set_result(None)


async def fork(
    program: Program,
    flags: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    uvloop: bool = True,
    stdin: bool = False,
    limit: int = 2**16,
    passed: Sequence[int] = (),
) -> Forked:
    """A process with these flags, in this folder and with nothing but this environment.

    Args:
        uvloop: whether it finds that package.
        stdin: whether it is written to.
        limit: of a line that is read of it.
        passed: open files that it is given as systemd gives sockets.
    """
    words = json.dumps([list(flags), cwd, dict(env), uvloop]).encode()
    assert len(words) < _MOST_BYTES
    assert len(passed) <= _MOST_PASSED
    theirs_in, ours_in = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), None)
    ends = [os.pipe() for _ in range(3)]
    theirs = [theirs_in, *[write for _, write in ends]]
    socket.send_fds(_template(program), [words], [*theirs, *passed])
    for fd in theirs:
        os.close(fd)
    writer = None if ours_in is None else await _writing(ours_in)
    process = Forked([await _reading(ours, limit) for ours, _ in ends], writer)
    await process.watch()
    return process


async def _reading(fd: int, limit: int) -> _Pipe:
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(lambda: _Pipe(limit), os.fdopen(fd, "rb", 0))
    return pipe


async def _writing(fd: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(fd, "wb", 0))
    return asyncio.StreamWriter(transport, protocol, None, loop)


_templates: dict[Program, tuple[socket.socket, subprocess.Popen[bytes]]] = {}


def end_templates() -> None:
    """Ends all that there are: nobody asks any more."""
    for control, process in _templates.values():
        control.close()
        process.wait()
    _templates.clear()


def _template(program: Program) -> socket.socket:
    """The way to a template, which ends when this end is closed."""
    if program not in _templates:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-m", "tests.support.template", program, str(its.fileno())]
            env = {**os.environ, "PYTHONPATH": str(_ROOT)}
            process = subprocess.Popen(command, cwd="/", env=env, stdout=subprocess.DEVNULL, pass_fds=[its.fileno()])
        _templates[program] = ours, process
    return _templates[program][0]


# -- in the template ------------------------------------------------------------------------------------------------


def _run(program: Program, control: socket.socket) -> int:
    """Forks until nobody is there who could ask; in a fork, the program's exit code."""
    for name in _IMPORTED[program]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever waits for a process is waited for by nobody
    while True:
        words, files, _, _ = socket.recv_fds(control, _MOST_BYTES, 4 + _MOST_PASSED)
        if not words:
            return 0
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for_fork(files)
            return _main(program, len(files) - 4, *json.loads(words))
        for fd in files:
            os.close(fd)


def _wait_for_fork(files: Sequence[int]) -> None:
    """Forks once more. Returns in the fork; the other one tells its number, and how it ends."""
    stdin, stdout, stderr, status, *passed = files
    if pid := os.fork():
        for fd in (stdin, stdout, stderr, *passed):
            os.close(fd)
        os.write(status, b"%d\n" % pid)
        _, code = os.waitpid(pid, 0)
        os.write(status, b"%d\n" % code)
        os._exit(0)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in passed]  # out of the way of 3, 4, …
    for fd in files:
        os.close(fd)
    for number, copy in enumerate(copies, start=3):
        os.dup2(copy, number)
        os.close(copy)


def _main(program: Program, passed: int, flags: list[str], cwd: str, env: dict[str, str], uvloop: bool) -> int:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if passed:
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(passed))
    if not uvloop:
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    sys.argv[:] = [program, *flags]
    if program == "openrouter-mcp":
        from server.commands.mcp_command import main
    else:
        from server.__main__ import main
    return main(flags)


if __name__ == "__main__":
    sys.exit(_run(cast(Program, sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))

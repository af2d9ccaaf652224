"""The product as a process of its own, as a user starts it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.support import template

ROOT = Path(__file__).parents[2]
_PRIVATE = re.compile(
    r"OPENROUTER_|SERVER_TOKENS|HOST$|PORT$|HTTP_REFERER|X_TITLE|MODEL_NAME|STREAMS?_|STATE_|MAX_|NOTIFY_|LISTEN_|WATCHDOG_"
    r"|OTEL_|REDIS_"
)
Started = asyncio.subprocess.Process | template.Forked
_HIDE_UVLOOP = (
    "import sys; sys.modules['uvloop'] = None; from server.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


@dataclass
class Starts:
    """How `running_server` starts one.

    Attributes:
        from_template: not by an interpreter of its own, unless that makes a difference.
    """

    from_template: bool = False


starts = Starts()


class ServerProcess:
    """A running `openrouter-server`.

    Attributes:
        url: where it serves, without a slash at the end; empty when it serves UNIX sockets only.
        start_line: what it said when it began to serve.
        output: everything it has printed since, standard error included.
    """

    def __init__(self, process: Started) -> None:
        self.process = process
        self.start_line = ""
        self.url = ""
        self.output = bytearray()
        self._reading: asyncio.Task[None] | None = None
        self._said = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    async def wait_start(self) -> None:
        """Reads the start line; everything after it is gathered in the background."""
        assert self.process.stderr is not None
        match = None
        async with asyncio.timeout(60):
            while match is None:
                line = (await self.process.stderr.readline()).decode()
                assert line, self.output.decode()
                match = re.search(r"^Serving .*?(?:http://[^ ]*:(\d+)|unix:)", line)
                self.output += b"" if match else line.encode()  # a warning
        self.start_line = line
        self.url = f"http://127.0.0.1:{match[1]}" if match[1] else ""
        self._reading = asyncio.create_task(self._read_on())

    async def _read_on(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65536):
            self.output += piece
            self._said.set()

    async def wait_said(self, words: bytes, count: int = 1) -> None:
        """Returns when it has printed these words, so many times."""
        async with asyncio.timeout(60):
            while self.output.count(words) < count:
                self._said.clear()
                await self._said.wait()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal; returns the exit code."""
        self.process.send_signal(number)
        return await self.wait_exit()

    async def wait_exit(self, timeout_s: float = 60) -> int:
        """The exit code, when it has ended; its output is complete then."""
        async with asyncio.timeout(timeout_s):
            code = await self.process.wait()
            if self._reading is not None:
                await self._reading
        return code

    async def counts(self, http: aiohttp.ClientSession) -> dict[str, int]:
        """What `/health` says of streams."""
        async with http.get(f"{self.url}/health") as response:
            found: dict[str, int] = (await response.json())["streams"]
        return found

    async def wait_at_rest(self) -> None:
        """Returns when no answer runs and nobody reads one, or fails: nothing outlives its stream."""
        counts: dict[str, int] = {}
        try:
            async with aiohttp.ClientSession() as http, asyncio.timeout(30):
                while (counts := await self.counts(http))["active"] or counts["readers"]:
                    pass
        except TimeoutError:
            raise AssertionError(f"left over: {counts}") from None

    def open_files(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def rss_bytes(self) -> int:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024


@asynccontextmanager
async def running_server(
    *flags: str,
    env: Mapping[str, str] | None = None,
    uvloop: bool = True,
    port: int = 0,
    passed: Sequence[socket.socket] = (),
) -> AsyncIterator[ServerProcess]:
    """Starts the server in an empty folder with a clean environment; kills it at the end if it still runs."""
    flags = (*flags, "--port", str(port))
    with tempfile.TemporaryDirectory() as folder:
        files = [sock.fileno() for sock in passed]
        process = await start_server(*flags, cwd=folder, env=env, uvloop=uvloop, passed=files)
        server = ServerProcess(process)
        try:
            await server.wait_start()
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await server.wait_exit()


async def start_server(
    *flags: str,
    cwd: str,
    env: Mapping[str, str] | None = None,
    uvloop: bool = True,
    passed: Sequence[int] = (),
    stderr: int = asyncio.subprocess.PIPE,
    launcher: Sequence[str] = (),
) -> Started:
    """The bare process: a fork of the template, unless that makes a difference.

    Args:
        passed: open files that it is given as systemd gives sockets.
        launcher: a command that becomes the one given to it, such as `unshare`.
    """
    is_plain = not launcher and stderr == asyncio.subprocess.PIPE
    if starts.from_template and is_plain and template.can_fork(env or {}):
        environment = _environment(cwd, env)
        return await template.fork("openrouter-server", flags, cwd=cwd, env=environment, uvloop=uvloop, passed=passed)
    command = [sys.executable, *(["-m", "server"] if uvloop else ["-c", _HIDE_UVLOOP]), *flags]
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in passed]  # out of the way of 3, 4, …
    try:
        return await asyncio.create_subprocess_exec(
            *launcher,
            *_passing(copies, command),
            cwd=cwd,
            env=_environment(cwd, env),
            pass_fds=copies,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    finally:
        for fd in copies:
            os.close(fd)


def _environment(folder: str, env: Mapping[str, str] | None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not _PRIVATE.match(name)}
    return {**clean, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": folder, **(env or {})}


def _passing(fds: Sequence[int], command: Sequence[str]) -> Sequence[str]:
    """A command that moves the files to 3, 4, … and becomes the given one, which sees its own process id."""
    if not fds:
        return command
    moves = " ".join(f"{3 + index}<&{fd} {fd}<&-" for index, fd in enumerate(fds))
    return ["bash", "-c", f'LISTEN_PID=$$ LISTEN_FDS={len(fds)} exec "$@" {moves}', "bash", *command]

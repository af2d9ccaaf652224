"""Runs `openrouter-chat`: in a pseudo-terminal as a person does, or between pipes as a program does."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from openrouter_sse_client.terminal.__main__ import run
from tests.support.process import ROOT

PROGRAM = [sys.executable, "-m", "openrouter_sse_client.terminal"]
CTRL_C, CTRL_D = "\x03", "\x04"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"


def environment(folder: Path, url: str, **more: str) -> dict[str, str]:
    """Nothing of this machine's, and a state folder of its own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": str(ROOT / "sdk" / "python"),
        "OPENROUTER_SERVER_URL": url,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        **more,
    }


class Terminal:
    """The program in a terminal of its own.

    Attributes:
        shown: everything it has written, as the terminal got it.
    """

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.shown = ""
        self._master = master
        self._seen = 0
        self._more = asyncio.Event()
        self._is_open = True
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # the last of them has closed it
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            self._is_open = False
        self.shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
        self._more.set()

    async def wait_shown(self, text: str) -> str:
        """Until it shows this, beyond what was waited for before; everything from there to it."""
        try:
            async with asyncio.timeout(20):
                while (place := self.shown.find(text, self._seen)) < 0:
                    assert self._is_open, self.shown
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} is not shown: {self.shown!r}") from None
        begin, self._seen = self._seen, place + len(text)
        return self.shown[begin : self._seen]

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self._master, text.encode())

    async def say(self, text: str, then: str) -> str:
        """Types a line; waits for what it leads to."""
        self.type(text + "\r")
        return await self.wait_shown(then)

    async def wait_for_keys(self) -> None:
        """Until it waits for keys: an interrupt in the moment before would be met by readline, which forgets it."""
        self.type("x")
        await self.wait_shown("x")
        while not _is_asleep(self.process.pid):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)

    async def wait_exit(self) -> int:
        """The exit code; everything was read then."""
        async with asyncio.timeout(20):
            code = await self.process.wait()
            while self._is_open:
                self._more.clear()
                await self._more.wait()
        return code

    async def close(self) -> None:
        """Kills it when it still runs."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        if self._is_open:
            asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


def _is_asleep(pid: int) -> bool:
    """Whether the process waits for something."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@asynccontextmanager
async def in_terminal(
    folder: Path, url: str, *words: str, columns: int = 100, stdout: int | None = None, **environ: str
) -> AsyncIterator[Terminal]:
    """The program in a terminal while the context is open; `stdout` may lead elsewhere."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *words,
        env=environment(folder, url, **environ),
        cwd=folder,
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        await terminal.close()


async def piped(
    folder: Path, url: str, *words: str, given: str | bytes = b"", **environ: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; in this process, since starting one takes half a second."""
    data = given.encode() if isinstance(given, str) else given
    stdin, stdout, stderr = (io.TextIOWrapper(io.BytesIO(each), "utf-8", newline="") for each in (data, b"", b""))
    async with asyncio.timeout(20):
        code = await asyncio.to_thread(run, words, stdin, stdout, stderr, environment(folder, url, **environ))
    return code, _written(stdout), _written(stderr)


async def as_process(folder: Path, url: str, *words: str, given: bytes = b"") -> tuple[int | None, str, str]:
    """The same as a program calls it."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *words, env=environment(folder, url), cwd=folder, stdin=-1, stdout=-1, stderr=-1
    )
    async with asyncio.timeout(20):
        stdout, stderr = await process.communicate(given)
    return process.returncode, stdout.decode(), stderr.decode()


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def kill_hard(terminal: Terminal) -> None:
    """As the kernel does when memory is short, and as a session dies."""
    terminal.process.send_signal(signal.SIGKILL)

"""The product as a process of its own, as a user starts it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PRIVATE = re.compile(
    r"OPENROUTER_|SERVER_TOKENS|HOST$|PORT$|HTTP_REFERER|X_TITLE|MODEL_NAME|STREAM_|MAX_|NOTIFY_|LISTEN_"
)
_HIDE_UVLOOP = (
    "import sys; sys.modules['uvloop'] = None; from server.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


class ServerProcess:
    """A running `openrouter-server`.

    Attributes:
        url: where it serves, without a slash at the end.
        start_line: what it said when it began to serve.
        output: everything it has printed since, standard error included.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.start_line = ""
        self.url = ""
        self.output = bytearray()
        self._reading: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    async def wait_start(self) -> None:
        """Reads the start line; everything after it is gathered in the background."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            line = (await self.process.stderr.readline()).decode()
        match = re.search(r"http://[^ ]*:(\d+)", line)
        assert match is not None, line
        self.start_line = line
        self.url = f"http://127.0.0.1:{match[1]}"
        self._reading = asyncio.create_task(self._read_on())

    async def _read_on(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65536):
            self.output += piece

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal; returns the exit code."""
        self.process.send_signal(number)
        return await self.wait_exit()

    async def wait_exit(self, timeout_s: float = 20) -> int:
        """The exit code, when it has ended; its output is complete then."""
        async with asyncio.timeout(timeout_s):
            code = await self.process.wait()
            if self._reading is not None:
                await self._reading
        return code

    def rss_bytes(self) -> int:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024


@asynccontextmanager
async def running_server(
    *flags: str, env: Mapping[str, str] | None = None, uvloop: bool = True, port: int = 0
) -> AsyncIterator[ServerProcess]:
    """Starts the server in an empty folder with a clean environment; kills it at the end if it still runs."""
    with tempfile.TemporaryDirectory() as folder:
        process = await start_server(*flags, "--port", str(port), cwd=folder, env=env, uvloop=uvloop)
        server = ServerProcess(process)
        try:
            await server.wait_start()
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await server.wait_exit()


async def start_server(
    *flags: str, cwd: str, env: Mapping[str, str] | None = None, uvloop: bool = True
) -> asyncio.subprocess.Process:
    """The bare process."""
    clean = {name: value for name, value in os.environ.items() if not _PRIVATE.match(name)}
    command = ["-m", "server"] if uvloop else ["-c", _HIDE_UVLOOP]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *flags,
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

"""Starts, logs and ends of the process where something is missing, full, or not read."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.process import ROOT, Started, start_server

SERVER = [sys.executable, "-m", "server"]
MCP = [sys.executable, "-m", "server.commands.mcp_command"]
FREE = "--sandbox", "--host", "127.0.0.1", "--port", "0"


@asynccontextmanager
async def logging_to(stderr: int) -> AsyncIterator[tuple[Started, str]]:
    """A server whose log nobody here reads, and its address; killed at the end if it still runs."""
    with socket.create_server(("127.0.0.1", 0)) as door, tempfile.TemporaryDirectory() as folder:
        process = await start_server("--sandbox", cwd=folder, passed=[door.fileno()], stderr=stderr)
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        try:
            yield process, url
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def ask(url: str, count: int) -> None:
    """Asks for what is not there, which is a line of the log each time, and finds every answer."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        for _ in range(count):
            async with http.get(f"{url}/{'n' * 4000}") as response:
                assert response.status == 404


async def dropped(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        found = await response.text()
    name = "openrouter_sse_log_lines_dropped_total "
    return int(float(next(line for line in found.splitlines() if line.startswith(name)).removeprefix(name)))


async def end_of(process: Started, number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    async with asyncio.timeout(20):
        return await process.wait()


def unread_pipe() -> tuple[int, int]:
    return os.pipe()


def stopped_terminal() -> tuple[int, int]:
    """A terminal on which somebody has pressed Ctrl-S."""
    ours, its = pty.openpty()
    termios.tcflow(its, termios.TCOOFF)
    return ours, its


def unread_socket() -> tuple[int, int]:
    """As the journal's, when that hangs."""
    ours, its = socket.socketpair()
    return ours.detach(), its.detach()


@pytest.mark.parametrize("target", [unread_pipe, stopped_terminal, unread_socket])
async def test_break_it_16_a_log_that_nobody_reads_stops_neither_answers_nor_the_end(
    target: Callable[[], tuple[int, int]],
) -> None:
    ours, its = target()
    try:
        async with logging_to(its) as (process, url):
            while not await dropped(url):
                await ask(url, 500)
            assert await end_of(process) == 0
    finally:
        os.close(its)
        os.close(ours)


async def test_break_it_16_what_was_dropped_is_told_once_somebody_reads_again() -> None:
    ours, its = unread_pipe()
    async with logging_to(its) as (process, url):
        os.close(its)
        while not (count := await dropped(url)):
            await ask(url, 500)
        with os.fdopen(ours, "rb") as log:
            told = await asyncio.to_thread(lambda: next(line for line in log if b'"dropped":' in line))
            assert b'"level":"warning"' in told
            assert f'"dropped":{count + 1}'.encode() in told  # the last look at the figures has a line too
            reading = asyncio.create_task(asyncio.to_thread(log.read))
            assert await end_of(process) == 0
            await reading


async def test_break_it_28_a_full_disk_under_the_log_is_no_failure() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    async with logging_to(full) as (process, url):
        os.close(full)
        await ask(url, 3)
        while await dropped(url) < 3:
            pass
        assert await end_of(process) == 0


async def test_break_it_28_a_reader_of_the_log_that_has_gone_is_no_failure() -> None:
    ours, its = unread_pipe()
    os.close(ours)
    async with logging_to(its) as (process, url):
        os.close(its)
        await ask(url, 3)
        assert await end_of(process) == 0


async def test_a_terminal_that_closes_in_a_stream_ends_the_server_with_0() -> None:
    ours, its = pty.openpty()
    with socket.create_server(("127.0.0.1", 0)) as door, tempfile.TemporaryDirectory() as folder:
        launcher = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(2, termios.TIOCSCTTY, 0);"
        process = await start_server(
            "--sandbox",
            cwd=folder,
            passed=[door.fileno()],
            stderr=its,
            env={"SHUTDOWN_TIMEOUT": "1"},
            launcher=[sys.executable, "-c", f"{launcher}os.execv('/bin/bash', sys.argv[1:])"],
        )
        os.close(its)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
                url = f"http://127.0.0.1:{door.getsockname()[1]}/chat"
                async with http.post(url, json={"message": "x", "model": "sandbox/stalls"}) as response:
                    await response.content.readany()
                    os.close(ours)
                    assert b"event: done" in await response.read()
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize("is_journal", [True, False])
def test_bare_8_the_journal_gets_the_priority_of_every_line(is_journal: bool, tmp_path: Path) -> None:
    """It tells by JOURNAL_STREAM which pipe is its own."""
    ours, its = unread_pipe()
    found = os.fstat(its)
    stream = f"{found.st_dev}:{found.st_ino + (not is_journal)}"
    program = """
import logging, sys
from server.telemetry.logs import close_logging, configure_logging, say
configure_logging("debug")
for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
    logging.getLogger("server").log(level, "x")
say("two\\nlines", logging.ERROR)
print("printed", file=sys.stderr)
close_logging()
"""
    env = {**os.environ, "JOURNAL_STREAM": stream}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, stderr=its, timeout=60, check=True)
    os.close(its)
    with os.fdopen(ours) as log:
        lines = log.read().splitlines()
    begun = ["<7>{", "<6>{", "<4>{", "<3>{", "<2>{", "<3>two", "<3>lines", "<4>printed"]
    assert len(lines) == len(begun)
    for line, begin in zip(lines, begun, strict=True):
        assert line.startswith(begin if is_journal else begin[3:])


# -- missing descriptors --------------------------------------------------------------------------------------------


def without(
    closed: str, command: list[str], cwd: Path, stdin: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """A command started with these standard descriptors closed."""
    closing = " ".join(f"{number}>&-" for number in closed)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENROUTER_API_KEY": "k" * 20}
    words = ["sh", "-c", f'exec "$@" {closing}', "sh", *command]
    return subprocess.run(words, stdin=stdin, capture_output=True, text=True, timeout=60, env=env, cwd=cwd)


ONE_OR_ALL = ["0", "1", "2", "012"]


@pytest.mark.parametrize("closed", ONE_OR_ALL)
async def test_faults_q1_a_server_without_standard_descriptors_serves(closed: str, tmp_path: Path) -> None:
    port = free_port()
    closing = " ".join(f"{number}>&-" for number in closed)
    process = await start_server(
        *("--sandbox", "--host", "127.0.0.1", "--port", str(port)),
        cwd=str(tmp_path),
        launcher=["sh", "-c", f'exec "$@" {closing}', "sh"],
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http, asyncio.timeout(20):
            while True:
                try:
                    async with http.get(f"{url}/health") as response:
                        assert response.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)  # it starts
        for number in "012":
            target = os.readlink(f"/proc/{process.pid}/fd/{number}")  # noqa: PTH115
            assert (target == "/dev/null") == (number in closed) or number == "0"
        assert await end_of(process) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("closed", ONE_OR_ALL)
@pytest.mark.parametrize(
    "command",
    [
        [*SERVER, "--version"],
        [*SERVER, "--check-config"],
        [*SERVER, "new-token", "phone"],
        [*MCP, "print-config", "--client", "claude-desktop"],
    ],
    ids=lambda words: " ".join(words[2:4]),
)
def test_faults_q1_commands_without_standard_descriptors_do_what_they_do(
    closed: str, command: list[str], tmp_path: Path
) -> None:
    done = without(closed, command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) == ("1" not in closed)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ONE_OR_ALL)
def test_faults_q1_mcp_without_standard_descriptors_ends_with_its_input(closed: str, tmp_path: Path) -> None:
    done = without(closed, [*MCP, "--sandbox"], tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


# -- signals in the first moments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [SERVER, MCP], ids=["server", "mcp"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_break_it_28_a_signal_in_the_start_ends_any_process_even_the_first_one(
    command: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    """The start lasts until somebody writes the settings; in a process namespace of its own it is process 1.

    The MCP command greets its host before it reads them, so it ends as it does while it serves.
    """
    file = tmp_path / "config.toml"
    os.mkfifo(file)
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urpf", "true"], capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [unshare, "-Urpf", "--kill-child", *command, "--sandbox", "--config", str(file)]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as outer:
        try:
            pipe = os.open(file, os.O_WRONLY)  # open when the process reads it
            child = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
            os.kill(child, number)
            assert outer.wait(20) in ((0,) if command is MCP else (128 + number, -number))
            os.close(pipe)
        finally:
            outer.kill()


def test_break_it_28_a_signal_before_anything_is_imported_ends_the_process(tmp_path: Path) -> None:
    """The import of the settings waits for a signal that was sent before; the MCP command serves by then, and does
    not wait for what it loads."""
    lines = ("import os, signal, threading", "os.kill(os.getpid(), signal.SIGTERM)", "threading.Event().wait()", "")
    (tmp_path / "pydantic.py").write_text("\n".join(lines))
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for command, code in ((SERVER, -signal.SIGTERM), (MCP, 0)):
        words = [*command, "--sandbox"]
        with subprocess.Popen(words, env=env, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            _, told = process.communicate(timeout=60)
            assert (process.returncode, told) == (code, b"")


async def test_a_second_signal_at_the_very_end_does_not_make_it_a_failure() -> None:
    ours, its = unread_pipe()
    try:
        async with logging_to(its) as (process, url):
            while not await dropped(url):
                await ask(url, 500)
            process.send_signal(signal.SIGINT)
            while process.returncode is None:  # also while the log's reader gets its last second
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGINT)  # `send_signal` may take its exit code from who waits
                await asyncio.sleep(0.01)
            assert process.returncode == 0
    finally:
        os.close(its)
        os.close(ours)


# -- output of commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_bare_15_a_reader_that_has_seen_enough_is_no_failure(unbuffered: str, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    for words in (
        ["--check-config", "--sandbox"],
        ["new-token", "a"],
        ["install-service", "--user", "--dir", "units"],
    ):
        ours, its = unread_pipe()
        os.close(ours)
        done = subprocess.run(
            [*SERVER, *words], env=env, cwd=tmp_path, stdout=its, stderr=subprocess.PIPE, timeout=60
        )
        os.close(its)
        assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *SERVER, "new-token", "a"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (74, b"Standard output: No space left on device.\n")


def test_break_it_16_what_is_printed_to_standard_error_does_not_wait_either() -> None:
    program = """
import sys, warnings
from server.telemetry.logs import close_logging, configure_logging
configure_logging()
for _ in range(50_000):
    print("x" * 100, file=sys.stderr)
warnings.warn("a warning")
close_logging()
sys.stderr.write("not a whole line")
"""
    ours, its = unread_pipe()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=its, timeout=60)
    for end in (ours, its):
        os.close(end)
    assert done.returncode == 0

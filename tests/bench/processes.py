"""Processes under test and of the harness: started on their own cores, measured from `/proc`, stopped by id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores belong to whom; empty sets where there is only one core."""

    server: frozenset[int]
    upstream: frozenset[int]
    load: frozenset[int]


def choose_cores() -> Cores:
    """The last core for the server under test, the first ones for the harness; with two cores it has one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        return Cores(frozenset(), frozenset(), frozenset())
    harness = cores[:-1]
    return Cores(frozenset(cores[-1:]), frozenset(harness[:1]), frozenset(harness[1:2] or harness))


def start(
    command: Sequence[str], *, cores: Iterable[int], cwd: Path, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own; what it prints goes to a file."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=pin(cores),
        )


def pin(cores: Iterable[int]) -> partial[None] | None:
    """What a new process calls first to stay on these cores."""
    chosen = set(cores)
    return partial(os.sched_setaffinity, 0, chosen) if chosen else None


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its descendants, by force where asking does not help."""
    pids = tree(process.pid)
    for number, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        for pid in pids if number == signal.SIGKILL else [process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        pids = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not pids:
            return


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def listener_pid(port: int) -> int | None:
    """The process that listens on a port of this machine, if it may be looked at."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(str(fd.readlink()) in inodes for fd in folder.iterdir()):
                found.append(int(folder.parent.name))
    return min(found, default=None)


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` from the state on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class CpuMeter:
    """User and system time of processes, their threads and the children they waited for."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._threads_ns = self._read_threads()
        self._ticks = self._read_ticks()

    def seconds(self) -> float:
        """Spent since the meter was made: to the nanosecond, or to the clock tick when a thread has ended."""
        threads_ns = self._read_threads()
        if self._threads_ns and set(self._threads_ns) <= set(threads_ns):
            return sum(spent - self._threads_ns.get(thread, 0) for thread, spent in threads_ns.items()) / 1e9
        return (self._read_ticks() - self._ticks) / _TICKS_PER_S

    def _read_threads(self) -> dict[str, int]:
        spent = {}
        for pid in self._pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    spent[path.parent.name] = int(path.read_text().split()[0])
        return spent

    def _read_ticks(self) -> int:
        total = 0
        for pid in self._pids:
            with suppress(OSError):
                total += sum(map(int, _stat(pid)[11:15]))
        return total


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of all of them, shared pages counted once per process."""
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE_BYTES / 1e6


def wait_until_serving(process: subprocess.Popen[bytes], port: int, path: str, timeout_s: float, log: Path) -> None:
    """Returns when a GET of the path is answered.

    Raises:
        RuntimeError: it ended, or took too long; the message holds the end of its log.
    """
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {log.read_text()[-2000:]}")
        if _answers(port, path):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} did not serve within {timeout_s:g} s: {log.read_text()[-2000:]}")


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as sock:
            sock.settimeout(10)
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return sock.recv(64).startswith(b"HTTP/1.")
    except OSError:
        return False

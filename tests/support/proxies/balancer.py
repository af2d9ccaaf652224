"""nginx in front of several processes, with the configuration of `compose.instances.yaml`."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.process import ROOT
from tests.support.proxies.reverse import NGINX, program

CONFIG = ROOT / "packaging" / "compose" / "nginx.conf"
_SERVER = re.compile(r"172\.31\.86\.1([1-9]):8000")


@asynccontextmanager
async def balanced(folder: Path, ports: Sequence[int]) -> AsyncIterator[str]:
    """Runs it in an empty folder, in front of ports on loopback, while the context is open; its URL."""
    address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}:8000"
    site = CONFIG.read_text().replace("listen 8000;", f"listen {address};")
    site, count = _SERVER.subn(lambda match: f"127.0.0.1:{ports[int(match[1]) - 1]}", site)
    assert count == 2 * len(ports)
    (folder / "site.conf").write_text(site)
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    command = [program("nginx", "nginx-light"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=log, stderr=log)
    try:
        assert await _is_listening(process, *address.split(":")), (folder / "log").read_text()
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        print((folder / "log").read_text())  # shown when the test fails


async def _is_listening(process: asyncio.subprocess.Process, host: str, port: str) -> bool:
    """True as soon as it accepts, False when it has ended."""
    async with asyncio.timeout(20):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return True
    return False

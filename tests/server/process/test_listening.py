"""Where the server listens, and what it says where it cannot."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import aiohttp
import pytest

from server.config import Config, Flags, load_config
from server.process.listening import CannotListen, bind_sockets, explain, url_of
from tests.server.process.test_process import run
from tests.support.process import running_server


def config(host: str, port: int = 0) -> Config:
    return load_config(Flags(port=str(port)), {"HOST": host}, Path("/nowhere"))


async def failure(host: str, port: int = 0) -> str:
    with pytest.raises(CannotListen) as caught:
        await bind_sockets(config(host, port))
    return str(caught.value)


@pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "nosuch.invalid"])
async def test_faults_p3_a_name_that_leads_nowhere_is_blamed_and_not_the_port(host: str) -> None:
    said = await failure(host)
    assert f"server.host = {host} (environment variable HOST)" in said
    assert "--host 0.0.0.0" in said
    assert "unset it" in said
    assert "port" not in said


async def test_faults_p3_a_foreign_address_is_blamed() -> None:
    said = await failure("192.0.2.1")  # for documentation only (RFC 5737)
    assert "server.host = 192.0.2.1 (environment variable HOST) is no address of this machine" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
async def test_faults_p3_a_port_in_use_is_named(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server(("::1" if ":" in host else "127.0.0.1", 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with taken:
        port = taken.getsockname()[1]
        said = await failure(host, port)
    assert f"port {port} of {host.strip('[]')} is in use" in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "port 80 of 127.0.0.1 is not allowed, as those below 1024"),
        (errno.EAFNOSUPPORT, "no such kind of address"),
        (errno.EADDRNOTAVAIL, "is no address of this machine"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_faults_p3_every_reason_has_its_own_words(number: int, told: str) -> None:
    said = explain(OSError(number, os.strerror(number)), config("127.0.0.1", 80))
    assert told in said
    assert said.startswith("Cannot listen")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (("0.0.0.0", 8000), "http://localhost:8000/ (on all interfaces)"),
        (("::", 8000), "http://localhost:8000/ (on all IPv6 interfaces)"),
        (("127.0.0.1", 80), "http://127.0.0.1:80/"),
        (("192.168.1.5", 8000), "http://192.168.1.5:8000/"),
        (("fe80::1%eth0", 8000), "http://[fe80::1%eth0]:8000/"),
        ("/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_faults_p4_what_is_printed_can_be_opened(address: tuple[str, int] | str, url: str) -> None:
    assert url_of(address) == url


async def test_faults_p4_the_printed_address_answers() -> None:
    async with running_server("--sandbox") as server, aiohttp.ClientSession() as http:
        printed = server.start_line.split()[1]
        for url in (f"{printed}models", f"http://0.0.0.0:{server.port}/models"):
            async with http.get(url) as response:
                assert response.status == 200


async def test_bare_20_a_second_server_says_only_that_the_port_is_in_use(tmp_path: Path) -> None:
    async with running_server("--sandbox", "--host", "127.0.0.1", env={"STATE_DIR": str(tmp_path)}) as server:
        code, _, said = await run(
            *("--sandbox", "--host", "127.0.0.1", "--port", str(server.port)), env={"STATE_DIR": str(tmp_path)}
        )
    assert code == 69
    assert len(said.splitlines()) == 1
    assert "is in use" in said

"""Sockets passed by systemd: served on, kept over a restart, and refused in words when HTTP cannot use them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from client.sandbox import Hold, Reply, Sandbox
from server.app import create_app
from server.config import Config, LiveConfig
from server.http.server import HttpRunner
from server.process.draining import stop_accepting
from server.process.passed_sockets import UnusableSocket, take_passed_sockets
from tests.support.chunks import END, STOP, text
from tests.support.notify_socket import NotifySocket
from tests.support.process import ROOT, running_server, start_server


@contextmanager
def listening(*paths: Path) -> Iterator[list[socket.socket]]:
    """A TCP socket, and a UNIX one for every path, all listening."""
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0)))]
        for path in paths:
            door = stack.enter_context(socket.socket(socket.AF_UNIX))
            door.bind(str(path))
            door.listen()
            doors.append(door)
        yield doors


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_passed_sockets_are_served_on_tcp_and_unix(tmp_path: Path, uvloop: bool) -> None:
    path = tmp_path / "door"
    with listening(path) as doors:
        async with running_server("--sandbox", passed=doors, uvloop=uvloop) as service:
            port = doors[0].getsockname()[1]
            assert f"http://127.0.0.1:{port}/ and unix:{path} (passed by systemd)" in service.start_line
            await _chat_over(aiohttp.TCPConnector(), port)
            await _chat_over(aiohttp.UnixConnector(str(path)))
            assert await service.stop() == 0
        assert path.is_socket()  # it is systemd's, and stays


async def _chat_over(connector: aiohttp.BaseConnector, port: int = 80) -> None:
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post(f"http://localhost:{port}/chat", json={"message": "x"}) as response,
    ):
        assert b'"completed":true' in await response.read()


async def test_a_unix_socket_is_this_machine_but_any_host_may_not_be_named(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with listening(path) as doors:
        by_path = aiohttp.UnixConnector(str(path))
        async with running_server("--sandbox", passed=doors), aiohttp.ClientSession(connector=by_path) as http:
            async with http.get("http://localhost/models") as local:
                assert local.status == 200
            async with http.get("http://rebound.example/models") as foreign:
                assert foreign.status == 403


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_a_restart_in_mid_stream_refuses_no_connection(upstream: Sandbox, uvloop: bool) -> None:
    hold = Hold()
    upstream.script(Reply.stream(text("a"), hold, text("b"), STOP, END))
    env = {"OPENROUTER_BASE_URL": upstream.base_url}
    with NotifySocket.opened() as systemd, listening() as doors:
        url = f"http://127.0.0.1:{doors[0].getsockname()[1]}"
        connector = aiohttp.TCPConnector(limit=0)
        async with asyncio.timeout(30), aiohttp.ClientSession(connector=connector) as http:
            notified = {**env, "NOTIFY_SOCKET": systemd.address}
            async with running_server(env=notified, passed=doors, uvloop=uvloop) as old:
                stream = await http.post(f"{url}/chat", json={"message": "x"})
                async with http.get(f"{url}/health") as idle:  # its connection is kept for the next request
                    assert idle.status == 200
                old.process.terminate()
                await systemd.receive_until("STOPPING")
                early = [asyncio.create_task(_models(http, url)) for _ in range(50)]
                await asyncio.sleep(0)
                hold.until.set()
                assert b'"completed":true' in await stream.read()
                assert await old.wait_exit() == 0
            late = [asyncio.create_task(_models(http, url)) for _ in range(50)]
            async with running_server(env=env, passed=doors, uvloop=uvloop):
                assert set(await asyncio.gather(*early, *late)) == {200}


async def _models(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(f"{url}/models") as response:
        return response.status


async def test_sockets_that_are_meant_for_another_process_are_left_alone() -> None:
    with listening() as doors:
        env = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
        async with running_server("--sandbox", env=env) as service:
            assert service.port != doors[0].getsockname()[1]
            assert "passed by systemd" not in service.start_line


def _datagram() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def _seqpacket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _only_bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def _connection() -> socket.socket:
    one, other = socket.socketpair()
    other.close()
    return one


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_datagram, "is of the type SOCK_DGRAM"),
        (_seqpacket, "is of the type SOCK_SEQPACKET"),
        (_netlink, "is of the family AF_NETLINK"),
        (_only_bound, "does not listen"),
        (_connection, "does not listen"),
    ],
)
async def test_a_socket_that_http_cannot_be_served_on_is_refused_in_words(
    make: Callable[[], socket.socket], words: str, tmp_path: Path
) -> None:
    with listening() as doors, make() as wrong:
        passed = [doors[0].fileno(), wrong.fileno()]
        env = {"LISTEN_FDNAMES": "good:openrouter-sse.socket"}
        process = await start_server("--sandbox", cwd=str(tmp_path), env=env, passed=passed)
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    assert process.returncode == 78
    assert f"openrouter-sse.socket (file descriptor 4) that systemd passed {words}".encode() in said
    assert b"ListenStream=" in said
    assert b"Traceback" not in said


async def test_what_is_no_socket_is_refused_in_words(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        process = await start_server("--sandbox", cwd=str(tmp_path), passed=[file.fileno()])
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    assert process.returncode == 78
    assert b"file descriptor 3" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize("count", ["", "many", "-1", "1.5"])
def test_a_count_that_is_no_number_is_refused_in_words(count: str) -> None:
    with pytest.raises(UnusableSocket, match="LISTEN_FDS must be the number"):
        take_passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


async def test_systemd_socket_activate_starts_the_server_with_the_first_connection(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("systemd-socket-activate is missing: install the Debian package systemd")
    path = tmp_path / "door"
    process = await asyncio.create_subprocess_exec(
        *(activate, "--listen", str(path), "--setenv", f"PYTHONPATH={ROOT}"),
        *(sys.executable, "-m", "server", "--sandbox"),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            assert b"Listening on" in await process.stderr.readline()
            await _chat_over(aiohttp.UnixConnector(str(path)))
            process.terminate()
            said = await process.stderr.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert f"Serving unix:{path} (passed by systemd)".encode() in said


async def test_bare_16_whoever_waits_at_a_server_without_a_key_is_told_and_does_not_start_it_again(
    tmp_path: Path,
) -> None:
    """systemd starts a service for as long as somebody waits at its socket."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        async with aiohttp.ClientSession() as http:
            asked = asyncio.create_task(http.get(f"http://127.0.0.1:{door.getsockname()[1]}/chat"))
            silent = socket.create_connection(door.getsockname())
            process = await start_server(cwd=str(tmp_path), passed=[door.fileno()])
            async with asyncio.timeout(20):
                response = await asked
                assert response.status == 503
                assert (await response.json())["type"] == "overloaded"
                _, said = await process.communicate()
            silent.close()
        assert process.returncode == 78
        assert b"There is no key" in said
        door.setblocking(False)
        with pytest.raises(BlockingIOError):
            door.accept()


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_in_the_moment_of_a_restart_is_not_forgotten(
    config: Config, turns: int
) -> None:
    """A SIGTERM at each turn of the event loop between the connection and its first byte."""

    async def serve(sock: socket.socket) -> HttpRunner:
        runner = HttpRunner(create_app(LiveConfig(config)), shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        return runner

    with listening() as [door], socket.socket() as caller:
        first = await serve(kept := door.dup())
        caller.connect(door.getsockname())
        caller.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        await stop_accepting(first, [kept])
        second = await serve(door.dup())
        caller.settimeout(10)
        found = await asyncio.to_thread(caller.recv, 1000)
        assert found.startswith(b"HTTP/1.1 200")
        await first.cleanup()
        await second.cleanup()

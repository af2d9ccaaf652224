"""`server.status_address`: one process of several tells how it alone does, and nothing else."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import ConfigError, Flags, load_config
from tests.support.chunks import END, STOP, text
from tests.support.ports import free_port
from tests.support.process import running_server, start_server


def caller(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(str(path)))


async def test_health_and_figures_are_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    async with running_server("--sandbox", env={"STATUS_ADDRESS": str(path)}) as server, caller(path) as http:
        async with http.get("/health") as response:
            assert (await response.json())["status"] == "ok"
        async with http.get("/ready") as response:
            assert response.status == 200
        async with http.get("/metrics") as response:
            assert b"openrouter_sse_streams_active 0.0" in await response.read()
        for absent in ("/", "/models", "/chat", "/docs"):
            async with http.get(absent) as response:
                assert (response.status, (await response.json())["type"]) == (404, "not_found")
        assert await server.stop() == 0
    assert not path.exists()


async def test_figures_need_the_token_that_they_need_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    env = {"STATUS_ADDRESS": str(path), "SERVER_TOKENS": "let-me-in-please"}
    async with running_server("--sandbox", env=env), caller(path) as http:
        async with http.get("/health") as response:
            assert response.status == 200
        async with http.get("/metrics") as response:
            assert response.status == 401
        async with http.get("/metrics", headers={"Authorization": "Bearer let-me-in-please"}) as response:
            assert response.status == 200


async def test_it_tells_of_the_answers_that_a_process_which_ends_still_has(upstream: Sandbox, tmp_path: Path) -> None:
    path, hold = tmp_path / "status.sock", Hold()
    upstream.script(Reply.stream(text("a"), hold, STOP, END))
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "STATUS_ADDRESS": str(path)}
    async with running_server(env=env) as server, caller(path) as http, aiohttp.ClientSession() as chat:
        async with chat.post(f"{server.url}/chat", json={"message": "x"}) as response:
            server.process.terminate()
            await server.wait_said(b"Waiting up to")
            async with http.get("/health") as health:
                assert (await health.json())["streams"]["active"] == 1
            async with http.get("/ready") as ready:
                assert (ready.status, (await ready.json())["type"]) == (503, "shutting_down")
            hold.until.set()
            assert b'"completed":true' in await response.read()
        assert await server.wait_exit() == 0


async def test_what_a_killed_process_left_is_replaced_and_what_lives_is_not(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    env = {"STATUS_ADDRESS": str(path)}
    async with running_server("--sandbox", env=env) as killed:
        await killed.stop(signal.SIGKILL)
    assert path.is_socket()
    async with running_server("--sandbox", env=env), caller(path) as http:
        async with http.get("/ready") as response:
            assert response.status == 200
        other = await start_server("--sandbox", "--port", "0", cwd=str(tmp_path), env=env)
        async with asyncio.timeout(60):
            _, said = await other.communicate()
        assert other.returncode == 69
        assert f"server.status_address = {path}: it is in use, and each process needs its own".encode() in said
        async with http.get("/ready") as response:
            assert response.status == 200


async def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    process = await start_server("--sandbox", "--port", "0", cwd=str(tmp_path), env={"STATUS_ADDRESS": str(path)})
    async with asyncio.timeout(60):
        await process.communicate()
    assert process.returncode == 69
    assert path.read_text() == "mine"


async def test_an_address_with_a_port_does_as_well() -> None:
    port = free_port()
    env = {"STATUS_ADDRESS": f"127.0.0.1:{port}"}
    async with (
        running_server("--sandbox", env=env),
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize(
    "address", ["relative.sock", "127.0.0.1", ":9101", "127.0.0.1:0", "h:99999", "/" + "x" * 108]
)
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Flags(sandbox=True), {"STATUS_ADDRESS": address}, Path("/nowhere"))
    assert [problem.key for problem in caught.value.problems] == ["server.status_address"]


@pytest.mark.parametrize("address", ["/run/x.sock", "127.0.0.1:9101", "[::1]:9101", "localhost:1"])
def test_addresses_are_kept_as_they_are(address: str) -> None:
    assert load_config(Flags(), {"STATUS_ADDRESS": address}, Path("/nowhere")).server.status_address == address

"""The command as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import tempfile

import aiohttp
import pytest

from server.version import program_version
from tests.support.process import running_server, start_server


async def run(*flags: str, env: dict[str, str] | None = None) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a run that ends by itself."""
    with tempfile.TemporaryDirectory() as folder:
        process = await start_server(*flags, cwd=folder, env=env)
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_without_a_key_it_exits_78_and_names_the_three_ways_on() -> None:
    code, _, said = await run()
    assert code == 78
    assert "OPENROUTER_API_KEY" in said
    assert "--sandbox" in said
    assert "base_url" in said


async def test_every_problem_of_the_settings_is_told_at_once() -> None:
    code, _, said = await run(env={"PORT": "many", "API_TIMEOUT": "-1", "OPENROUTER_API_KEY": "x"})
    assert code == 78
    assert "PORT" in said
    assert "API_TIMEOUT" in said


async def test_check_config_shows_the_settings_and_no_secret() -> None:
    code, shown, said = await run("--check-config", env={"OPENROUTER_API_KEY": "sk-or-v1-secret", "PORT": "81"})
    assert code == 0, said
    assert "server.port = 81" in shown
    assert "secret" not in shown + said


async def test_the_start_line_names_address_upstream_file_and_callers() -> None:
    async with running_server("--sandbox") as server:
        assert "callers on this machine only" in server.start_line
        assert "sandbox" in server.start_line
        assert "config file: none" in server.start_line
        assert f"version {program_version()}" in server.start_line
        assert f"Serving http://localhost:{server.port}/ (on all interfaces) for" in server.start_line
        assert f"docs: http://localhost:{server.port}/docs;" in server.start_line
        print(f"memory at rest: {server.rss_bytes() / 1e6:.1f} MB")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_answer_may_finish_after_the_first_signal(number: signal.Signals) -> None:
    async with running_server("--sandbox") as server, aiohttp.ClientSession() as http:
        response = await http.post(f"{server.url}/chat", json={"message": "hello"})
        await response.content.readany()
        server.process.send_signal(number)
        async with asyncio.timeout(10):
            while True:
                async with http.get(f"{server.url}/ready") as ready:
                    if ready.status == 503:
                        break
        async with http.post(f"{server.url}/chat", json={"message": "late"}) as refused:
            assert (refused.status, (await refused.json())["type"]) == (503, "shutting_down")
            assert refused.headers["Retry-After"] == "5"
        body = await response.read()
        assert b'"completed":true' in body
        assert await server.wait_exit() == 0


async def test_a_second_signal_ends_at_once() -> None:
    async with running_server("--sandbox") as server, aiohttp.ClientSession() as http:
        response = await http.post(f"{server.url}/chat", json={"message": "x", "model": "sandbox/stalls"})
        await response.content.readany()
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            while b"Waiting up to" not in server.output:
                async with http.get(f"{server.url}/health") as alive:
                    assert alive.status == 200
        assert await server.stop() == 0
        assert b'"shutting_down"' in await response.read()


async def test_one_json_line_is_logged_for_every_request() -> None:
    async with running_server("--sandbox") as server, aiohttp.ClientSession() as http:
        async with http.post(f"{server.url}/chat", json={"message": "private words"}) as response:
            await response.read()
        async with http.get(f"{server.url}/nowhere"):
            pass
        await server.stop()
        lines = [json.loads(line) for line in bytes(server.output).splitlines()]
    assert [line["message"] for line in lines] == ["chat", "request"]
    assert lines[0]["stream_id"] == response.headers["X-Stream-Id"]
    assert lines[0]["cost_usd"] > 0
    assert lines[1]["status"] == 404
    assert b"private words" not in server.output


async def test_a_shells_low_limit_of_files_is_raised_as_far_as_it_goes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        async with running_server("--sandbox") as server:
            raised = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised == (hard, hard)


async def test_bare_20_a_look_whether_the_server_does_well_is_no_line_of_the_log() -> None:
    for level, count in (("info", 1), ("debug", 3)):
        async with running_server("--sandbox", env={"LOG_LEVEL": level}) as server, aiohttp.ClientSession() as http:
            for path in ("health", "ready", "nowhere"):
                async with http.get(f"{server.url}/{path}") as response:
                    await response.read()
            await server.stop()
            lines = [json.loads(line) for line in bytes(server.output).splitlines()]
        assert {line["logger"] for line in lines} == {"access"}
        assert len(lines) == count


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_a_limit_of_files_that_is_reached_is_told_once(uvloop: bool) -> None:
    async with running_server("--sandbox", uvloop=uvloop) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (server.open_files() + 5,) * 2)
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        await server.wait_said(b"no more files can be opened")
        for _, writer in held:
            writer.close()
        await server.wait_said(b"files can be opened again")
        assert server.output.count(b"no more files can be opened") == 1
        assert await server.stop() == 0

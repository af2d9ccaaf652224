"""New settings in a server that runs: what takes effect, what waits, and that mistakes change nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.access.tokens import hash_token
from server.config import Config, Flags, LiveConfig, load_config, setting_fields
from server.keys import SETTINGS
from server.process.reload import LIVE, merge, reload
from tests.support.chunks import END, STOP, text
from tests.support.process import ROOT, ServerProcess, running_server, start_server
from tests.support.serving import KEY, Api, question, serving
from tests.support.sse_reader import Event, parse_events

Rewrite = Callable[[str], Awaitable[bool]]
PAGE = "https://app.example"
GUIDE = (ROOT / "docs" / "settings.md").read_text()


def caller(name: str, token: str, more: str = "") -> str:
    return f'[[callers]]\nname = "{name}"\ntoken_sha256 = "{hash_token(token)}"\n{more}\n'


@asynccontextmanager
async def reloadable(folder: Path, upstream: Sandbox, toml: str = "") -> AsyncIterator[tuple[Api, Rewrite]]:
    """A server whose settings are a file, and what writes that file and has it read again."""
    file = folder / "config.toml"

    def load() -> Config:
        return load_config(Flags(), {"OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": upstream.base_url}, folder)

    file.write_text(toml)
    async with serving(LiveConfig(load(), load)) as api:

        async def rewrite(text_: str) -> bool:
            file.write_text(text_)
            return await reload(api.app)

        yield api, rewrite


async def status(api: Api, token: str = "", path: str = "/chat", **headers: str) -> int:
    given = {"Authorization": f"Bearer {token}"} if token else {}
    return (await api.request("GET", path, **given, **headers))[0].status


async def test_callers_come_and_go(tmp_path: Path, upstream: Sandbox) -> None:
    async with reloadable(tmp_path, upstream) as (api, rewrite):
        assert await status(api) == 200
        assert await rewrite(caller("ann", "a") + caller("bob", "b"))
        assert [await status(api), await status(api, "a"), await status(api, "b")] == [401, 200, 200]
        assert await rewrite(caller("bob", "b"))
        assert [await status(api, "a"), await status(api, "b")] == [401, 200]
        assert await rewrite("")
        assert await status(api) == 200


async def test_limits_origins_model_and_log_level_take_effect(tmp_path: Path, upstream: Sandbox) -> None:
    level = logging.getLogger().level
    toml = f"""
        [server]
        max_body_bytes = 100
        cors_origins = ["{PAGE}"]
        trusted_proxies = ["127.0.0.1"]
        log_level = "error"
        [upstream]
        model = "acme/other"
        x_title = "Möbel 日本"
        [models]
        ttl_s = 7.0
        [streams]
        max_active = 1
    """
    try:
        async with reloadable(tmp_path, upstream) as (api, rewrite):
            assert await status(api, Origin=PAGE) == 403
            assert await rewrite(toml)
            assert await status(api, Origin=PAGE, X_Forwarded_For="127.0.0.1") == 200
            assert await status(api, X_Forwarded_For="203.0.113.9") == 401
            json = {"Content_Type": "application/json", "X_Forwarded_For": "127.0.0.1"}
            response, _ = await api.request("POST", "/chat", b'{"message": "' + b"x" * 100 + b'"}', **json)
            assert response.status == 413
            upstream.script(Reply.stream(text("x"), STOP, END))
            response, _ = await api.request("POST", "/chat", b'{"message": "x"}', **json)
            assert response.status == 200
            assert upstream.requests[-1].json["model"] == "acme/other"
            assert upstream.requests[-1].headers["X-Title"] == "Möbel 日本"  # as UTF-8
            assert logging.getLogger().level == logging.ERROR
            assert api.streams.config.max_active == 1
            assert await rewrite("[server]\nmax_body_bytes = 300")
            response, _ = await api.request(
                "POST", "/chat", b'{"message": "' + b"x" * 200 + b'"', Content_Type="application/json"
            )
            assert response.status == 400
    finally:
        logging.getLogger().setLevel(level)


async def test_a_running_answer_is_not_touched(tmp_path: Path, upstream: Sandbox) -> None:
    hold = Hold()
    upstream.script(Reply.stream(text("one"), hold, text("two"), STOP, END))
    async with reloadable(tmp_path, upstream) as (api, rewrite):
        async with api.http.post(f"{api.url}/chat", json=question()) as response:
            await response.content.readuntil(b'{"text":"one"}\n\n')
            assert await rewrite("[streams]\nmax_log_bytes = 65536\nmax_active = 1\n[upstream]\ntimeout_s = 0.001\n")
            hold.until.set()
            rest = await response.read()
        assert b'{"text":"two"}' in rest
        assert b'"completed":true' in rest


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("[server\n", "not valid TOML"),
        ("[server]\nport = -1\nping_interval_s = 0\n", "server.ping_interval_s = 0: must be"),
        (caller("ann", "a") + caller("ann", "b"), "callers[1].name"),
        ('[[callers]]\nname = "x"\ntoken_sha256 = "abc"\n', "must have 64 hexadecimal digits, and has 3"),
    ],
)
async def test_settings_with_a_mistake_change_nothing_and_every_problem_is_logged(
    tmp_path: Path, upstream: Sandbox, caplog: pytest.LogCaptureFixture, toml: str, told: str
) -> None:
    async with reloadable(tmp_path, upstream, caller("ann", "a")) as (api, rewrite):
        before = api.app[SETTINGS].current
        assert not await rewrite(toml)
        assert api.app[SETTINGS].current is before
        assert [await status(api), await status(api, "a")] == [401, 200]
    lines = [record.getMessage() for record in caplog.records if record.name == "server.process.reload"]
    assert len(lines) == (2 if "port" in toml else 1)
    assert told in lines[-1]
    assert all(line.startswith("settings not reloaded, the old ones stay: ") for line in lines)


async def test_a_file_that_is_gone_does_not_open_the_door(
    tmp_path: Path, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    async with reloadable(tmp_path, upstream, caller("ann", "a")) as (api, rewrite):
        (tmp_path / "config.toml").unlink()
        assert not await reload(api.app)
        assert await status(api) == 401
        assert "config.toml: is gone" in caplog.text
        assert await rewrite("")
        assert await status(api) == 200


async def test_what_needs_a_restart_keeps_its_value_and_is_named(
    tmp_path: Path, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    async with reloadable(tmp_path, upstream) as (api, rewrite):
        caplog.set_level(logging.INFO)
        assert await rewrite('[server]\nport = 1\nping_interval_s = 3.0\n[mcp]\npath = "/elsewhere"\n')
        current = api.app[SETTINGS].current
        assert (current.server.port, current.mcp.path, current.server.ping_interval_s) == (8000, "/mcp", 3.0)
    (done, waits) = [record for record in caplog.records if record.name == "server.process.reload"]
    assert done.__dict__["fields"] == {"changed": ["server.ping_interval_s"], "callers": 0}
    assert waits.getMessage() == "settings that take effect at the next restart: server.port, mcp.path"
    assert waits.levelname == "WARNING"


def with_key(key: str, **more: str) -> Config:
    return load_config(Flags(), {"OPENROUTER_API_KEY": key, **more}, Path("/nowhere"))


def test_bare_1_a_new_key_takes_effect_and_is_never_shown() -> None:
    old, new = with_key("hush-1"), with_key("hush-2")
    merged, changed, waiting = merge(old, new)
    assert (merged.upstream.api_key, changed, waiting) == (new.upstream.api_key, ["upstream.api_key"], [])
    assert "hush" not in f"{merged} {changed}"


def test_a_key_that_comes_with_another_base_url_waits_for_the_restart_with_it() -> None:
    """The old upstream must not get the new one's key."""
    old, new = with_key("hush-1"), with_key("hush-2", OPENROUTER_BASE_URL="http://other.example/v1")
    merged, changed, waiting = merge(old, new)
    assert (merged.upstream, changed, waiting) == (old.upstream, [], ["upstream.base_url", "upstream.api_key"])


@pytest.mark.parametrize("place", [".env", "key"])
async def test_bare_1_a_key_from_a_file_is_renewed_for_the_next_request(
    tmp_path: Path, upstream: Sandbox, place: str
) -> None:
    file = tmp_path / place
    environ = {"OPENROUTER_BASE_URL": upstream.base_url, "OPENROUTER_API_KEY_FILE": "key" if place == "key" else ""}

    def put(key: str) -> None:
        file.write_text(key if place == "key" else f"OPENROUTER_API_KEY={key}\n")

    def load() -> Config:
        return load_config(Flags(), environ, tmp_path)

    put("key-1")
    async with serving(LiveConfig(load(), load)) as api:
        for key in ("key-1", "key-2"):
            put(key)
            assert await reload(api.app)
            upstream.script(Reply.stream(text("x"), STOP, END))
            async with api.http.post(f"{api.url}/chat", json=question()) as response:
                assert response.status == 200
                await response.read()
            assert upstream.calls[-1].headers["Authorization"] == f"Bearer {key}"


async def test_a_key_that_is_gone_changes_nothing(
    tmp_path: Path, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"OPENROUTER_API_KEY": KEY}
    async with serving(LiveConfig(with_key(KEY), lambda: load_config(Flags(), environ, tmp_path))) as api:
        environ.clear()
        assert not await reload(api.app)
        assert api.app[SETTINGS].current.upstream.api_key is not None
    assert "there is no key for https://openrouter.ai/api/v1 any more" in caplog.text


async def test_bare_1_a_reload_says_that_systemd_renews_credentials_at_a_restart_only(
    tmp_path: Path, upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "openrouter_api_key").write_text("k" * 20)
    (tmp_path / "server_tokens").write_text("a" * 20 + "\n" + "b" * 20)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "OPENROUTER_BASE_URL": upstream.base_url}

    def load() -> Config:
        return load_config(Flags(), environ, tmp_path)

    async with serving(LiveConfig(load(), load)) as api:
        assert await reload(api.app)
    (line,) = [
        record
        for record in caplog.records
        if record.name == "server.process.reload" and record.levelname == "WARNING"
    ]
    assert "at a restart only" in line.getMessage()
    assert line.getMessage().endswith(": callers, upstream.api_key")


def test_the_documents_name_what_needs_a_restart() -> None:
    (paragraph,) = [part for part in GUIDE.split("\n\n") if part.startswith("`SIGHUP`")]
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", paragraph[paragraph.index("Only\n") :].partition(" (and ")[0]))
    sections = set(re.findall(r"`\[([a-z]+)\]`", paragraph))
    keys = {f"{section}.{key}" for section, key in setting_fields()}
    assert keys >= LIVE
    assert keys - LIVE == named | {key for key in keys if key.partition(".")[0] in sections}


# -- real processes and real signals -----------------------------------------------------------------------------


class Flow:
    """The events that all readers of a test have got."""

    def __init__(self) -> None:
        self._count = 0
        self._grown = asyncio.Event()

    def add(self, piece: bytes) -> None:
        """Counts the ends of events."""
        self._count += piece.count(b"\n\n")
        self._grown.set()

    async def wait_more(self, count: int) -> None:
        """Returns when so many more have come."""
        wanted = self._count + count
        async with asyncio.timeout(20):
            while self._count < wanted:
                self._grown.clear()
                await self._grown.wait()


async def test_no_event_of_200_answers_is_lost_over_50_reloads(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(caller("load", "token"))
    body = {"message": "count", "model": "sandbox/long", "sandbox": {"tokens_per_s": 5, "tokens": 1_000_000}}
    async with (
        running_server("--sandbox", "--config", str(file)) as server,
        aiohttp.ClientSession(
            headers={"Authorization": "Bearer token"},
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=60),
        ) as http,
    ):
        begun: asyncio.Queue[str] = asyncio.Queue()
        flow = Flow()

        async def read() -> bytes:
            answer = b""
            async with http.post(f"{server.url}/chat", json=body) as response:
                begun.put_nowait(response.headers["X-Stream-Id"])
                async for piece in response.content.iter_any():
                    flow.add(piece)
                    answer += piece
            return answer

        readers = [asyncio.create_task(read()) for _ in range(200)]
        ids = [await begun.get() for _ in readers]
        for number in range(50):
            broken = "[server]\nping_interval_s = 0\n" if number % 2 else ""
            file.write_text(f"{broken}[streams]\nmax_active = {1000 - number}\n" + caller("load", "token"))
            server.process.send_signal(signal.SIGHUP)
            await server.wait_said(b"reloaded", number + 1)
            await flow.wait_more(40)
        assert server.output.count(b'"settings reloaded"') == 25
        assert server.output.count(b"settings not reloaded") == 25
        await asyncio.gather(*(http.delete(f"{server.url}/chat/{stream_id}") for stream_id in ids))
        answers = await asyncio.gather(*readers)
        assert await server.stop() == 0
    for answer in answers:
        assert_nothing_is_missing(parse_events(answer))


def assert_nothing_is_missing(events: list[Event]) -> None:
    """The numbers of the events follow each other, and so do the words of the answer, which counts."""
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    said = "".join(event.data["text"] for event in events if event.name == "content").split()
    assert said == [str(number) for number in range(1, len(said) + 1)]
    assert len(said) > 2
    assert events[-1].name == "done"
    assert events[-1].data["finish_reason"] == "cancelled"


async def test_a_plain_token_that_is_taken_out_gives_nothing_to_the_next_one(tmp_path: Path) -> None:
    """break-it 3: a caller is its token, not its place in a list."""
    file = tmp_path / "tokens"
    env = {"SERVER_TOKENS_FILE": str(file)}
    tokens = {name: f"token-of-{name}-{'x' * 20}" for name in ("ann", "bob", "eve")}
    file.write_text(f"{tokens['ann']}\n{tokens['bob']}\n")
    async with running_server("--sandbox", env=env) as server, aiohttp.ClientSession() as http:

        async def ask(name: str, path: str, **more: object) -> tuple[int, Any]:
            method = "POST" if more else "GET"
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            async with http.request(method, server.url + path, headers=headers, json=more or None) as response:
                return response.status, await response.json()

        for name in ("ann", "bob"):
            await ask(name, "/chat?stream=false", message=f"for {name} only", model="sandbox/echo")
        (of_ann,), (of_bob,) = [(await ask(name, "/chat"))[1]["data"] for name in ("ann", "bob")]
        figures = (await ask("bob", "/usage"))[1]
        file.write_text(f"{tokens['eve']}\n{tokens['bob']}\n")
        server.process.send_signal(signal.SIGHUP)
        await server.wait_said(b'"settings reloaded"')
        assert (await ask("ann", "/chat"))[0] == 401
        assert [each["stream_id"] for each in (await ask("bob", "/chat"))[1]["data"]] == [of_bob["stream_id"]]
        for name in ("bob", "eve"):
            assert (await ask(name, f"/chat/{of_ann['stream_id']}/result"))[0] == 404
        assert (await ask("bob", f"/chat/{of_bob['stream_id']}/result"))[0] == 200
        assert (await ask("bob", "/usage"))[1] == figures
        assert (await ask("eve", "/usage"))[1]["data"] == (await ask("eve", "/chat"))[1]["data"] == []
        assert figures["data"][0]["caller"] == f"token-{hash_token(tokens['bob'])[:8]}"
        assert await server.stop() == 0
    assert b'"caller":"token-' in server.output.replace(b'": "', b'":"')


async def test_a_signal_while_the_server_starts_is_kept_until_it_has(tmp_path: Path) -> None:
    """The file is a pipe: the server starts until somebody has written the settings into it."""
    file = tmp_path / "config.toml"
    os.mkfifo(file)
    process = await start_server("--sandbox", "--port", "0", "--config", str(file), cwd=str(tmp_path))
    server = ServerProcess(process)
    try:
        async with asyncio.timeout(20):
            with await asyncio.to_thread(file.open, "w") as pipe:  # open when the server reads it
                process.send_signal(signal.SIGHUP)
                pipe.write("")
            await server.wait_start()
            await asyncio.to_thread(file.write_text, caller("ann", "a"))
            await server.wait_said(b'"settings reloaded"')
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/chat") as response:
            assert response.status == 401
        assert await server.stop() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await server.wait_exit()


async def test_the_end_of_its_terminal_is_the_end_of_the_server() -> None:
    """A terminal that is closed sends the same signal; who started the server there wants it to end with it."""
    ours, its = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "os.execv(sys.executable, [sys.executable, '-m', 'server', '--sandbox', '--port', '0'])",
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)
        said = b""
        async with asyncio.timeout(20):
            while b"Serving http" not in said:
                said += await asyncio.to_thread(os.read, ours, 4096)
            os.close(ours)
            assert await process.wait() == 0

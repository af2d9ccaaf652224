"""The pieces of `compose.instances.yaml` as processes: its nginx, its store, and two servers with its settings."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import yaml  # type: ignore[import-untyped]  # what the schema tests bring

from client.sandbox import Hold, Reply, Sandbox
from tests.instances.callers import SHORT, Callers
from tests.instances.conftest import Fleet, Instance
from tests.shared.processes import KEY
from tests.support.chunks import END, STOP, text
from tests.support.engines import program_of
from tests.support.ports import free_port
from tests.support.process import ROOT
from tests.support.proxies.balancer import balanced
from tests.support.sse_reader import Event, parse_events

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.instances.yaml").read_text())
STORE = ROOT / "packaging" / "compose" / "valkey.conf"
TOKEN = "let-me-in-please"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """A Valkey with the file of the tree; the address that the compose file names, but for its host."""
    program = program_of("valkey")
    if program is None:
        pytest.skip("there is no valkey-server on this machine")
    port, folder = free_port(), tmp_path / "store"
    folder.mkdir()
    conf = STORE.read_text().replace("port 6379", f"port {port}").replace("bind * -::*", "bind 127.0.0.1")
    (folder / "valkey.conf").write_text(conf)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "valkey.conf"), "--dir", str(folder)], stdout=log)
    url: str = COMPOSE["x-instance"]["environment"]["REDIS_URL"].replace("valkey:6379", f"127.0.0.1:{port}")
    try:
        _wait_answers(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    with redis.Redis.from_url(url) as client:
        while process.poll() is None:
            try:
                client.ping()
            except redis.ConnectionError:
                continue
            return
    raise AssertionError("the store has ended")


@dataclass
class Service:
    """What the compose file makes.

    Attributes:
        url: nginx's.
        ports: of the processes behind it.
    """

    url: str
    ports: list[int]
    instances: list[Instance]
    fleet: Fleet
    stack: AsyncExitStack

    async def again(self, number: int) -> None:
        """Starts a process in the place of one that has ended."""
        self.instances[number] = await self.stack.enter_async_context(
            self.fleet.instance(f"again-{number}", port=self.ports[number])
        )


@pytest.fixture
async def service(store_url: str, upstream: Sandbox, tmp_path: Path) -> AsyncIterator[Service]:
    """Two processes behind nginx, with the settings of the compose file but for keys and addresses."""
    env = {name: str(value) for name, value in COMPOSE["x-instance"]["environment"].items() if "_FILE" not in name}
    env |= {
        "REDIS_URL": store_url,
        "REDIS_TEXT_KEY": KEY,
        "REDIS_LEASE": "2",
        "SERVER_TOKENS": TOKEN,
        "TRUSTED_PROXIES": "127.0.0.1",
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_PROTOCOLS": "messages",
    }
    fleet, ports, folder = Fleet(env, tmp_path), [free_port(), free_port()], tmp_path / "nginx"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        instances = [
            await stack.enter_async_context(fleet.instance(str(number), port=port))
            for number, port in enumerate(ports)
        ]
        url = await stack.enter_async_context(balanced(folder, ports))
        yield Service(url, ports, instances, fleet, stack)


async def owner_of(service: Service) -> int:
    """Which of the two has the one answer that runs."""
    active = [(await each.health())["streams"]["active"] for each in service.instances]
    assert sum(active) == 1
    return active.index(1)


@asynccontextmanager
async def begun(service: Service, http: aiohttp.ClientSession) -> AsyncIterator[tuple[str, aiohttp.ClientResponse]]:
    """An answer whose first piece has come through nginx: its id, and what is to be read."""
    async with http.post(f"{service.url}/chat", json={"message": "x"}, headers={"X-Stream-Grace": "60"}) as response:
        assert response.status == 200
        await response.content.readuntil(b'{"text":"a"}')
        yield response.headers["X-Stream-Id"], response


async def read_on(http: aiohttp.ClientSession, url: str, stream_id: str, after: int) -> list[Event]:
    """The rest of an answer."""
    headers = {"Last-Event-ID": f"{stream_id}:{after}"}
    async with http.get(f"{url}/chat/{stream_id}", headers=headers) as response:
        assert response.status == 200, await response.text()
        return parse_events(await response.read())


async def test_a_caller_who_comes_back_is_served_by_whichever_process_it_meets(
    service: Service, upstream: Sandbox
) -> None:
    hold = Hold()
    upstream.script(Reply.stream(text("a"), hold, text("b"), STOP, END))
    async with asyncio.timeout(60), aiohttp.ClientSession(headers=HEADERS) as http:
        async with begun(service, http) as (stream_id, _):
            pass  # it leaves
        urls = [service.url, *(f"http://127.0.0.1:{port}" for port in service.ports)]
        readers = [asyncio.create_task(read_on(http, url, stream_id, 1)) for url in urls]
        hold.until.set()
        rests = await asyncio.gather(*readers)
    assert rests[0] == rests[1] == rests[2]
    assert [event.data["text"] for event in rests[0] if event.name == "content"] == ["a", "b"]
    assert rests[0][-1].data["completed"] is True


async def test_the_other_tells_the_end_of_an_answer_whose_process_was_killed(
    service: Service, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text("a"), Hold()))
    async with asyncio.timeout(60), aiohttp.ClientSession(headers=HEADERS) as http:
        async with begun(service, http) as (stream_id, response):
            other = f"http://127.0.0.1:{service.ports[1 - await owner_of(service)]}"
            reading = asyncio.create_task(read_on(http, other, stream_id, 1))
            owner = service.instances[await owner_of(service)].process
            await _wait_copied(http, other, stream_id)
            await owner.stop(9)
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        rest = await reading
        assert [event.name for event in rest] == ["content", "error", "done"]
        assert rest[-2].data["type"] == "stream_interrupted"
        assert await read_on(http, service.url, stream_id, 1) == rest


async def _wait_copied(http: aiohttp.ClientSession, url: str, stream_id: str) -> None:
    """Returns when another process has the first piece."""
    async with http.get(f"{url}/chat/{stream_id}") as response:
        await response.content.readuntil(b'{"text":"a"}')


async def test_one_is_restarted_after_the_other_and_nobody_notices(service: Service, upstream: Sandbox) -> None:
    upstream.script_always(SHORT, path="/messages")
    callers = Callers(service.url, TOKEN)
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(callers.keep_asking(keeps_connection=number < 3))
        for number in range(2):
            await callers.wait_more(50)
            old = service.instances[number].process
            assert await old.stop() == 0
            await callers.wait_more(50)
            await service.again(number)
        await callers.wait_more(50)
        callers.stop.set()

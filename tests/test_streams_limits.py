"""What happens when logs reach their limits, through the real process."""

from __future__ import annotations

import asyncio
import socket

import aiohttp

from client.sandbox import open_sandbox
from tests.process import running_server
from tests.sse_reader import parse_events

TOKENS = 60_000
LONG = {"message": "x", "model": "sandbox/long", "sandbox": {"tokens_per_s": 0, "tokens": TOKENS}, "grace_s": 5}


async def test_an_answer_larger_than_its_log_reaches_its_reader_whole_and_cannot_be_read_again() -> None:
    async with (
        running_server("--sandbox", env={"STREAM_MAX_LOG_BYTES": "65536"}) as server,
        aiohttp.ClientSession() as http,
    ):
        async with http.post(f"{server.url}/chat", json=LONG) as response:
            events = parse_events(await response.read())
        assert [each.number for each in events] == list(range(1, len(events) + 1))
        assert len(events) > TOKENS
        assert events[-1].data["completed"] is True
        url = server.url + response.headers["Location"]
        for path in ("", "/result"):
            async with http.get(url + path) as gone:
                assert (gone.status, (await gone.json())["type"]) == (404, "not_found")
        async with http.get(url, headers={"Last-Event-ID": events[-2].id}) as last:
            assert parse_events(await last.read()) == events[-1:]
        async with http.get(f"{server.url}/health") as health:
            assert (await health.json())["streams"]["log_bytes"] < 2_000_000


async def test_upstream_is_read_no_faster_than_the_reader_once_the_log_is_full() -> None:
    async with open_sandbox() as upstream:
        env = {
            "STREAM_MAX_LOG_BYTES": "65536",
            "OPENROUTER_BASE_URL": upstream.base_url,
            "MODEL_NAME": "sandbox/long",
        }
        async with running_server(env=env) as server:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
            body = b'{"message": "x", "sandbox": {"tokens_per_s": 0, "tokens": 400000}, "grace_s": 0}'
            head = b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await reader.readexactly(15)
            call = await upstream.wait_call(0)
            sent = await _when_it_stands_still(server.url, call)
            assert sent < 40_000_000  # of about 100 MB
            for _ in range(200):
                await reader.read(65536)
            assert not call.closed.is_set()
            writer.transport.abort()
            async with asyncio.timeout(5):
                await call.closed.wait()


async def _when_it_stands_still(url: str, call: object) -> int:
    """Bytes that upstream has sent, once fifty requests in a row saw no more of them."""
    seen, same = -1, 0
    async with asyncio.timeout(20), aiohttp.ClientSession() as http:
        while same < 50:
            async with http.get(f"{url}/health") as health:
                await health.read()
            sent: int = call.bytes_sent  # type: ignore[attr-defined]
            same = same + 1 if sent == seen else 0
            seen = sent
    return seen

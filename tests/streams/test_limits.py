"""What happens when logs reach their limits, through the real process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp

from client.sandbox import Hold, Reply, Sandbox, open_sandbox
from tests.support.chunks import END, STOP, text
from tests.support.process import running_server
from tests.support.serving import question
from tests.support.sse_reader import parse_events, read_until, text_of

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
            body = b'{"message": "x", "sandbox": {"tokens_per_s": 0, "tokens": 800000}, "grace_s": 0}'
            head = b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await reader.readexactly(15)
            call = await upstream.wait_call(0)
            sent = await _when_it_stands_still(server.url, call)
            assert sent < _kernel_bytes() + 10_000_000  # of about 200 MB
            for _ in range(200):
                await reader.read(65536)
            assert not call.closed.is_set()
            writer.transport.abort()
            async with asyncio.timeout(5):
                await call.closed.wait()


def _kernel_bytes() -> int:
    """Most that can lie in the sockets between: two to write into, and one to read from that has no size set."""
    settings = Path("/proc/sys/net/ipv4")
    write, read = (int((settings / name).read_text().split()[2]) for name in ("tcp_wmem", "tcp_rmem"))
    return 2 * write + read


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


async def test_more_running_answers_than_the_limit_are_refused_until_one_has_ended(upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script_always(Reply.stream(text("x"), Hold(go_on), text("y"), STOP, END))
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "MAX_STREAMS": "3"}
    async with running_server(env=env) as server, aiohttp.ClientSession() as http, asyncio.timeout(20):
        running = [await http.post(f"{server.url}/chat", json=question()) for _ in range(3)]
        async with http.post(f"{server.url}/chat", json=question()) as refused:
            found = await refused.json()
        assert (refused.status, found["type"], refused.headers["Retry-After"]) == (503, "overloaded", "5")
        assert "streams.max_active" in found["error"]
        async with http.delete(server.url + running[0].headers["Location"]):
            pass
        running.append(await http.post(f"{server.url}/chat", json=question()))
        go_on.set()
        answers = [text_of(parse_events(await response.read())) for response in running]
        assert answers == ["x", "xy", "xy", "xy"]
        await server.wait_at_rest()


TINY = {"STREAM_MAX_TOTAL_BYTES": "65536", "STREAM_RETAIN": "60", "STREAM_GRACE": "60"}


async def test_when_all_logs_together_are_full_the_oldest_finished_one_goes_first(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x" * 20_000), STOP, END))
    env = {**TINY, "OPENROUTER_BASE_URL": upstream.base_url}
    async with running_server(env=env) as server, aiohttp.ClientSession() as http:
        urls = []
        for _ in range(5):
            async with http.post(f"{server.url}/chat", json=question()) as response:
                await response.read()
            urls.append(server.url + response.headers["Location"])
        found = []
        for url in urls:
            async with http.get(url) as again:
                found.append(again.status)
        assert found == [404, 200, 200, 200, 200] or found == [404, 404, 200, 200, 200]
        assert (await server.counts(http))["log_bytes"] < 65536 + 21_000


async def test_when_running_answers_take_all_memory_new_ones_are_refused_and_others_wait(upstream: Sandbox) -> None:
    """What one holds is free when it was stopped: the other goes on then."""
    go_on, fill = asyncio.Event(), asyncio.Event()
    words = [text(f"{number} ") for number in range(3000)]
    upstream.script(
        Reply.stream(text("begun"), Hold(go_on), *words, STOP, END),
        Reply.stream(text("begun"), Hold(fill), text("x" * 70_000), Hold()),
    )
    env = {**TINY, "OPENROUTER_BASE_URL": upstream.base_url}
    async with running_server(env=env) as server, aiohttp.ClientSession() as http, asyncio.timeout(20):
        waiting = await http.post(f"{server.url}/chat", json=question())
        body = await read_until(waiting, b"begun")
        large = await http.post(f"{server.url}/chat", json=question())
        await read_until(large, b"begun")
        large.close()
        while (await server.counts(http))["readers"] == 2:
            pass
        fill.set()
        while (await server.counts(http))["log_bytes"] < 65536:
            pass
        go_on.set()
        body += await read_until(waiting, b'"0 "')
        async with http.post(f"{server.url}/chat", json=question()) as refused:
            found = await refused.json()
        assert (refused.status, found["type"], refused.headers["Retry-After"]) == (503, "overloaded", "5")
        assert "streams.max_total_bytes" in found["error"]
        assert (await server.counts(http))["active"] == 2
        async with http.delete(server.url + large.headers["Location"]) as deleted:
            assert deleted.status == 200
        events = parse_events(body + await waiting.read())
        assert (len(events), events[-1].data["completed"]) == (3000 + 4, True)
        await server.wait_at_rest()

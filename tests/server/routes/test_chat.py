"""The chat routes of the real process, over real sockets, with a scripted OpenRouter behind it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client.sandbox import Call, HangUp, Hold, Pause, Reply, Sandbox, open_sandbox
from tests.support.chunks import COMMENT, DONE, END, STOP, chunk, event, text
from tests.support.process import ServerProcess, running_server
from tests.support.sse_reader import parse_events, read_until, text_of

KEY = "sk-or-v1-very-secret-0123456789"
SECRET_TEXT = "a text that no log may hold"
FAST = {
    "OPENROUTER_API_KEY": KEY,
    "PING_INTERVAL": "0.4",
    "OPENROUTER_IDLE_TIMEOUT": "0.8",
    "API_TIMEOUT": "1.2",
    "SHUTDOWN_TIMEOUT": "0.3",
    "STREAM_GRACE": "5",
    "MAX_BODY_BYTES": "2000",
    "HTTP_REFERER": "https://app.example",
    "X_TITLE": "App",
}


@pytest.fixture
async def upstream() -> AsyncIterator[Sandbox]:
    async with open_sandbox(settle_s=0) as sandbox:
        yield sandbox


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
async def server(request: pytest.FixtureRequest, upstream: Sandbox) -> AsyncIterator[ServerProcess]:
    env = {**FAST, "OPENROUTER_BASE_URL": upstream.base_url}
    async with running_server(env=env, uvloop=request.param) as process:
        yield process
        if process.process.returncode is None:
            await process.wait_at_rest()
        output = bytes(process.output)
        assert KEY.encode() not in output
        assert SECRET_TEXT.encode() not in output
        assert b"Traceback" not in output


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


def ask(**more: Any) -> dict[str, Any]:
    return {"message": SECRET_TEXT, "model": "acme/m", **more}


async def health(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    async with http.get(f"{server.url}/health") as response:
        found: dict[str, Any] = await response.json()
    return found


def assert_failure(found: dict[str, Any], type_: str, status: int) -> None:
    assert {"error", "type", "status", "retryable"} <= set(found)
    assert (found["type"], found["status"]) == (type_, status)
    assert KEY not in json.dumps(found)
    assert "<html" not in json.dumps(found)


async def test_an_answer_streams_as_events_with_its_headers(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    steps = (COMMENT, text("Hel"), text("lo"), STOP, END)
    upstream.script(Reply(steps, headers={"X-Generation-Id": "gen-1"}))
    async with http.post(f"{server.url}/chat?sort=price", json=ask(temperature=0.5, unknown={"a": [1]})) as response:
        events = parse_events(await response.read())
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Location"] == f"/chat/{response.headers['X-Stream-Id']}"
    assert response.headers["X-Generation-Id"] == "gen-1"
    assert [each.name for each in events] == ["start", "content", "content", "usage", "done"]
    assert [each.number for each in events] == [1, 2, 3, 4, 5]
    call = upstream.calls[0]
    assert call.json == {
        "model": "acme/m",
        "temperature": 0.5,
        "unknown": {"a": [1]},
        "messages": [{"role": "user", "content": SECRET_TEXT}],
        "stream": True,
        "provider": {"sort": "price"},
    }
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.headers["Accept-Encoding"] == "identity"
    assert (call.headers["HTTP-Referer"], call.headers["X-Title"]) == ("https://app.example", "App")
    assert call.headers["X-OpenRouter-Title"] == "App"


async def test_q77_q82_q91_failures_before_the_first_event_are_retried_and_none_after(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    slow_down = Reply.error(429, "slow", headers={"Retry-After": "0"})
    first = Reply.stream(COMMENT, event({"error": {"code": 503, "message": "busy"}, "choices": []}))
    upstream.script(slow_down, first, Reply.stream(text("x"), STOP, END))
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        assert text_of(parse_events(await response.read())) == "x"
    assert len(upstream.calls) == 3
    upstream.script(Reply.stream(text("x"), event({"error": {"code": 503, "message": "busy"}})))
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        names = [each.name for each in parse_events(await response.read())]
    assert names == ["start", "content", "error", "done"]
    assert len(upstream.calls) == 4
    upstream.script_always(slow_down)
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        assert response.status == 429
    assert len(upstream.calls) == 7


async def test_q70_q71_answers_that_break_end_with_one_error(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    cases = [
        (Reply.stream(text("a"), HangUp()), "stream_interrupted"),
        (Reply.stream(text("a"), HangUp(reset=True)), "stream_interrupted"),
        (Reply.stream(text("a"), text("🚀")[:-30], HangUp()), "stream_interrupted"),
        (Reply.stream(text("a"), Hold(asyncio.Event())), "upstream_timeout"),
    ]
    for reply, type_ in cases:
        upstream.script(reply, reply)
        async with http.post(f"{server.url}/chat", json=ask()) as response:
            events = parse_events(await response.read())
        assert [each.name for each in events] == ["start", "content", "error", "done"]
        assert events[2].data["type"] == type_
        assert events[3].data["finish_reason"] == "interrupted"
        async with http.post(f"{server.url}/chat?stream=false", json=ask()) as response:
            found = await response.json()
        assert response.status == 502
        assert found["partial"]["content"] == "a"
    assert (await health(http, server))["streams"]["active"] == 0


async def test_q97_a_silent_upstream_gets_pings_and_then_an_error_event(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    upstream.script(Reply.stream(text("never")).after(Hold(asyncio.Event())))
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        assert response.status == 200
        body = await response.read()
    assert b": ping\n\n" in body
    assert [each.name for each in parse_events(body)] == ["error", "done"]
    assert parse_events(body)[0].data["type"] == "upstream_timeout"


async def test_q96_comments_alone_end_by_the_limit_for_events_and_pings_go_on_meanwhile(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    upstream.script(Reply.stream(*[step for _ in range(24) for step in (COMMENT, Pause(0.25))]))
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        body = await response.read()
    events = parse_events(body)
    assert body.count(b": ping") >= 2
    assert [each.name for each in events] == ["error", "done"]
    assert "no event for 1.2 s" in events[0].data["error"]


def reset(response: aiohttp.ClientResponse) -> float:
    """Resets the caller's socket; returns when."""
    assert response.connection is not None
    transport = response.connection.transport
    assert transport is not None
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return time.monotonic()


async def closed_after_s(call: Call, since_s: float) -> float:
    async with asyncio.timeout(5):
        await call.closed.wait()
    assert call.cancelled
    assert call.closed_at_s is not None
    return call.closed_at_s - since_s


@pytest.mark.parametrize("where", ["before the head", "before the first token", "in mid-stream", "stream=false"])
async def test_q98_leaving_closes_upstream_at_once(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession, where: str
) -> None:
    silence = Hold(asyncio.Event())
    reply = Reply.stream(text("x"), silence) if where == "in mid-stream" else Reply.stream(COMMENT, silence)
    upstream.script(reply.after(silence) if where == "before the head" else reply)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = json.dumps(ask(grace_s=0, stream=where != "stream=false")).encode()
    head = "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    call = await upstream.wait_call(0)
    if where == "in mid-stream":
        async with asyncio.timeout(5):
            await reader.readuntil(b"event: content")
    writer.transport.abort()
    took_s = await closed_after_s(call, time.monotonic())
    print(f"upstream closed {took_s * 1000:.1f} ms after the caller left ({where})")
    assert took_s < 1


async def test_a_dropped_reader_comes_back_and_misses_nothing(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("one "), text("two "), Hold(go_on), text("three"), STOP, END))
    response = await http.post(f"{server.url}/chat", json=ask())
    first = parse_events(await read_until(response, b"two "))
    location = response.headers["Location"]
    reset(response)
    go_on.set()
    last_id = first[1].id
    async with http.get(f"{server.url}{location}", headers={"Last-Event-ID": last_id}) as again:
        rest = parse_events(await again.read())
    async with http.post(f"{server.url}/chat", json=ask(), headers={"Last-Event-ID": last_id}) as posted:
        assert parse_events(await posted.read()) == rest
    async with http.get(f"{server.url}{location}?last_event_id={last_id}") as queried:
        assert parse_events(await queried.read()) == rest
    async with http.get(f"{server.url}{location}") as whole:
        events = parse_events(await whole.read())
    assert events == first[:2] + rest
    assert text_of(events) == "one two three"
    assert [each.number for each in events] == list(range(1, len(events) + 1))
    async with http.get(f"{server.url}{location}", headers={"Last-Event-ID": events[-1].id}) as over:
        assert over.status == 204
    assert len(upstream.calls) == 1
    async with http.get(f"{server.url}{location}/result") as result:
        found = await result.json()
    assert (result.status, found["content"], found["usage"]["settled"]) == (200, "one two three", True)
    async with http.get(f"{server.url}/chat") as listed:
        assert (await listed.json())["data"][0]["state"] == "finished"


async def test_delete_stops_a_stream_and_its_cost_is_looked_up(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    upstream.script(Reply.stream(text("x"), Hold(asyncio.Event())))
    response = await http.post(f"{server.url}/chat", json=ask())
    body = await read_until(response, b"event: content")
    url = server.url + response.headers["Location"]
    async with http.get(f"{url}/result") as result:
        assert result.status == 202
    for _ in range(2):
        async with http.delete(url) as deleted:
            assert (await deleted.json())["finish_reason"] == "cancelled"
    events = parse_events(body + await response.read())
    assert events[-1].data == {"completed": False, "finish_reason": "cancelled", "native_finish_reason": None}
    assert await closed_after_s(upstream.calls[0], time.monotonic()) < 1
    async with http.get(f"{url}/result") as result:
        assert (await result.json())["usage"] == {"settled": False}


async def test_a_stream_that_nobody_reads_is_abandoned_after_its_grace(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    upstream.script(Reply.stream(text("x"), Hold(asyncio.Event())))
    response = await http.post(f"{server.url}/chat", json=ask(grace_s=0.2))
    await read_until(response, b"event: content")
    took_s = await closed_after_s(upstream.calls[0], reset(response))
    assert took_s >= 0.15
    async with http.get(f"{server.url}{response.headers['Location']}") as again:
        assert parse_events(await again.read())[-1].data["finish_reason"] == "abandoned"


async def test_ids_that_cannot_be_resumed_get_a_clear_answer(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        await response.read()
    stream_id = response.headers["X-Stream-Id"]
    cases = [("nonsense", 422), (f"{stream_id}:99", 422), ("AAAAAAAAAAAAAAAAAAAAAA:1", 404), (f"{stream_id}:-1", 422)]
    for last_id, status in cases:
        async with http.post(f"{server.url}/chat", json=ask(), headers={"Last-Event-ID": last_id}) as refused:
            assert refused.status == status, last_id
            assert_failure(await refused.json(), "not_found" if status == 404 else "invalid_request", status)
    for method in ("GET", "DELETE"):
        async with http.request(method, f"{server.url}/chat/unknown") as unknown:
            assert_failure(await unknown.json(), "not_found", 404)
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    "host", ["localhost:9902.evil.example", "127.0.0.1:1:2", "localhost.evil.example", "[::1", "@"]
)
async def test_a_host_that_only_begins_like_this_machine_is_refused(
    api: ServerProcess, http: aiohttp.ClientSession, host: str
) -> None:
    for url in (f"{api.url}/models", f"{api.url}/chat"):
        async with http.get(url, headers={"Host": host}) as refused:
            assert_failure(await refused.json(), "forbidden", 403)


async def test_tokens_are_needed_once_there_are_some(http: aiohttp.ClientSession) -> None:
    async with running_server("--sandbox", env={"SERVER_TOKENS": "one,two"}) as server:
        for header, status in ((None, 401), ("Bearer three", 401), ("Bearer one", 200), ("Bearer two", 200)):
            headers = {"Authorization": header} if header else {}
            async with http.get(f"{server.url}/chat", headers=headers) as response:
                assert response.status == status
        owner, other = {"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}
        async with http.post(f"{server.url}/chat", json={"message": "x"}, headers=owner) as response:
            await response.read()
        async with http.get(f"{server.url}{response.headers['Location']}", headers=other) as foreign:
            assert foreign.status == 404
        async with http.get(f"{server.url}/health") as probe:
            assert probe.status == 200


async def test_sigterm_tells_readers_and_ends(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    upstream.script(Reply.stream(text("x"), Hold(asyncio.Event())))
    response = await http.post(f"{server.url}/chat", json=ask())
    body = await read_until(response, b"event: content")
    stopping = asyncio.create_task(server.stop())
    body += await response.read()
    assert await stopping == 0
    events = parse_events(body)
    assert [each.name for each in events] == ["start", "content", "error", "done"]
    assert (events[2].data["type"], events[3].data["finish_reason"]) == ("shutting_down", "shutting_down")
    line = json.loads(re.findall(rb'\{.*"message": ?"chat".*\}', server.output)[0])
    assert (line["finish_reason"], line["error"], line["caller"]) == ("shutting_down", "shutting_down", "local")


async def test_a_chunk_with_an_image_larger_than_the_socket_takes_arrives_whole(
    upstream: Sandbox, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (3 << 20)}}
    upstream.script(Reply.stream(chunk({"images": [image]}), STOP, DONE))
    async with http.post(f"{server.url}/chat", json=ask()) as response:
        events = parse_events(await response.read())
    assert next(each.data for each in events if each.name == "image") == image

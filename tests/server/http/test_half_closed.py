"""A caller who has closed its sending side is answered; one who has gone stops upstream. Both send the same FIN."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from client.sandbox import COMMENT, Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.mcp.clients import ACCEPT
from tests.support.process import running_server
from tests.support.raw_http import exchange, read_reply
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import parse_events


def post(path: str = "/chat", version: str = "1.1", more: str = "", **body: object) -> bytes:
    data = json.dumps({"message": "Why?", "model": "acme/m", **body}).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/models", "/models/search?q=x", "/chat", "/usage", "/metrics"]
)
async def test_break_it_17_a_half_closed_sender_gets_what_it_asked_for(api: Api, path: str) -> None:
    [reply] = await exchange(api.port, get(path), half_close=True)
    assert (reply.status, reply.interim) == (200, ())  # and the connection is closed, or this would wait on


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "slow"])
async def test_break_it_17_a_half_closed_sender_gets_its_stream(
    upstream: Sandbox, api: Api, version: str, is_slow: bool
) -> None:
    silence = Hold()
    upstream.script(Reply.stream(text("x"), *([silence] if is_slow else []), text("y"), STOP, END))
    asking = asyncio.create_task(exchange(api.port, post(version=version), half_close=True))
    if is_slow:
        await upstream.wait_call(0)
        await asyncio.sleep(0.3)  # until it was looked twice whether the caller is there
        silence.until.set()
    [reply] = await asking
    assert reply.status == 200
    events = parse_events(reply.body)
    assert [event.name for event in events] == ["start", "content", "content", "usage", "done"]


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "slow"])
async def test_break_it_17_a_half_closed_sender_gets_its_whole_answer(
    upstream: Sandbox, api: Api, is_slow: bool
) -> None:
    silence = Hold()
    upstream.script(Reply.stream(*([silence] if is_slow else []), text("x"), STOP, END))
    asking = asyncio.create_task(exchange(api.port, post(stream=False), half_close=True))
    if is_slow:
        await upstream.wait_call(0)
        await asyncio.sleep(0.3)
        silence.until.set()
    [reply] = await asking
    assert (reply.status, reply.json["content"]) == (200, "x")
    assert reply.interim == ((100,) if is_slow else ())


async def test_break_it_17_a_half_closed_sender_gets_upstreams_verdict_as_status(upstream: Sandbox, api: Api) -> None:
    silence = Hold()
    upstream.script(Reply.error(402, "No credits").after(silence))
    asking = asyncio.create_task(exchange(api.port, post(), half_close=True))
    await upstream.wait_call(0)
    await asyncio.sleep(0.3)
    silence.until.set()
    [reply] = await asking
    assert (reply.status, reply.interim) == (402, (100,))


async def test_break_it_17_an_older_client_is_told_nothing_in_between(upstream: Sandbox, api: Api) -> None:
    silence = Hold()
    upstream.script(Reply.stream(text("x"), STOP, END).after(silence))
    asking = asyncio.create_task(exchange(api.port, post(version="1.0", stream=False), half_close=True))
    await upstream.wait_call(0)
    await asyncio.sleep(0.3)
    silence.until.set()
    [reply] = await asking
    assert (reply.status, reply.interim) == (200, ())


async def test_break_it_17_all_requests_of_a_half_closed_sender_are_answered(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    sent = get("/health") + post(stream=False) + get("/ready") + get("/nowhere")
    replies = await exchange(api.port, sent, half_close=True)
    assert [reply.status for reply in replies] == [200, 200, 200, 404]
    assert [reply.headers.get("connection") for reply in replies] == [None, None, None, "close"]


async def test_break_it_17_a_half_closed_mcp_client_gets_its_answer(upstream: Sandbox, api: Api) -> None:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    message["params"] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "0"},
    }
    data = json.dumps(message).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: {ACCEPT['Accept']}\r\nContent-Type: application/json\r\n"
    )
    sent = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
    [reply] = await exchange(api.port, sent, half_close=True, timeout_s=30)
    assert reply.status == 200
    assert b"serverInfo" in reply.body


async def test_a_body_that_ends_too_early_is_refused_and_nothing_is_asked(upstream: Sandbox, api: Api) -> None:
    [reply] = await exchange(api.port, post()[:-3], half_close=True)
    assert (reply.status, reply.json["type"]) == (400, "invalid_json")
    assert reply.headers["connection"] == "close"
    assert not upstream.requests


async def test_a_connection_that_is_closed_without_a_request_is_closed(api: Api) -> None:
    assert await exchange(api.port, half_close=True) == []
    assert [reply.status for reply in await exchange(api.port, get("/health"), half_close=True)] == [200]


async def test_who_half_closes_after_the_answer_is_not_waited_for(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(get("/health"))
    async with asyncio.timeout(10):
        assert (await read_reply(reader)).status == 200
        writer.write_eof()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


def moment_of_leaving(name: str) -> tuple[Reply, bool, bytes]:
    """What upstream does, whether a stream was asked for, what is awaited before."""
    return {
        "before the head": (Reply.stream().after(Hold()), True, b""),
        "before the first token": (Reply.stream(COMMENT, Hold()), True, b"\r\n\r\n"),
        "mid-stream": (Reply.stream(text("x"), Hold()), True, b"event: content"),
        "stream=false": (Reply.stream(text("x"), Hold()), False, b""),
    }[name]


@pytest.mark.parametrize("moment", ["before the head", "before the first token", "mid-stream", "stream=false"])
async def test_who_half_closes_first_and_leaves_then_stops_upstream(
    upstream: Sandbox, config: Config, moment: str
) -> None:
    reply, stream, awaited = moment_of_leaving(moment)
    upstream.script(reply)
    async with serving(changed(config, "streams", grace_s=0.0)) as api, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(post(stream=stream))
        call = await upstream.wait_call(0)
        if awaited:
            await reader.readuntil(awaited)
        writer.write_eof()
        await asyncio.sleep(0.2)  # until it was looked whether the caller is there
        assert not call.closed.is_set()
        writer.transport.abort()
        await call.closed.wait()
        assert call.cancelled


async def test_an_answer_goes_on_at_its_grace_after_its_reader_has_left(upstream: Sandbox, config: Config) -> None:
    silence = Hold()
    upstream.script(Reply.stream(text("x"), silence, text("y"), STOP, END))
    async with serving(changed(config, "streams", grace_s=10.0)) as api, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(post())
        await reader.readuntil(b"event: content")
        writer.close()
        [stream] = api.streams.kept_of("local")
        while stream.readers:
            await api.request("GET", "/health")
        silence.until.set()
        await stream.ended.wait()
        assert stream.finish_reason == "stop"


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_break_it_17_a_process_answers_half_closed_senders_by_a_unix_socket_too(
    upstream: Sandbox, uvloop: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    path = str(tmp_path_factory.mktemp("s") / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        env = {"OPENROUTER_BASE_URL": upstream.base_url}
        async with running_server(env=env, uvloop=uvloop, passed=[listener]), asyncio.timeout(10):
            for request in (get("/health"), post(), post(stream=False)):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(request)
                writer.write_eof()
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                writer.close()

"""What an open answer no longer needs of aiohttp is let go, and a connection serves on as if it were there."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import deque

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from client.sandbox import Hold, Reply, Sandbox
from client.upstream.exchange import Exchange
from client.upstream.tap import TappedResponse
from client.upstream.upload import Upload
from server.config import Config
from server.http.connection import Connection
from server.http.malformed import MAX_FIELD_BYTES
from tests.support.chunks import END, STOP, text
from tests.support.raw_http import read_reply
from tests.support.serving import Api, question


def post(**more: object) -> bytes:
    data = json.dumps(question(**more)).encode()
    head = "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


def open_connection() -> Connection:
    """The connection of the answer that is open."""
    found = [each for each in gc.get_objects() if isinstance(each, Connection) and each._current_request is not None]
    [connection] = [each for each in found if each.transport is not None]
    return connection


def open_replies(config: Config) -> list[TappedResponse | Exchange]:
    """Upstream's: as aiohttp makes them, or without."""
    found = [each for each in gc.get_objects() if isinstance(each, TappedResponse | Exchange)]
    return [
        each for each in found if each.connection is not None and each.url.port == URL(config.upstream.base_url).port
    ]


@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "head first"])
@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
async def test_the_heads_and_the_parser_of_an_open_answer_are_let_go(
    upstream: Sandbox, config: Config, api: Api, monkeypatch: pytest.MonkeyPatch, pieces: int, is_large: bool
) -> None:
    more, asked = Hold(), post()
    if is_large:
        monkeypatch.setattr(Upload, "SMALL_BYTES", 10)
    upstream.script(Reply.stream(text("x"), more, text("y"), STOP, END))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    split = len(asked) if pieces == 1 else asked.index(b"\r\n\r\n") + 4
    writer.write(asked[:split])
    if pieces == 2:
        await asyncio.sleep(0.05)
        writer.write(asked[split:])
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    await reader.readuntil(b'"x"')
    connection = open_connection()
    request = connection._current_request
    assert request is not None
    assert (len(request.headers), len(request.raw_headers), connection._parser) == (0, 0, None)
    assert connection._keepalive_handle is None
    assert connection._head_timer is None
    assert not isinstance(request.content._buffer, deque)
    [reply] = open_replies(config)
    assert isinstance(reply, TappedResponse) is is_large
    if isinstance(reply, TappedResponse):
        assert (len(reply.headers), reply.raw_headers, reply.request_info) == (0, (), None)
        assert not isinstance(reply.content._buffer, deque)
    else:
        assert not isinstance(reply._protocol._buffer, deque)
    more.until.set()
    await reader.readuntil(b"0\r\n\r\n")
    writer.write(get("/health"))
    assert (await read_reply(reader)).status == 200
    assert connection._keepalive_handle is not None
    writer.close()


async def test_a_request_that_comes_while_an_answer_is_open_is_served_after_it(upstream: Sandbox, api: Api) -> None:
    more = Hold()
    upstream.script(Reply.stream(text("x"), more, text("y"), STOP, END))
    upstream.script(Reply.stream(text("z"), STOP, END))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(post())
    await reader.readuntil(b'"x"')
    rest = get("/health") + post(message="again")
    writer.write(rest[:30])
    await asyncio.sleep(0.05)
    writer.write(rest[30:])
    await asyncio.sleep(0.05)
    more.until.set()
    await reader.readuntil(b"0\r\n\r\n")
    assert (await read_reply(reader)).status == 200
    assert b'"z"' in (await read_reply(reader)).body
    writer.close()


async def test_a_head_behind_an_open_answer_has_the_same_limits(upstream: Sandbox, api: Api) -> None:
    more = Hold()
    upstream.script(Reply.stream(text("x"), more, STOP, END))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(post())
    await reader.readuntil(b'"x"')
    writer.write(get("/health", f"X: {'x' * (MAX_FIELD_BYTES + 1)}\r\n"))
    more.until.set()
    await reader.readuntil(b"0\r\n\r\n")
    assert (await read_reply(reader)).status == 431
    writer.close()


async def test_aiohttp_has_the_names_that_are_let_go() -> None:
    """Else nothing is, and an open answer takes 5 kB more."""
    request = make_mocked_request("GET", "/")
    assert {"_message", "_headers", "_cache"} <= vars(request).keys()
    assert {"_headers"} <= vars(web.StreamResponse()).keys()
    loop = asyncio.get_running_loop()
    assert isinstance(StreamReader(ResponseHandler(loop), 1, loop=loop)._buffer, deque)
    assert isinstance(ResponseHandler(loop)._buffer, deque)
    assert isinstance(web.RequestHandler(web.Server(answer), loop=loop)._messages, deque)
    assert {"_headers", "_raw_headers"} <= aiohttp.ClientResponse.__annotations__.keys()


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()

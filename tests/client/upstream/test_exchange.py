"""Requests that are put together once, and replies that aiohttp does not see: as those of its own session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from client.border.media_type import media_type
from client.upstream.chunked import stream_head
from client.upstream.exchange import Endpoint
from client.upstream.tap import hand_on

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
HEADERS = {"Authorization": "Bearer key", "Accept": "text/event-stream", "Content-Type": "application/json"}


class Upstream:
    """Answers each request of a connection with the next of `replies`; keeps what it was sent."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = list(replies)
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(size))
                reply = self.replies.pop(0)
                if not reply:
                    break
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asked(upstream: Upstream) -> AsyncIterator[aiohttp.ClientSession]:
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?a=b%20c"
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(headers={"User-Agent": "tests"}, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield session
    server.close()


def endpoint_of(upstream: Upstream, session: aiohttp.ClientSession) -> Endpoint:
    return Endpoint(session, URL(upstream.url, encoded=True), HEADERS, aiohttp.ClientTimeout())


@pytest.mark.parametrize("more", [{}, {"traceparent": "00-1", "accept": "application/json"}])
async def test_a_request_has_what_a_session_would_send(more: dict[str, str]) -> None:
    upstream = Upstream(HEAD + END, HEAD + END)
    async with asked(upstream) as session:
        url = URL(upstream.url, encoded=True)
        headers = {name: value for name, value in HEADERS.items() if name.lower() not in more} | more
        async with session.post(url, data=b'{"a":"\xc3\xa4"}', headers=headers) as response:
            await response.read()
        reply = await endpoint_of(upstream, session).post(b'{"a":"\xc3\xa4"}', more)
        reply.close()
    heads, bodies = zip(*(request.split(b"\r\n\r\n") for request in upstream.requests), strict=True)
    (first_line, *sent), (our_first_line, *ours) = (head.lower().split(b"\r\n") for head in heads)
    assert our_first_line == first_line
    assert sorted(ours) == sorted(sent)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("value", ["a\r\nHost: other", "a\nb", "a\0b"])
async def test_a_header_that_would_be_more_than_one_is_not_sent(value: str) -> None:
    upstream = Upstream()
    async with asked(upstream) as session:
        with pytest.raises(ValueError, match="header"):
            await endpoint_of(upstream, session).post(b"{}", {"tracestate": value})
    assert not upstream.connections


async def test_a_connection_is_used_again_once_its_reply_is_whole() -> None:
    upstream = Upstream(HEAD + b"1\r\na\r\n" + END, HEAD + END, b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno")
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        for status in (200, 200, 404):
            reply = await endpoint.post(b"{}")
            assert reply.status == status
            await hand_on(reply, lambda body: True)
            assert reply.content.at_eof()
            reply.release()
    assert upstream.connections == 1


@pytest.mark.parametrize("stray", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold", b"x"])
async def test_what_nobody_has_asked_for_is_no_reply_to_the_next_request(stray: bytes) -> None:
    upstream = Upstream(HEAD + END + stray, HEAD + END)
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        reply = await endpoint.post(b"{}")
        await asyncio.wait([asyncio.ensure_future(hand_on(reply, lambda body: True))])
        if reply.content.at_eof() and reply.content.exception() is None:
            reply.release()
        else:
            reply.close()
        again = await endpoint.post(b"{}")
        assert again.tap is not None
        again.close()
    assert upstream.connections == 2


async def test_aiohttp_uses_a_connection_that_was_used_here_and_gives_it_back() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    upstream = Upstream(HEAD + b"1\r\na\r\n" + END, whole, HEAD + b"1\r\nb\r\n" + END, HEAD + b"1\r\nc\r\n" + END)
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        taken: list[bytes] = []

        def take(body: bytes) -> bool:
            taken.append(body)
            return True

        reply = await endpoint.post(b"{}")
        await hand_on(reply, take)
        reply.release()
        async with session.post(upstream.url, data=b"{}") as response:
            await hand_on(response, take)
        async with session.post(upstream.url, data=b"{}") as response:
            assert await response.read() == b"b"
        reply = await endpoint.post(b"{}")
        await hand_on(reply, take)
        reply.release()
        assert taken == [b"a", b"body", b"c"]
    assert upstream.connections == 1


async def test_a_connection_that_ends_while_it_waits_is_not_used_again() -> None:
    upstream = Upstream(HEAD + END, HEAD + END)
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        for _ in range(2):
            reply = await endpoint.post(b"{}")
            await hand_on(reply, lambda body: True)
            connection = reply.connection
            assert connection is not None
            protocol = connection.protocol
            assert protocol is not None
            reply.release()
            upstream.hang_up()
            async with asyncio.timeout(5):
                assert protocol.closed is not None
                await protocol.closed
    assert upstream.connections == 2


async def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    upstream = Upstream(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + END, HEAD + END)
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        for _ in range(2):
            reply = await endpoint.post(b"{}")
            assert reply.tap is not None
            await hand_on(reply, lambda body: True)
            reply.release()
    assert upstream.connections == 2


async def test_bytes_that_come_while_a_connection_waits_cost_it() -> None:
    upstream = Upstream(HEAD + END, HEAD + END)
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        reply = await endpoint.post(b"{}")
        await hand_on(reply, lambda body: True)
        connection = reply.connection
        assert connection is not None
        protocol = connection.protocol
        reply.release()
        assert protocol is not None
        protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        again = await endpoint.post(b"{}")
        assert again.tap is not None
        again.close()
    assert upstream.connections == 2


@pytest.mark.parametrize("reply", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"])
async def test_what_is_no_reply_is_an_error_of_aiohttp(reply: bytes) -> None:
    upstream = Upstream(reply)
    async with asked(upstream) as session:
        with pytest.raises(aiohttp.ClientError):
            await endpoint_of(upstream, session).post(b"{}")


async def test_what_is_said_before_a_reply_is_passed_over() -> None:
    upstream = Upstream(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HEAD + END)
    async with asked(upstream) as session:
        reply = await endpoint_of(upstream, session).post(b"{}")
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        reply.close()


async def test_a_session_that_is_closed_sends_nothing() -> None:
    upstream = Upstream()
    async with asked(upstream) as session:
        endpoint = endpoint_of(upstream, session)
        await session.close()
        with pytest.raises(RuntimeError, match="closed"):
            await endpoint.post(b"{}")


NAMES = st.sampled_from(
    ["Content-Type", "X-Generation-Id", "Connection", "Transfer-Encoding", "Content-Length", "Date", "X-É", "A b", ""]
)
VALUES = st.sampled_from(
    ["text/event-stream", "close", "keep-alive", "chunked", "gen-1", "5", "é", "a\tb", "\x01", ""]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.sampled_from(["OK", "", "\x7f", "é"]))
async def test_aiohttp_reads_every_head_that_is_taken_the_same_way(
    headers: list[tuple[str, str]], reason: str
) -> None:
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
    start = f"HTTP/1.1 200 {reason}\r\n".encode("latin-1")
    head = b"".join([start, b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", *lines, b"\r\n"])
    found = stream_head(head)
    if found is None:
        return
    protocol = ResponseHandler(asyncio.get_running_loop())
    protocol.set_response_params(read_until_eof=True)
    protocol.data_received(head)
    message, payload = await protocol.read()
    assert found.size == len(head)
    assert (message.code, message.should_close, message.chunked) == (200, not found.stays, True)
    assert message.headers.get("X-Generation-Id") == found.generation_id
    assert media_type(message.headers["Content-Type"]) == "text/event-stream"
    payload.feed_eof()

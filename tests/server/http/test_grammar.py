"""HTTP/1.1 byte by byte: what RFC 9110 and RFC 9112 ask for, and every refusal in the one error shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.raw_http import RawReply, exchange, read_reply
from tests.support.serving import Api, changed, serving, with_tokens

HOST = b"Host: localhost\r\n"
BODY = b'{"message":"x"}'
TYPE = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: 15\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"f\r\n" + BODY + b"\r\n0\r\n\r\n"


def get(*fields: bytes, line: bytes = b"GET /health HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(fields) + b"Connection: close\r\n\r\n"


def post(*fields: bytes, body: bytes = BODY, line: bytes = b"POST /chat HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + TYPE + b"".join(fields) + b"Connection: close\r\n\r\n" + body


TAKEN: dict[str, bytes] = {
    "a plain request": get(),
    "empty lines before it (9112, 2.2)": b"\r\n\r\n" + get(),
    "HTTP/1.0 without Host": b"GET /health HTTP/1.0\r\n\r\n",
    "absolute form (9112, 3.2.2)": get(line=b"GET http://localhost/health HTTP/1.1"),
    "absolute form in the name of another Host": get(
        line=b"GET http://localhost/health HTTP/1.1", host=b"Host: other\r\n"
    ),
    "two spaces (9112, 3: may be taken)": get(line=b"GET  /health HTTP/1.1"),
    "Host with a port": get(host=b"Host: localhost:8000\r\n"),
    "Host of IPv6": get(host=b"Host: [::1]:8000\r\n"),
    "an empty Host": get(host=b"Host:\r\n"),
    "blanks around a value": get(b"X-A: \t b \t \r\n"),
    "a tab in a value": get(b"X-A: a\tb\r\n"),
    "bytes above ASCII in a value": get(b"X-A: \xff\xfe\r\n"),
    "an empty value": get(b"X-A:\r\n"),
    "a header just below the limit": get(b"X-A: " + b"a" * 8000 + b"\r\n"),
    "100 headers": get(*[b"X-%d: a\r\n" % number for number in range(100)]),
    "a body where none is wanted": get(b"Content-Length: 3\r\n") + b"abc",
    "a chunked body where none is wanted": get(CHUNKED) + CHUNKS,
    "an upgrade that is not wanted": get(b"Upgrade: h2c\r\n"),
    "Expect of HTTP/1.0 (9110, 10.1.1)": b"GET /health HTTP/1.0\r\nExpect: x\r\n\r\n",
    "an empty Expect": get(b"Expect:\r\n"),
    "Expect without a body": get(b"Expect: 100-continue\r\n"),
}

STARTS_AN_ANSWER: dict[str, bytes] = {
    "a length": post(LENGTH),
    "a length with zeros": post(b"Content-Length: 0015\r\n"),
    "chunks": post(CHUNKED, body=CHUNKS),
    "chunks in capitals": post(b"Transfer-Encoding: CHUNKED\r\n", body=CHUNKS.replace(b"f\r\n", b"F\r\n", 1)),
    "a chunk for each byte": post(CHUNKED, body=b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"),
    "an extension of a chunk": post(CHUNKED, body=CHUNKS.replace(b"f\r\n", b'f;a=b;c="d e"\r\n', 1)),
    "a trailer": post(CHUNKED, body=CHUNKS[:-2] + b"X-A: b\r\n\r\n"),
    "zeros before a chunk's size": post(CHUNKED, body=CHUNKS.replace(b"f\r\n", b"000f\r\n", 1)),
}

REFUSED: dict[str, tuple[int, bytes]] = {
    # the first line
    "no version (HTTP/0.9)": (505, b"GET /health\r\n\r\n"),
    "HTTP/0.9, said": (505, get(line=b"GET /health HTTP/0.9")),
    "HTTP/1.2": (505, get(line=b"GET /health HTTP/1.2")),
    "HTTP/2.0": (505, get(line=b"GET /health HTTP/2.0")),
    "HTTP/3.0": (505, get(line=b"GET /health HTTP/3.0")),
    "how HTTP/2 begins": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a version of one digit": (400, get(line=b"GET /health HTTP/1")),
    "a version of two digits": (400, get(line=b"GET /health HTTP/11.1")),
    "a version in small letters": (400, get(line=b"GET /health http/1.1")),
    "another protocol": (400, get(line=b"GET /health ICE/1.0")),
    "an unknown method (9110, 9.1)": (501, get(line=b"FOO /health HTTP/1.1")),
    "a method in small letters": (501, get(line=b"get /health HTTP/1.1")),
    "a method with a wrong character": (400, get(line=b"G@T /health HTTP/1.1")),
    "no method": (400, get(line=b" /health HTTP/1.1")),
    "a method that is not for this route": (405, get(line=b"PURGE /health HTTP/1.1")),
    "TRACE": (405, get(line=b"TRACE /health HTTP/1.1")),
    "CONNECT": (501, get(line=b"CONNECT localhost:80 HTTP/1.1")),
    "tabs for spaces": (400, get(line=b"GET\t/health\tHTTP/1.1")),
    "a space at the end": (400, get(line=b"GET /health HTTP/1.1 ")),
    "a space in the address": (400, get(line=b"GET /hea lth HTTP/1.1")),
    "no address": (400, get(line=b"GET HTTP/1.1")),
    "an address without a slash": (400, get(line=b"GET health HTTP/1.1")),
    "an asterisk for GET": (400, get(line=b"GET * HTTP/1.1")),
    "a fragment": (400, get(line=b"GET /health#x HTTP/1.1")),
    "absolute form without a host (9110, 4.2.1)": (400, get(line=b"GET http:///health HTTP/1.1")),
    "absolute form with a user (9110, 4.2.4)": (400, get(line=b"GET http://u@localhost/health HTTP/1.1")),
    "a control character in the address": (400, get(line=b"GET /\x01 HTTP/1.1")),
    "NUL in the address": (400, get(line=b"GET /\x00 HTTP/1.1")),
    "DEL in the address": (400, get(line=b"GET /\x7f HTTP/1.1")),
    "an address above ASCII": (400, get(line="GET /é HTTP/1.1".encode())),
    "an address of 20 kB": (414, get(line=b"GET /" + b"a" * 20_000 + b" HTTP/1.1")),
    "an address of 1 MB": (414, get(line=b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1")),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 300),
    "no HTTP at all": (400, b"\x00\x01\x02\r\n\r\n"),
    # line ends
    "lines that end with LF": (400, b"GET /health HTTP/1.1\nHost: localhost\n\n"),
    "a header that ends with LF": (400, get(b"X-A: b\nX-B: c\r\n")),
    "lines that end with CR": (400, b"GET /health HTTP/1.1\rHost: localhost\r\r"),
    "a bare CR in a value": (400, get(b"X-A: b\rc\r\n")),
    # headers
    "no Host (9112, 3.2)": (400, get(host=b"")),
    "two Hosts": (400, get(HOST)),
    "Host with a user": (400, get(host=b"Host: evil.com:80@localhost\r\n")),
    "Host with a fragment": (400, get(host=b"Host: localhost#evil\r\n")),
    "Host with a path": (400, get(host=b"Host: localhost/evil\r\n")),
    "Host with a query": (400, get(host=b"Host: localhost?evil\r\n")),
    "Host with a backslash": (400, get(host=b"Host: localhost\\evil\r\n")),
    "Host with a space": (400, get(host=b"Host: a b\r\n")),
    "Host above ASCII": (400, get(host="Host: é\r\n".encode())),
    "Host with half a bracket": (400, get(host=b"Host: [::1\r\n")),
    "Host with a wrong port": (400, get(host=b"Host: localhost:http\r\n")),
    "a folded line (9112, 5.2)": (400, get(b"X-A: b\r\n c\r\n")),
    "a blank before the first header": (400, get(host=b" Host: localhost\r\n")),
    "a space before the colon (9112, 5.1)": (400, get(host=b"Host : localhost\r\n")),
    "a space in a name": (400, get(b"X A: b\r\n")),
    "no colon": (400, get(b"X-A\r\n")),
    "no name": (400, get(b": b\r\n")),
    "a control character in a name": (400, get(b"X\x01A: b\r\n")),
    "a name above ASCII": (400, get(b"X\xe9: b\r\n")),
    "a control character in a value (9110, 5.5)": (400, get(b"X-A: a\x01b\r\n")),
    "NUL in a value": (400, get(b"X-A: a\x00b\r\n")),
    "DEL in a value": (400, get(b"X-A: a\x7fb\r\n")),
    "two Content-Types": (400, post(TYPE, LENGTH)),
    "a header of 20 kB": (431, get(b"X-A: " + b"a" * 20_000 + b"\r\n")),
    "a header of 1 MB": (431, get(b"X-A: " + b"a" * 1_000_000 + b"\r\n")),
    "a name of 20 kB": (431, get(b"a" * 20_000 + b": b\r\n")),
    "200 headers": (431, get(*[b"X-%d: a\r\n" % number for number in range(200)])),
    "Expect of something else (9110, 10.1.1)": (417, get(b"Expect: 200-ok\r\n")),
    "Expect of two things": (417, post(b"Expect: 100-continue, x\r\n", LENGTH)),
    # lengths
    "a length and chunks (9112, 6.3)": (400, post(LENGTH, CHUNKED, body=CHUNKS)),
    "chunks and a length": (400, post(CHUNKED, LENGTH, body=CHUNKS)),
    "a length twice": (400, post(LENGTH, LENGTH)),
    "two lengths": (400, post(LENGTH, b"Content-Length: 16\r\n")),
    "a list of lengths": (400, post(b"Content-Length: 15, 15\r\n")),
    "a length below zero": (400, post(b"Content-Length: -1\r\n")),
    "a length with a plus": (400, post(b"Content-Length: +15\r\n")),
    "a length in hexadecimal": (400, post(b"Content-Length: 0xf\r\n")),
    "a length with an exponent": (400, post(b"Content-Length: 1e1\r\n")),
    "a length with an underscore": (400, post(b"Content-Length: 1_5\r\n")),
    "a length with a space": (400, post(b"Content-Length: 1 5\r\n")),
    "an empty length": (400, post(b"Content-Length:\r\n")),
    "a length beyond 64 bits": (400, post(b"Content-Length: " + b"9" * 40 + b"\r\n")),
    "a length just within 64 bits": (413, post(b"Content-Length: 9999999999999999999\r\n")),
    # codings
    "chunks that are packed (9112, 6.1)": (501, post(b"Transfer-Encoding: gzip, chunked\r\n", body=CHUNKS)),
    "identity and chunks": (501, post(b"Transfer-Encoding: identity, chunked\r\n", body=CHUNKS)),
    "a coding without chunks (9112, 6.3)": (400, post(b"Transfer-Encoding: gzip\r\n")),
    "identity": (400, post(b"Transfer-Encoding: identity\r\n")),
    "chunks twice (9112, 6.1)": (400, post(b"Transfer-Encoding: chunked, chunked\r\n", body=CHUNKS)),
    "chunks on two lines": (400, post(CHUNKED, CHUNKED, body=CHUNKS)),
    "something after chunks": (400, post(b"Transfer-Encoding: chunked, gzip\r\n", body=CHUNKS)),
    "almost chunked": (400, post(b"Transfer-Encoding: xchunked\r\n", body=CHUNKS)),
    "a vertical tab before chunked": (400, post(b"Transfer-Encoding: \x0bchunked\r\n", body=CHUNKS)),
    "chunks in HTTP/1.0 (9112, 6.1)": (400, post(CHUNKED, body=CHUNKS, line=b"POST /chat HTTP/1.0")),
    # chunks
    "a size that is none": (400, post(CHUNKED, body=b"zz\r\n" + CHUNKS)),
    "a size below zero": (400, post(CHUNKED, body=b"-" + CHUNKS)),
    "a size with 0x": (400, post(CHUNKED, body=b"0x" + CHUNKS)),
    "a size and a blank": (400, post(CHUNKED, body=CHUNKS.replace(b"f\r\n", b"f \r\n", 1))),
    "no size": (400, post(CHUNKED, body=b"\r\n" + CHUNKS)),
    "a size beyond 64 bits": (400, post(CHUNKED, body=b"f" * 21 + b"\r\n")),
    "a size above the limit": (413, post(CHUNKED, body=b"7fffffff\r\n" + b"a" * 100_000)),
    "chunks whose lines end with LF": (400, post(CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n"))),
    "a chunk that is longer than it says": (400, post(CHUNKED, body=CHUNKS.replace(b"f\r\n", b"e\r\n", 1))),
    "LF in an extension": (400, post(CHUNKED, body=CHUNKS.replace(b"f\r\n", b'f;a="b\nc"\r\n', 1))),
}


@pytest.fixture(autouse=True)
def nothing_is_logged_as_our_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.fixture
async def answering(upstream: Sandbox, api: Api) -> Api:
    """A server whose upstream answers."""
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    return api


def assert_refused(reply: RawReply, status: int) -> dict[str, Any]:
    """The one error shape, and nothing else on the connection."""
    assert (reply.version[:7], reply.status) == ("HTTP/1.", status), reply
    assert reply.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = reply.json
    assert {"error", "type", "status", "retryable"} <= set(error)
    assert error["status"] == status
    for secret in (b"Traceback", b"aiohttp", b"\\x", b"evil"):
        assert secret not in reply.body
    return error


@pytest.mark.parametrize("case", TAKEN)
async def test_what_is_proper_is_taken(api: Api, case: str) -> None:
    [reply] = await exchange(api.port, TAKEN[case])
    assert reply.status == 200, reply
    assert reply.json["status"] == "ok"


@pytest.mark.parametrize("case", STARTS_AN_ANSWER)
async def test_a_body_that_is_properly_framed_is_read(upstream: Sandbox, answering: Api, case: str) -> None:
    [reply] = await exchange(answering.port, STARTS_AN_ANSWER[case])
    assert reply.status == 200, reply
    assert upstream.calls[0].json["messages"][0]["content"] == "x"


@pytest.mark.parametrize("case", REFUSED)
async def test_faults_k1_what_is_not_proper_is_refused_in_the_one_shape(
    upstream: Sandbox, answering: Api, case: str
) -> None:
    status, sent = REFUSED[case]
    [reply] = await exchange(answering.port, sent)
    assert_refused(reply, status)
    assert not upstream.requests


@pytest.mark.parametrize("case", [case for case, (status, sent) in REFUSED.items() if len(sent) < 1000])
async def test_faults_k1_what_is_not_proper_is_refused_however_it_comes_in(answering: Api, case: str) -> None:
    """Byte by byte, from a sender who closes its side."""
    status, sent = REFUSED[case]
    replies = await exchange(answering.port, *(sent[at : at + 1] for at in range(len(sent))), half_close=True)
    assert len(replies) == 1, replies
    found = assert_refused(replies[0], replies[0].status)["status"]
    assert found == status or (found, status) in ((400, 501), (400, 505))  # it is refused before the line is whole


async def test_options_of_the_server_as_a_whole(api: Api) -> None:
    [reply] = await exchange(api.port, get(line=b"OPTIONS * HTTP/1.1"))
    assert (reply.status, reply.body) == (204, b"")
    assert "GET" in reply.headers["allow"]


async def test_requests_before_one_that_is_refused_are_answered(upstream: Sandbox, answering: Api) -> None:
    first = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    second = b"POST /chat?stream=false HTTP/1.1\r\n" + HOST + TYPE + LENGTH + b"\r\n" + BODY
    replies = await exchange(answering.port, first + second + b"BAD\r\n\r\n" + first)
    assert [reply.status for reply in replies] == [200, 200, 400]
    assert_refused(replies[-1], 400)


async def test_nothing_is_served_behind_a_request_whose_end_is_not_known(answering: Api) -> None:
    sent = post(b"Transfer-Encoding: gzip, chunked\r\n", body=CHUNKS).replace(b"Connection: close\r\n", b"")
    replies = await exchange(answering.port, sent + get())
    assert [reply.status for reply in replies] == [501]


async def test_a_bad_chunk_that_comes_later_is_refused_once(upstream: Sandbox, answering: Api) -> None:
    head = b"POST /chat HTTP/1.1\r\n" + HOST + TYPE + CHUNKED + b"\r\n"
    for first in (head, head + b"5\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", answering.port)
        writer.write(first)
        await answering.request("GET", "/health")  # what was sent has been read by now
        writer.write(b"zz\r\nzz\r\n" + get())
        async with asyncio.timeout(10):
            assert_refused(await read_reply(reader), 400)
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert not upstream.requests


async def test_a_bad_chunk_is_of_no_interest_where_no_body_is(api: Api) -> None:
    [reply] = await exchange(api.port, b"POST /nowhere HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\nzz\r\n")
    assert_refused(reply, 404)


@pytest.mark.parametrize("sent", [get()[:-2], get()[:20], b"G", b"\r\nGET"])
async def test_half_a_head_of_a_half_closed_sender_is_refused(api: Api, sent: bytes) -> None:
    [reply] = await exchange(api.port, sent, half_close=True)
    assert_refused(reply, 400)


async def test_a_refusal_is_not_lost_when_the_sender_goes_on(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"BAD\r\n\r\n")
    async with asyncio.timeout(20):
        for _ in range(50):
            writer.write(b"more" * 5000)
            await writer.drain()
        assert_refused(await read_reply(reader), 400)
        writer.write(b"and more")
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_asks_for_an_upgrade_is_answered_as_if_it_had_not(api: Api) -> None:
    head = b"GET /health HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + get())
    async with asyncio.timeout(10):
        assert [(await read_reply(reader)).status for _ in range(2)] == [200, 200]
    writer.close()
    await writer.wait_closed()


# -- the Host, with tokens and without ----------------------------------------------------------------------------

NO_HOSTS = ["evil.com:80@localhost", "localhost#evil", "localhost/evil", "localhost\\evil", "localhost:80:80", "[::1"]


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_a_host_that_is_none_is_never_this_machine(api: Api, config: Config, host: str) -> None:
    line = b"GET /chat HTTP/1.1"
    [reply] = await exchange(api.port, get(line=line, host=f"Host: {host}\r\n".encode()))
    assert_refused(reply, 403) if "evil" not in host else None
    assert reply.status == 403
    async with serving(with_tokens(config, "0123456789abcdef")) as guarded:
        token = b"Authorization: Bearer 0123456789abcdef\r\n"
        [reply] = await exchange(guarded.port, get(token, line=line, host=f"Host: {host}\r\n".encode()))
    assert_refused(reply, 400)


async def test_a_client_of_http_1_0_needs_no_host(api: Api) -> None:
    [reply] = await exchange(api.port, b"GET /chat HTTP/1.0\r\n\r\n")
    assert reply.status == 200


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def hasty(config: Config) -> AsyncIterator[Api]:
    async with serving(changed(config, "server", request_timeout_s=0.2)) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        b"G",
        get()[:-2],
        get()[:-1],
        post(LENGTH, body=b""),
        post(LENGTH, body=BODY[:5]),
        post(CHUNKED, body=b""),
        post(CHUNKED, body=CHUNKS[:-2]),
        post(LENGTH, body=b"", line=b"POST /mcp HTTP/1.1"),
        post(b"Expect: 100-continue\r\n", LENGTH, body=b""),
    ],
)
async def test_half_a_head_or_body_is_given_up_with_408(upstream: Sandbox, hasty: Api, sent: bytes) -> None:
    [reply] = await exchange(hasty.port, sent)
    assert reply.status == 408
    assert b"server.request_timeout_s" in reply.body
    assert reply.headers["connection"] == "close"
    if b"/mcp" not in sent:
        assert assert_refused(reply, 408)["retryable"] is True
    assert not upstream.requests


async def test_a_second_head_is_waited_for_no_longer_than_the_first(hasty: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    async with asyncio.timeout(10):
        assert (await read_reply(reader)).status == 200
        writer.write(b"GET /he")
        assert_refused(await read_reply(reader), 408)
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_body_in_drops_is_given_up(hasty: Api) -> None:
    """Each drop comes in time; all together take too long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(post(b"Content-Length: 1500\r\n", body=b""))
    reading = asyncio.create_task(read_reply(reader))
    async with asyncio.timeout(20):
        while not reading.done():
            writer.write(b" ")
            await asyncio.wait({reading}, timeout=0.05)
        assert_refused(await reading, 408)
    writer.close()
    await writer.wait_closed()


async def test_a_connection_that_is_idle_is_not_given_up(hasty: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    async with asyncio.timeout(10):
        for _ in range(2):
            await asyncio.sleep(0.5)  # more than twice the limit
            writer.write(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await read_reply(reader)).status == 200
    writer.close()
    await writer.wait_closed()


async def test_who_leaves_within_a_head_leaves_nothing(hasty: Api) -> None:
    for sent in (b"GET /he", post(LENGTH, body=b"x"), b"BAD\r\n\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
        writer.write(sent)
        await hasty.request("GET", "/health")
        writer.transport.abort()
    await asyncio.sleep(0.4)
    assert json.loads((await hasty.request("GET", "/health"))[1])["streams"]["active"] == 0

"""Bodies handed on as they come: over real sockets, plain and TLS, under both loops, from the head on or later."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from yarl import URL

from client.upstream.exchange import Endpoint, Exchange
from client.upstream.tap import CHUNKS_TURN_BYTES, TURN_BYTES, TappedResponse, hand_on
from tests.support.proxies.reverse import make_certificate

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
Run = Callable[[Coroutine[Any, Any, None]], None]
Kind = type[aiohttp.ClientResponse] | type[Exchange]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Taker:
    """Takes what is handed on; after each piece it says whether it wants more."""

    def __init__(self, *, wants_more: bool = True) -> None:
        self.taken: list[bytes] = []
        self.arrived = asyncio.Event()
        self._wants_more = wants_more

    def __call__(self, body: bytes) -> bool:
        self.taken.append(body)
        self.arrived.set()
        return self._wants_more


class Place:
    """A server that answers every request of a connection by `script`, and a session that asks it."""

    def __init__(self, session: aiohttp.ClientSession, kind: Kind) -> None:
        self.session = session
        self._kind = kind
        self.url = ""
        self.connections = 0
        self.script: Script

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[aiohttp.ClientResponse | Exchange]:
        """The reply to a POST."""
        if self._kind is not Exchange:
            async with self.session.post(self.url) as response:
                yield response
            return
        reply = await Endpoint(self.session, URL(self.url), {}, aiohttp.ClientTimeout()).post(b"")
        try:
            yield reply
        finally:
            if reply.content.at_eof() and reply.content.exception() is None:
                reply.release()
            else:
                reply.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await self.script(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def open_place(kind: Kind, folder: Path | None = None) -> AsyncIterator[Place]:
    """Over TLS when it is given a folder for its certificate."""
    served = trusted = None
    if folder is not None:
        certificate = await make_certificate(folder, "127.0.0.1")
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(certificate)
        trusted = ssl.create_default_context(cafile=str(certificate))
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusted or True),
            response_class=kind if issubclass(kind, aiohttp.ClientResponse) else TappedResponse,
        ) as session,
    ):
        place = Place(session, kind)
        server = await asyncio.start_server(place.serve, "127.0.0.1", 0, ssl=served)
        port = server.sockets[0].getsockname()[1]
        place.url = f"{'http' if served is None else 'https'}://127.0.0.1:{port}/"
        yield place
        server.close()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in a loop of its own."""
    found: Run = request.param
    return found


@pytest.fixture(
    params=[aiohttp.ClientResponse, TappedResponse, Exchange], ids=["later", "from the head on", "without aiohttp"]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """What is handed on."""
    found: Kind = request.param
    return found


async def read(response: aiohttp.ClientResponse | Exchange) -> bytes:
    """The rest of a body, as aiohttp reads it, or as it is handed on."""
    if isinstance(response, aiohttp.ClientResponse):
        return await response.read()
    take = Taker()
    await hand_on(response, take)
    return b"".join(take.taken)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_byte_comes_once_as_it_is_sent_and_the_connection_is_used_again(
    run: Run, kind: Kind, tls: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        async with open_place(kind, tmp_path if tls else None) as place:
            take = Taker()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD + chunk(b"first "))
                for word in (b"second ", b"third ", b"fourth"):
                    await take.arrived.wait()  # so each is a read of its own
                    take.arrived.clear()
                    writer.write(chunk(word[:2]) + chunk(word[2:]))
                await take.arrived.wait()
                writer.write(END)

            place.script = script
            for _ in range(3):
                take.taken.clear()
                take.arrived.clear()
                async with place.asked() as response:
                    await hand_on(response, take)
                    assert response.content.at_eof()
                assert take.taken == [b"first ", b"second ", b"third ", b"fourth"]
            assert place.connections == 1

    run(main())


ODD_CHUNKS = {
    "line ends within": [chunk(each) for each in (b"a\r\n0\r\n\r\nb", b"\r\n", b"5\r\nhello\r\n", b"\n\r")],
    "an extension": [chunk(b"x" * 300), b"3;name=value\r\nabc\r\n", chunk(b"after")],
    "digits": [b"00A\r\n0123456789\r\n", b"a\r\n0123456789\r\n", b"A\r\n0123456789\r\n"],
    "more than a turn": [chunk(b"y" * (2 * TURN_BYTES)), chunk(b"z"), chunk(b"y" * TURN_BYTES)],
    "trailers": [chunk(b"x"), b"0\r\nDigest: none\r\n\r\n"],
}


@pytest.mark.parametrize("piece_bytes", [1, 7, 16, 1000, 1_000_000])
@pytest.mark.parametrize("name", ODD_CHUNKS)
def test_chunks_of_every_form_cut_anywhere_come_whole(run: Run, kind: Kind, name: str, piece_bytes: int) -> None:
    wire = b"".join(ODD_CHUNKS[name]) + (b"" if name == "trailers" else END)
    if piece_bytes < 1000 and len(wire) > 10_000:
        piece_bytes *= 1000

    async def main() -> None:
        async with open_place(kind) as place:

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD)
                for at in range(0, len(wire), piece_bytes):
                    writer.write(wire[at : at + piece_bytes])
                    await writer.drain()
                    await asyncio.sleep(0)  # mostly each is a read of its own

            place.script = script
            bodies = []
            for _ in range(2):
                take = Taker()
                async with place.asked() as response:
                    await hand_on(response, take)
                    assert response.content.at_eof()
                bodies.append(b"".join(take.taken))
                assert max(map(len, take.taken)) <= CHUNKS_TURN_BYTES
            async with place.session.get(place.url) as response:  # aiohttp's own reading
                bodies.append(await response.read())
            assert bodies[0] == bodies[1] == bodies[2]
            assert place.connections == 1

    run(main())


def test_whoever_wants_no_more_gets_the_rest_when_it_asks_again(run: Run, kind: Kind) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            take = Taker(wants_more=False)

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD)
                await writer.drain()
                writer.write(chunk(b"a"))
                await take.arrived.wait()
                for letter in (b"b", b"c"):
                    writer.write(chunk(letter))
                writer.write(END)

            place.script = script
            async with place.asked() as response:
                await hand_on(response, take)
                assert take.taken == [b"a"]
                while not response.content.at_eof():
                    await hand_on(response, take)
            assert b"".join(take.taken) == b"abc"

    run(main())


def test_much_that_nobody_takes_stops_the_reading_and_still_comes_whole(run: Run, kind: Kind) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            sent = 0
            size = 0

            def take(body: bytes) -> bool:
                nonlocal size
                size += len(body)
                return False

            async def script(writer: asyncio.StreamWriter) -> None:
                nonlocal sent
                writer.write(HEAD)
                for _ in range(400):
                    writer.write(chunk(b"x" * 65_536))
                    await writer.drain()
                    sent += 65_536
                writer.write(END)

            place.script = script
            async with place.asked() as response:
                await hand_on(response, take)
                before = -1
                while before != sent:  # until it cannot send any more
                    before = sent
                    await asyncio.sleep(0.2)
                assert sent < 400 * 65_536
                while not response.content.at_eof():
                    await hand_on(response, take)
            assert size == 400 * 65_536

    run(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("wants_more", [True, False])
def test_much_at_once_comes_in_shares_and_the_connection_is_used_again(
    run: Run, kind: Kind, tls: bool, wants_more: bool, tmp_path: Path
) -> None:
    """break-it 9"""
    body = bytes(range(256)) * 8000

    async def main() -> None:
        async with open_place(kind, tmp_path if tls else None) as place:

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD + chunk(body) + END)

            place.script = script
            for _ in range(3):
                take = Taker(wants_more=wants_more)
                async with place.asked() as response:
                    while not response.content.at_eof():
                        await hand_on(response, take)
                assert b"".join(take.taken) == body
                assert max(map(len, take.taken)) <= CHUNKS_TURN_BYTES
            assert place.connections == 1

    run(main())


def test_a_connection_that_breaks_behind_much_breaks_after_all_of_it(run: Run, kind: Kind) -> None:
    """break-it 9"""
    body = bytes(range(256)) * 4000

    async def main() -> None:
        async with open_place(kind) as place:
            take = Taker()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD + chunk(body))
                await writer.drain()
                writer.write_eof()
                raise ConnectionAbortedError

            place.script = script
            async with place.asked() as response:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await hand_on(response, take)
            assert b"".join(take.taken) == body

    run(main())


def test_one_that_is_cancelled_behind_much_leaves_the_rest_in_order(run: Run, kind: Kind) -> None:
    """break-it 9"""
    body = bytes(range(256)) * 4000

    async def main() -> None:
        async with open_place(kind) as place:
            take = Taker()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD + chunk(body) + END)

            place.script = script
            async with place.asked() as response:
                waiting = asyncio.create_task(hand_on(response, take))
                await take.arrived.wait()
                waiting.cancel()
                await asyncio.wait([waiting])
                taken = b"".join(take.taken)
                assert taken + await read(response) == body

    run(main())


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        (b"", aiohttp.ClientPayloadError),  # the connection ends in mid-body
        (b"no length of a chunk\r\n", aiohttp.ClientError),
    ],
)
def test_a_broken_body_is_an_error_after_what_came_before(
    run: Run, kind: Kind, rest: bytes, error: type[Exception]
) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            take = Taker()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD + chunk(b"whole"))
                await take.arrived.wait()
                writer.write(rest)
                writer.write_eof()
                raise ConnectionAbortedError

            place.script = script
            async with place.asked() as response:
                with pytest.raises(error):
                    await hand_on(response, take)
            assert take.taken == [b"whole"]

    run(main())


def test_a_body_that_is_not_coded_as_it_says_is_an_error_although_the_connection_stays(run: Run, kind: Kind) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            waits = asyncio.Event()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
                await waits.wait()
                writer.write(chunk(b"no gzip"))

            place.script = script
            async with place.asked() as response:
                waiting = asyncio.create_task(hand_on(response, lambda body: True))
                await asyncio.sleep(0)  # it waits for the body from here on
                waits.set()
                with pytest.raises(aiohttp.ClientError):
                    await waiting

    run(main())


def test_a_body_that_the_end_of_the_connection_ends_is_whole(run: Run, kind: Kind) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            take = Taker()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none ")
                await take.arrived.wait()
                writer.write(b"two")
                writer.write_eof()
                raise ConnectionAbortedError

            place.script = script
            async with place.asked() as response:
                await hand_on(response, take)
                assert response.content.at_eof()
            assert take.taken == [b"one ", b"two"]

    run(main())


def test_what_the_taker_raises_reaches_whoever_waits(run: Run, kind: Kind) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            asked = asyncio.Event()

            def take(body: bytes) -> bool:
                raise LookupError(body)

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD)
                await asked.wait()
                writer.write(chunk(b"a") + END)

            place.script = script
            async with place.asked() as response:
                waiting = asyncio.create_task(hand_on(response, take))
                await asyncio.sleep(0)  # it waits for the body from here on
                asked.set()
                with pytest.raises(LookupError, match="a"):
                    await waiting

    run(main())


def test_one_that_is_cancelled_takes_nothing_more_and_gives_the_connection_back_its_protocol(
    run: Run, kind: Kind
) -> None:
    async def main() -> None:
        async with open_place(kind) as place:
            take = Taker()
            goes_on = asyncio.Event()

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD)
                await goes_on.wait()
                writer.write(chunk(b"late") + END)

            place.script = script
            async with place.asked() as response:
                assert response.connection is not None
                transport = response.connection.transport
                assert transport is not None
                protocol = response.connection.protocol
                waiting = asyncio.create_task(hand_on(response, take))
                await asyncio.sleep(0)
                assert transport.get_protocol() is not protocol
                waiting.cancel()
                await asyncio.wait([waiting])
                if kind is not Exchange:  # which stays with its connection
                    assert transport.get_protocol() is protocol
                goes_on.set()
                assert await read(response) == b"late"
            if kind is not Exchange:
                assert transport.get_protocol() is protocol
            assert take.taken == []

    run(main())


def test_a_connection_that_is_gone_already_is_an_error(run: Run, kind: Kind) -> None:
    async def main() -> None:
        async with open_place(kind) as place:

            async def script(writer: asyncio.StreamWriter) -> None:
                writer.write(HEAD)

            place.script = script
            async with place.asked() as response:
                response.close()
                with pytest.raises(aiohttp.ClientError):
                    await hand_on(response, lambda body: True)

    run(main())

"""Nothing is lost and nothing comes twice, whatever readers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import StreamsConfig, UpstreamConfig
from client.sandbox import Reply, Sandbox, open_sandbox
from client.streams.log import EventsGone, StreamLog
from client.streams.stream import Stream
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from tests.support.chunks import END, STOP, text
from tests.support.sse_reader import parse_events

EVENTS = st.tuples(st.binary(min_size=1, max_size=9), st.sampled_from([1, 1, 3000])).map(
    lambda drawn: drawn[0].replace(b"\n", b".") * drawn[1] + b"\n\n"
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(EVENTS, min_size=1, max_size=5), max_size=8), st.data())
def test_a_log_reads_like_the_list_of_its_events(batches: list[list[bytes]], data: st.DataObject) -> None:
    log, events, dropped = StreamLog(), list[bytes](), 0
    for batch in batches:
        log.append(b"".join(batch), len(batch))
        events += batch
        if data.draw(st.booleans()):
            number = data.draw(st.integers(0, len(events)))
            freed = log.drop_through(number)
            assert freed == sum(map(len, events[dropped:number]))
            dropped = max(dropped, number)
        assert (log.last, log.first, log.size_bytes) == (len(events), dropped + 1, sum(map(len, events[dropped:])))
    number = data.draw(st.integers(0, len(events)))
    if number < dropped:
        try:
            asyncio.run(log.read_after(number, 10))
        except EventsGone:
            return
        raise AssertionError("events that were dropped were read")
    got = b""
    while number < log.last:
        piece, number = asyncio.run(log.read_after(number, data.draw(st.integers(1, 60))))
        assert piece
        got += piece
    assert b"".join(events).endswith(got)
    log.close()
    assert log.expire() == sum(map(len, events[dropped:]))


class FickleReader:
    """Takes pushes only now and then, and reads the rest from the log at its own speed."""

    def __init__(self, stream: Stream, pattern: list[bool], piece_bytes: int) -> None:
        self.position = 0
        self.got: list[bytes] = []
        self._stream, self._pattern, self._piece_bytes = stream, pattern, piece_bytes
        self._pushes = 0
        self.woken = asyncio.Event()

    def push(self, data: bytes, last: int) -> None:
        self._pushes += 1
        first = last - data.count(b"\n\n") + 1
        if self._pattern[self._pushes % len(self._pattern)] and self.position == first - 1:
            self.got.append(data)
            self.position = last
        else:
            self.woken.set()

    def wake(self) -> None:
        self.woken.set()

    def stalled_s(self) -> float:
        return 0.0

    def leave(self) -> None:
        raise AssertionError("it takes everything")

    async def run(self, leave_every: int) -> None:
        turns = 0
        while not (self._stream.log.closed and self.position == self._stream.log.last):
            if self.position < self._stream.log.last:
                data, self.position = await self._stream.log.read_after(self.position, self._piece_bytes)
                self.got.append(data)
                self._stream.note_progress()
            else:
                self.woken.clear()
                await self.woken.wait()
            turns += 1
            if turns % leave_every == 0:
                self._stream.detach(self)
                await asyncio.sleep(0)
                self._stream.attach(self)


READERS = st.lists(
    st.tuples(st.lists(st.booleans(), min_size=1, max_size=4), st.integers(1, 500), st.integers(1, 5)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=30),
    READERS,
    st.lists(st.integers(1, 400), max_size=6),
)
def test_every_reader_gets_the_log_once_and_in_order(
    run: Callable[[Coroutine[Any, Any, None]], None],
    pieces: list[str],
    readers: list[tuple[list[bool], int, int]],
    cuts: list[int],
) -> None:
    stream = b"".join(map(text, pieces)) + STOP + END
    places = sorted({cut for cut in cuts if cut < len(stream)})
    reads = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    run(_check_readers("".join(pieces), reads, readers))


async def _check_readers(content: str, reads: list[bytes], readers: list[tuple[list[bool], int, int]]) -> None:
    async with open_sandbox() as upstream:
        upstream.script(Reply.stream(*reads))
        async with asyncio.timeout(20):
            await _read_all(upstream, content, readers)


async def _read_all(upstream: Sandbox, content: str, readers: list[tuple[list[bool], int, int]]) -> None:
    config = UpstreamConfig(base_url=upstream.base_url)
    async with create_session(config) as session:
        streams = Streams(OpenRouterClient(session, config), StreamsConfig())
        stream = await streams.start({"model": "m", "messages": []}, owner="o")
        fickle = [FickleReader(stream, pattern, size) for pattern, size, _ in readers]
        for reader in fickle:
            stream.attach(reader)
        await asyncio.gather(*(reader.run(leave) for reader, (_, _, leave) in zip(fickle, readers, strict=True)))
        log, _ = await stream.log.read_after(0, 1 << 30)
        events = parse_events(log)
        assert [each.number for each in events] == list(range(1, len(events) + 1))
        assert "".join(each.data["text"] for each in events if each.name == "content") == content
        for reader in fickle:
            assert b"".join(reader.got) == log
            stream.detach(reader)
        await streams.aclose()
        assert (streams.active, streams.kept, streams.total_bytes) == (0, 0, 0)

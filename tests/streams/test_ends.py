"""Whatever raises at an answer's end, its readers are told of the end, once, and nothing it held is left held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from client.config import StreamsConfig, UpstreamConfig
from client.sandbox import HangUp, Hold, Reply, Sandbox
from client.streams.readable import KEPT_BYTES
from client.streams.stream import Stream
from client.streams.streams import Streams
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent, ContentDelta, Done, StreamFailed, UsageReport
from client.translation.translate import ChatTranslator
from client.upstream.openrouter import OpenRouterClient, create_session
from tests.support.chunks import DONE, END, STOP, text
from tests.support.serving import Api
from tests.support.sse_reader import Event, parse_events

BODY: dict[str, Any] = {"model": "acme/m", "messages": [{"role": "user", "content": "Why?"}], "stream": True}
WHOLE = Reply.stream(text("a"), text("b"), STOP, END)
CUT = Reply.stream(text("a"), text("b"), HangUp())
REFUSED = Reply.error(402, "No credits")


@dataclass
class Books:
    """Everything that hears of an answer, and fails where it is told to.

    Attributes:
        fails: names of what raises.
        heard: what was heard, in order.
        settled_once: set when a look-up has ended.
    """

    fails: Sequence[str] = ()
    heard: list[str] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    settled_once: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, what: str) -> None:
        self.heard.append(what)
        if what in self.fails:
            raise LookupError(what)


class Lease(Books):
    def opened(self, stream: Stream) -> None:
        self.hear("lease.opened")

    def end(self, stream: Stream) -> None:
        self.hear("lease.end")

    def settled(self, stream: Stream) -> None:
        self.settled_once.set()
        self.hear("lease.settled")

    def give_back(self) -> None:
        self.hear("lease.give_back")


class Span(Books):
    def end(self, stream: Stream) -> None:
        self.hear("span.end")


class FailingReader:
    """Attached beside the one that is judged."""

    position = 0

    def __init__(self, books: Books) -> None:
        self._books = books

    def push(self, data: bytes, last: int) -> None:
        self._books.hear("reader.push")

    def wake(self) -> None:
        self._books.hear("reader.wake")

    def stalled_s(self) -> float:
        return 0.0

    def leave(self) -> None:
        self._books.hear("reader.leave")


class Taker:
    """Takes everything; `woken` counts."""

    def __init__(self) -> None:
        self.position = 0
        self.data = b""
        self.woken = 0
        self.has_come = asyncio.Event()

    def push(self, data: bytes, last: int) -> None:
        self.data += data
        self.has_come.set()
        self.position = last

    def wake(self) -> None:
        self.woken += 1

    def stalled_s(self) -> float:
        return 0.0

    def leave(self) -> None:
        raise AssertionError("it takes everything")


@asynccontextmanager
async def open_streams(upstream: Sandbox, books: Books) -> AsyncIterator[Streams]:
    config = UpstreamConfig(base_url=upstream.base_url, max_retries=0)

    def start_span(body: Mapping[str, Any], trace: object) -> Span:
        books.hear("span.start")
        return Span(books.fails, books.heard)

    async def admit(body: Mapping[str, Any], owner: str, key: str) -> Lease:
        return Lease(books.fails, books.heard, settled_once=books.settled_once)

    async with create_session(config) as session:
        streams = Streams(
            OpenRouterClient(session, config),
            StreamsConfig(grace_s=60),
            lambda stream: books.hear("on_end 1"),
            lambda stream: books.hear("on_end 2"),
            start_span=start_span,
            admit=admit,
        )
        yield streams
        await streams.aclose()


async def whole_log(stream: Stream) -> list[Event]:
    data, _ = await stream.log.read_after(0, 1 << 30)
    return parse_events(data)


async def judge(streams: Streams, stream: Stream, taker: Taker) -> list[Event]:
    """That the stream has ended as it should; its events."""
    async with asyncio.timeout(5):
        await stream.ended.wait()
        await stream.wait_closed()
        await streams.wait_idle()
    events = await whole_log(stream)
    assert [event.name for event in events].count("done") == 1
    assert [event.name for event in events].count("error") <= 1
    assert events[-1].name == "done"
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert parse_events(taker.data) == events
    assert taker.woken
    assert (stream.is_running, stream.log.closed, streams.active) == (False, True, 0)
    assert streams.total_bytes == stream.log.size_bytes + KEPT_BYTES
    assert streams.get(stream.id, "ann") is stream
    return events


def fail_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, when: Callable[..., bool]) -> None:
    """Has a method raise whenever its arguments are such, in place of what it does."""
    original = getattr(where, name)

    def failing(*args: Any, **named: Any) -> Any:
        if when(*args, **named):
            raise LookupError(name)
        return original(*args, **named)

    monkeypatch.setattr(where, name, failing)


HOOKS = ["span.start", "span.end", "lease.opened", "lease.end", "on_end 1", "on_end 2", "reader.push", "reader.wake"]


@pytest.mark.parametrize("reply", [WHOLE, CUT, REFUSED], ids=["whole", "cut", "refused"])
@pytest.mark.parametrize("fails", [*HOOKS, "everything"])
async def test_a_hook_that_raises_keeps_no_other_from_being_told(
    upstream: Sandbox, caplog: pytest.LogCaptureFixture, reply: Reply, fails: str
) -> None:
    """break-it 4"""
    upstream.script(reply)
    books = Books(HOOKS if fails == "everything" else [fails])
    async with open_streams(upstream, books) as streams:
        stream = await streams.start(BODY, owner="ann")
        taker = Taker()
        stream.attach(FailingReader(books))
        stream.attach(taker)
        events = await judge(streams, stream, taker)
        assert events[-1].data["completed"] is (reply is WHOLE)
    last = [name for name in books.heard if name in ("span.end", "lease.end", "on_end 1", "on_end 2")]
    is_without_span = "span.start" in books.fails
    assert last == [*([] if is_without_span else ["span.end"]), "lease.end", "on_end 1", "on_end 2"]
    if fails in books.heard:
        assert f"LookupError: {fails}" in caplog.text


@pytest.mark.parametrize("reply", [WHOLE, CUT, REFUSED], ids=["whole", "cut", "refused"])
@pytest.mark.parametrize("where", ["figures", "settler", "settlement", "gaps", "log.close", "pump.release"])
async def test_a_part_of_the_end_that_raises_keeps_no_other_from_its_work(
    upstream: Sandbox, monkeypatch: pytest.MonkeyPatch, reply: Reply, where: str
) -> None:
    """break-it 4"""
    upstream.script(reply)
    books = Books()
    async with open_streams(upstream, books) as streams:
        stream = await streams.start(BODY, owner="ann")
        place, name = {
            "figures": (streams.figures, "note_end"),
            "settler": (streams._settler, "settle"),
            "settlement": (type(stream.settlement), "state"),
            "gaps": (type(streams.figures.gaps_s), "observe"),
            "log.close": (type(stream.log), "close"),
            "pump.release": (type(stream.pump), "release"),
        }[where]
        if where == "log.close":  # it is closed all the same, only not made smaller
            monkeypatch.setattr("client.streams.log.bytearray", failing_copy, raising=False)
        else:
            fail_once(monkeypatch, place, name, lambda *args: True)
        taker = Taker()
        stream.attach(taker)
        await judge(streams, stream, taker)
        assert books.heard[-3:] == ["lease.end", "on_end 1", "on_end 2"]


def failing_copy(data: bytes = b"") -> bytearray:
    if data:
        raise MemoryError
    return bytearray()


@pytest.mark.parametrize("kind", [ContentDelta, UsageReport, StreamFailed, Done])
@pytest.mark.parametrize("reply", [WHOLE, CUT], ids=["whole", "cut"])
async def test_an_event_that_cannot_be_encoded_loses_no_other_and_is_told_of(
    upstream: Sandbox, monkeypatch: pytest.MonkeyPatch, kind: type[ChatEvent], reply: Reply
) -> None:
    """break-it 4"""

    def holds_it(encoder: EventEncoder, events: Sequence[ChatEvent]) -> bool:
        return any(type(event) is kind for event in events)

    async with open_streams(upstream, Books()) as streams:
        upstream.script(reply)
        fail_once(monkeypatch, EventEncoder, "encode", holds_it)
        stream = await streams.start(BODY, owner="ann")
        taker = Taker()
        stream.attach(taker)
        events = await judge(streams, stream, taker)
        names = [event.name for event in events]
        assert names[0] == "start"
        is_lost = kind is not StreamFailed or reply is CUT
        assert events[-1].data["completed"] is (not is_lost)
        assert ("content" in names) is (kind is not ContentDelta)
        if kind in (ContentDelta, UsageReport) and reply is WHOLE:
            assert events[-2].data["type"] == "internal"


async def test_an_encoder_that_can_do_nothing_more_still_says_that_it_is_over(
    upstream: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """break-it 4"""
    upstream.script(WHOLE)
    fail_once(monkeypatch, EventEncoder, "encode", lambda *args: True)
    async with open_streams(upstream, Books()) as streams:
        stream = await streams.start(BODY, owner="ann")
        taker = Taker()
        stream.attach(taker)
        assert [event.name for event in await judge(streams, stream, taker)] == ["done"]


@pytest.mark.parametrize("name", ["receive_data", "receive_eof", "close", "_end", "_report_usage", "_take_chunk"])
@pytest.mark.parametrize("reply", [WHOLE, CUT], ids=["whole", "cut"])
async def test_a_translator_that_raises_ends_the_answer_as_failed(
    upstream: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, reply: Reply
) -> None:
    """break-it 4"""
    upstream.script(reply)
    fail_once(monkeypatch, ChatTranslator, name, lambda *args, **named: True)
    books = Books()
    async with open_streams(upstream, books) as streams:
        stream = await streams.start(BODY, owner="ann")
        taker = Taker()
        stream.attach(taker)
        events = await judge(streams, stream, taker)
        is_unhurt = reply is WHOLE and name in ("receive_eof", "close")
        assert events[-1].data["completed"] is is_unhurt
        assert stream.finish_reason == events[-1].data["finish_reason"]
        assert books.heard[-1] == "on_end 2"


async def test_an_answer_that_is_stopped_is_ended_when_its_translator_raises(
    upstream: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """break-it 4"""
    upstream.script(Reply.stream(text("a"), Hold()))
    fail_once(monkeypatch, ChatTranslator, "close", lambda *args, **named: True)
    async with open_streams(upstream, Books()) as streams, asyncio.timeout(5):
        stream = await streams.start(BODY, owner="ann")
        taker = Taker()
        stream.attach(taker)
        await taker.has_come.wait()
        stream.stop("cancelled")
        events = await judge(streams, stream, taker)
        assert (events[-1].data["finish_reason"], stream.finish_reason) == ("cancelled", "cancelled")


async def test_what_a_look_up_finds_is_told_although_the_lease_raises(
    upstream: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """break-it 4"""
    books = Books(["lease.settled"])
    async with open_streams(upstream, books) as streams, asyncio.timeout(10):
        body = {**BODY, "model": "sandbox/hangs-up", "sandbox": {"tokens_per_s": 0, "after_tokens": 3}}
        stream = await streams.start(body, owner="ann")
        await books.settled_once.wait()
        assert stream.settlement.is_settled
    assert books.heard[-1] == "lease.settled"
    assert "LookupError: lease.settled" in caplog.text


COSTS = [
    "9" * 400,
    "-" + "9" * 400,
    "1e999",
    "NaN",
    '"x"',
    "{}",
    "[]",
    "null",
    '1e5,"is_byok":true,"cost_details":{"upstream_inference_cost":-1e999}',
    '1e999,"is_byok":true,"cost_details":{"upstream_inference_cost":-1e999}',
    '0.1,"prompt_tokens":' + "9" * 400,
    '0.1,"completion_tokens":[1]',
]


@pytest.mark.parametrize("cost", COSTS, ids=[cost[:40] for cost in COSTS])
@pytest.mark.parametrize("is_streamed", [True, False], ids=["streamed", "whole"])
async def test_a_cost_that_cannot_be_added_up_keeps_nobody_waiting(
    upstream: Sandbox, api: Api, cost: str, is_streamed: bool
) -> None:
    """break-it 4"""
    usage = b'data: {"id":"gen-1","choices":[],"usage":{"cost":' + cost.encode() + b"}}\n\n"
    upstream.script(Reply.stream(text("Hi"), STOP, usage, DONE))
    async with asyncio.timeout(5):
        if is_streamed:
            _, events = await api.chat()
            assert [event.name for event in events].count("done") == 1
        else:
            await api.chat_whole()
        await api.streams.wait_idle()

"""Answers that are read in another process than they run in, whatever becomes of who runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import StreamsConfig, UpstreamConfig
from client.errors import Refusal
from client.sandbox import Hold, Mark, Reply, Sandbox, open_sandbox
from client.streams.chosen_ids import AlreadyBegun
from client.streams.mirror import Mirror
from client.streams.readable import Readable
from client.streams.seal import JUMP, ending_of
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from mcp_app.results.progress import AnswerReader
from tests.support.chunks import END, STOP, text
from tests.support.desks import Desk, Table
from tests.support.sse_reader import parse_events

BODY: dict[str, Any] = {"model": "m", "messages": []}


@asynccontextmanager
async def open_desks(upstream: Sandbox, number: int = 2, **limits: Any) -> AsyncIterator[tuple[Table, list[Desk]]]:
    """A table, and processes at it."""
    config = UpstreamConfig(base_url=upstream.base_url, max_retries=0)
    table = Table()
    async with AsyncExitStack() as stack:
        desks = []
        for _ in range(number):
            session = await stack.enter_async_context(create_session(config))
            streams = Streams(OpenRouterClient(session, config), StreamsConfig().model_copy(update=limits))
            desks.append(Desk(table, streams))
        yield table, desks
        for desk in desks:
            await desk.streams.aclose()
            assert (desk.streams.active, desk.streams.kept, desk.streams.total_bytes) == (0, 0, 0)


class Wanderer:
    """Reads an answer in one process after the other, each time behind what it has."""

    def __init__(self, piece_bytes: int, *, takes_pushes: bool) -> None:
        self.position = 0
        self.got: list[bytes] = []
        self._piece_bytes = piece_bytes
        self._takes_pushes = takes_pushes
        self._woken = asyncio.Event()
        self._stream: Readable | None = None

    def push(self, data: bytes, last: int) -> None:
        count = data.count(b"\n\n")
        if self._takes_pushes and self.position == last - count:
            self.got.append(data)
            self.position = last
        self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def stalled_s(self) -> float:
        return 0.0

    def leave(self) -> None:
        raise AssertionError("it takes everything")

    def go_to(self, stream: Readable) -> None:
        self.go()
        self._stream = stream
        stream.attach(self)
        self._woken.set()

    def go(self) -> None:
        if self._stream is not None:
            self._stream.detach(self)
            self._stream = None

    def read(self) -> bool:
        """One piece, if there is one; whether there was."""
        stream = self._stream
        if stream is None or self.position >= stream.log.last:
            return False
        data, self.position = stream.log.piece_after(self.position, self._piece_bytes)
        self.got.append(data)
        stream.note_progress()
        return True


ACTIONS = st.lists(
    st.sampled_from(["turn", "turn", "step", "step", "read", "switch", "freeze", "bury", "thaw", "gone", "back"]),
    max_size=60,
)
READERS = st.lists(st.tuples(st.integers(1, 500), st.booleans(), st.booleans()), min_size=1, max_size=4)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("protocol", ["chat", "chat.completions"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20), READERS, ACTIONS, st.integers(1, 300))
def test_whoever_reads_where_gets_a_prefix_and_one_end(
    run: Callable[[Coroutine[Any, Any, None]], None],
    protocol: str,
    pieces: list[str],
    readers: list[tuple[int, bool, bool]],
    actions: list[str],
    carried_bytes: int,
) -> None:
    run(_wander(protocol, pieces, readers, actions, carried_bytes))


async def _wander(
    protocol: str, pieces: list[str], readers: list[tuple[int, bool, bool]], actions: list[str], carried_bytes: int
) -> None:
    async with open_sandbox() as upstream, open_desks(upstream) as (table, (first, second)), asyncio.timeout(30):
        upstream.script(Reply.stream(*map(text, pieces), STOP, END))
        table.piece_bytes = carried_bytes
        stream = await first.streams.start(BODY, owner="ann", grace_s=60, protocol=protocol)
        wanderers = [Wanderer(size, takes_pushes=pushes) for size, pushes, _ in readers]
        places = [is_elsewhere for _, _, is_elsewhere in readers]

        async def place(number: int) -> None:
            where = second if places[number] else first
            found = await where.streams.find(stream.id, "ann")
            assert found is not None
            wanderers[number].go_to(found)

        for number in range(len(readers)):
            await place(number)
        for action in actions:
            match action:
                case "turn":
                    await asyncio.sleep(0)
                case "step":
                    table.step()
                case "read":
                    for wanderer in wanderers:
                        wanderer.read()
                case "switch" if table.is_there:
                    number = len(actions) % len(readers)
                    places[number] = not places[number]
                    await place(number)
                case "freeze" | "thaw":
                    first.is_frozen = action == "freeze"
                case "bury" if first.is_frozen and table.is_there:
                    table.bury(first)
                case "gone" | "back":
                    table.is_there = action == "back"
        table.is_there, first.is_frozen = True, False
        while stream.is_running:
            table.step()
            await asyncio.sleep(0)
        await table.settle()
        while any(wanderer.read() for wanderer in wanderers):
            pass
        _judge(table, stream, [b"".join(wanderer.got) for wanderer in wanderers])
        mirror = await second.streams.find(stream.id, "ann")
        assert mirror is not None
        assert not mirror.is_running
        for wanderer in wanderers:
            wanderer.go()


def _judge(table: Table, stream: Readable, all_got: list[bytes]) -> None:
    sheet = table.sheets[stream.key]
    whole, _ = stream.log.piece_after(0, 1 << 30)
    if sheet.sealed is None:
        assert set(all_got) == {whole}
        return
    ending = ending_of(stream.id, sheet.sealed, holds_chunks=stream.holds_chunks)
    records = whole.split(b"\n\n")[:-1]
    known = b"".join(record + b"\n\n" for record in records[: sheet.sealed])
    for got in all_got:
        is_told = got.endswith(ending)  # else it was where the answer ran on to its own end, and read all of that
        before = got.removesuffix(ending)
        assert whole.startswith(before)
        assert known.startswith(before) or before.startswith(known)
        assert is_told or got == whole
        if stream.holds_chunks:
            continue
        numbers = [event.number or 0 for event in parse_events(before)]
        assert numbers == list(range(1, len(numbers) + 1))


# -- one by one -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def held(upstream: Sandbox) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """Begun once upstream has sent something; goes on when the other one is set."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    upstream.script_always(Reply.stream(text("Hel"), Mark(begun), Hold(go_on), text("lo"), STOP, END))
    yield begun, go_on
    go_on.set()


async def test_an_answer_is_stopped_from_elsewhere(
    upstream: Sandbox, held: tuple[asyncio.Event, asyncio.Event]
) -> None:
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        stream = await first.streams.start(BODY, owner="ann")
        await held[0].wait()
        mirror = await second.streams.find(stream.id, "ann")
        assert isinstance(mirror, Mirror)
        ending = asyncio.create_task(mirror.end("cancelled"))
        await stream.ended.wait()
        await table.settle()
        await ending
        assert (mirror.is_running, mirror.finish_reason, stream.finish_reason) == (False, "cancelled", "cancelled")


async def test_nobody_finds_what_is_somebody_elses(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        stream = await first.streams.start(BODY, owner="ann")
        chosen = await first.streams.start(BODY, owner="ann", stream_id="c" * 22, fingerprint=b"f")
        await table.settle()
        for stream_id in (stream.id, chosen.id):
            assert await second.streams.find(stream_id, "ann") is not None
            assert await second.streams.find(stream_id, "bob") is None
        other = await second.streams.start(BODY, owner="bob", stream_id="c" * 22, fingerprint=b"f")
        assert await first.streams.find("c" * 22, "ann") is chosen
        found = await first.streams.find("c" * 22, "bob")
        assert found is not None
        assert found.owner == other.owner == "bob"


async def test_an_answer_that_is_read_elsewhere_goes_on_and_ends_when_its_grace_is_over(
    upstream: Sandbox, held: tuple[asyncio.Event, asyncio.Event]
) -> None:
    async with open_desks(upstream) as (_table, (first, second)), asyncio.timeout(10):
        for grace_s in (0.0, 0.05):
            stream = await first.streams.start(BODY, owner="ann", grace_s=grace_s)
            here, there = Wanderer(99, takes_pushes=True), Wanderer(99, takes_pushes=True)
            here.go_to(stream)
            await held[0].wait()
            mirror = await second.streams.find(stream.id, "ann")
            assert mirror is not None
            there.go_to(mirror)
            here.go()
            await asyncio.sleep(0.1)
            assert stream.is_running
            there.go()
            await stream.ended.wait()
            assert stream.finish_reason == "abandoned"


async def test_two_processes_that_are_asked_under_one_key_give_one_answer(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    chosen: dict[str, Any] = {"owner": "ann", "stream_id": "c" * 22, "fingerprint": b"f"}
    async with open_desks(upstream, 3) as (table, desks), asyncio.timeout(10):
        starts = [desk.streams.start(BODY, **chosen) for desk in desks for _ in range(4)]
        begun = await asyncio.gather(*starts, return_exceptions=True)
        assert sum(isinstance(each, AlreadyBegun) for each in begun) == 11
        await table.settle()
        assert len(upstream.calls) == 1
        with pytest.raises(AlreadyBegun):
            await desks[2].streams.start(BODY, **chosen)


async def test_a_key_under_which_nothing_came_of_it_may_be_used_in_another_process(upstream: Sandbox) -> None:
    upstream.script(Reply.error(400, "No"))
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    chosen: dict[str, Any] = {"owner": "ann", "stream_id": "c" * 22, "fingerprint": b"f"}
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        await (await first.streams.start(BODY, **chosen)).ended.wait()
        await table.settle()
        stream = await second.streams.start(BODY, **chosen)
        await stream.ended.wait()
        assert stream.finish_reason == "stop"


async def test_a_key_is_free_again_when_its_owner_was_refused(upstream: Sandbox) -> None:
    chosen: dict[str, Any] = {"owner": "ann", "stream_id": "c" * 22, "fingerprint": b"f"}
    async with open_desks(upstream, max_active=1) as (table, (first, _)), asyncio.timeout(10):
        upstream.script_always(Reply.stream(text("x"), Hold()))
        running = await first.streams.start(BODY, owner="ann")
        with pytest.raises(Exception, match="max_active"):
            await first.streams.start(BODY, **chosen)
        assert list(table.sheets) == [running.id]


async def test_a_key_is_free_again_when_whoever_took_it_did_not_wait(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    chosen: dict[str, Any] = {"owner": "ann", "stream_id": "c" * 22, "fingerprint": b"f"}
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        start = asyncio.create_task(first.streams.start(BODY, **chosen))
        while not table.sheets:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        start.cancel()
        await asyncio.wait([start])
        assert start.cancelled()
        assert not table.sheets
        await (await second.streams.start(BODY, **chosen)).ended.wait()


async def test_names_and_lists_tell_of_all_and_the_newest_wins(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        started = []
        for desk in (first, second, first):
            stream = await desk.streams.start(BODY, owner="ann")
            await stream.ended.wait()
            desk.streams.give_name(stream, "chat", "c")
            started.append(stream)
            for each in (first, second):
                found = await each.streams.find_named("ann", "chat", "c")
                assert found is not None
                assert found.id == stream.id
        await table.settle()
        for each in (first, second):
            listed = await each.streams.list_of("ann")
            assert [summary.id for summary in listed] == [stream.id for stream in reversed(started)]
            assert [summary.is_running for summary in listed] == [False] * 3
            assert len(await each.streams.list_of("ann", 2)) == 2
            assert await each.streams.list_of("bob") == []
        await second.streams.forget(started[2])
        assert await second.streams.find(started[2].id, "ann") is None


async def test_what_nobody_can_know_now_is_not_said_to_be_nowhere(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        stream = await first.streams.start(BODY, owner="ann")
        first.streams.give_name(stream, "chat", "c")
        table.is_there = False
        assert await first.streams.find(stream.id, "ann") is stream
        assert await first.streams.find_named("ann", "chat", "c") is stream
        for ask in (
            second.streams.find(stream.id, "ann"),
            second.streams.find_named("ann", "chat", "c"),
            second.streams.list_of("ann"),
            second.streams.start(BODY, owner="ann", stream_id="c" * 22, fingerprint=b"f"),
        ):
            with pytest.raises(Refusal) as refused:
                await ask
            failure = refused.value.failure
            assert (failure.type, failure.status, failure.retryable) == ("store_unavailable", 503, True)
        await (await second.streams.start(BODY, owner="ann")).ended.wait()


# -- room -----------------------------------------------------------------------------------------------------------


async def test_a_full_log_waits_for_readers_elsewhere_and_for_the_table(upstream: Sandbox) -> None:
    """No event goes before all who read have it, and the table too, as long as that is there."""
    upstream.script_always(Reply.stream(*(text("x" * 100) for _ in range(400)), STOP, END))
    async with open_desks(upstream, max_log_bytes=2000) as (table, (first, second)), asyncio.timeout(20):
        stream = await first.streams.start(BODY, owner="ann", grace_s=60)
        reader = Wanderer(500, takes_pushes=False)
        mirror = await second.streams.find(stream.id, "ann")
        assert mirror is not None
        reader.go_to(mirror)
        for _ in range(100):
            await asyncio.sleep(0)
        assert stream.log.size_bytes < 40_000  # some reads beyond
        assert (stream.log.first, mirror.log.last) == (1, 0)
        while stream.is_running or not mirror.log.closed or reader.read():
            table.step()
            reader.read()
            await asyncio.sleep(0)
        assert stream.log.first > 1
        events = parse_events(b"".join(reader.got))
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert events[-1].name == "done"
        reader.go()


async def test_what_nobody_can_be_given_goes_when_its_room_is_needed(upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(*(text("x" * 100) for _ in range(400)), STOP, END))
    async with open_desks(upstream, max_log_bytes=2000) as (table, (first, _second)), asyncio.timeout(20):
        stream = await first.streams.start(BODY, owner="ann", grace_s=60)
        reader = Wanderer(500, takes_pushes=False)
        reader.go_to(stream)
        table.is_there = False
        while stream.is_running or reader.read():
            table.step()
            reader.read()
            await asyncio.sleep(0)
        assert first.given_up == {stream}
        assert stream.finish_reason == "stop"
        assert parse_events(b"".join(reader.got))[-1].name == "done"
        reader.go()


async def test_mirrors_go_when_nobody_reads_them_and_their_room_is_needed(
    upstream: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script_always(Reply.stream(text("x" * 20_000), STOP, END))
    monkeypatch.setattr("client.streams.streams._IDLE_S", 0.0)
    async with open_desks(upstream, max_total_bytes=100_000) as (table, (first, second)), asyncio.timeout(20):
        for _ in range(20):
            stream = await first.streams.start(BODY, owner="ann")
            await stream.ended.wait()
            await table.settle()
            assert await second.streams.find(stream.id, "ann") is not None
            await table.settle()
        assert 0 < len(second.streams.mirrors) < 6
        assert len(second.mirrors) == len(second.streams.mirrors)
        assert second.streams.total_bytes <= 130_000


# -- fences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["chat", "chat.completions"])
async def test_whoever_was_taken_for_dead_closes_upstream_and_tells_the_same_end(
    upstream: Sandbox, held: tuple[asyncio.Event, asyncio.Event], protocol: str
) -> None:
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        stream = await first.streams.start(BODY, owner="ann", protocol=protocol)
        await held[0].wait()
        await table.settle()
        first.is_frozen = True
        table.bury(first)
        mirror = await second.streams.find(stream.id, "ann")
        assert mirror is not None
        assert not mirror.is_running
        assert stream.is_running
        first.is_frozen = False
        first.changed.add(stream)
        table.step()
        await stream.ended.wait()
        await upstream.calls[0].closed.wait()
        assert upstream.calls[0].cancelled
        here, there = (each.log.piece_after(0, 1 << 20) for each in (stream, mirror))
        assert here == there
        last = table.sheets[stream.key].last
        assert here[1] == last
        assert stream.log.piece_after(last, 1 << 20) == mirror.log.piece_after(last, 1 << 20)
        assert stream.log.last == last + JUMP + 2
        assert (stream.finish_reason, mirror.finish_reason) == ("interrupted", "interrupted")


async def test_whoever_puts_an_answer_together_as_it_comes_gets_the_end_that_others_told(
    upstream: Sandbox, held: tuple[asyncio.Event, asyncio.Event]
) -> None:
    """It goes by what it is pushed, and has read everything before."""
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        stream = await first.streams.start(BODY, owner="ann")
        await held[0].wait()
        await table.settle()
        mirror = await second.streams.find(stream.id, "ann")
        assert mirror is not None
        readers = [(each, AnswerReader(each)) for each in (stream, mirror)]
        waiting = []
        for each, reader in readers:
            each.attach(reader)
            waiting.append(asyncio.create_task(reader.wait_end(9)))
        await asyncio.sleep(0.01)
        first.is_frozen = True
        table.bury(first)
        await table.settle()
        first.is_frozen = False
        first.changed.add(stream)
        await table.settle()
        assert await asyncio.gather(*waiting) == [True, True]
        for each, reader in readers:
            each.detach(reader)
            reader.let_go()
            assert reader.answer.text() == "Hel"
            assert reader.answer.done is not None
            assert reader.answer.error is not None
            assert reader.answer.error["type"] == "stream_interrupted"


async def test_a_reader_that_is_ahead_of_what_is_known_waits_and_gets_the_end(upstream: Sandbox) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    upstream.script(Reply.stream(*map(text, "abcdef"), Mark(begun), Hold(go_on), text("g"), STOP, END))
    async with open_desks(upstream) as (table, (first, second)), asyncio.timeout(10):
        stream = await first.streams.start(BODY, owner="ann", grace_s=60)
        await begun.wait()
        while stream.log.last < 7:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        table.piece_bytes = 1
        for reader_is_ahead_by_one in (True, False):
            reader = Wanderer(1000, takes_pushes=True)
            reader.go_to(stream)
            while reader.position < 7 and reader.read():
                pass
            mirror = await second.streams.find(stream.id, "ann")
            assert mirror is not None
            reader.go_to(mirror)
            assert reader.position > mirror.log.last or not reader_is_ahead_by_one
            if reader_is_ahead_by_one:
                reader.go()
        go_on.set()
        await stream.ended.wait()
        await table.settle()
        while reader.read():
            pass
        assert b"".join(reader.got) == stream.log.piece_after(0, 1 << 20)[0]
        reader.go()

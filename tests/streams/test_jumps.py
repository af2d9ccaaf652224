"""Logs whose numbers jump, since somebody else has told how their answers ended."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import Failure
from client.streams.log import EventsGone, StreamLog
from client.streams.log_events import EventsOfChunks
from client.streams.raw_log import TypedView
from client.streams.seal import DIED, ENDING_COUNT, JUMP, ending_of, sealed_behind
from client.translation.events import StreamFailed
from tests.support.chunks import call, calls, text
from tests.support.sse_reader import parse_events

EVENT = st.tuples(st.binary(min_size=1, max_size=9), st.sampled_from([1, 1, 3000])).map(
    lambda drawn: drawn[0].replace(b"\n", b".") * drawn[1] + b"\n\n"
)
BATCHES = st.lists(st.lists(EVENT, min_size=1, max_size=5), max_size=6)


@settings(max_examples=300, deadline=None)
@given(BATCHES, st.lists(EVENT, min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 50), st.data())
def test_what_follows_on_so_many_bytes_is_what_follows_on_their_last_event(
    batches: list[list[bytes]], ending: list[bytes], begun: int, jump: int, data: st.DataObject
) -> None:
    log, noted = StreamLog(), list[tuple[int, int]]()
    log.begin_behind(begun)
    for batch in batches:
        noted.append((log.last, log.written_bytes))
        log.append(b"".join(batch), len(batch))
    dropped = data.draw(st.integers(begun, log.last))
    log.drop_through(dropped)
    if data.draw(st.booleans()):
        log.close()
    most_bytes = data.draw(st.sampled_from([50, 1 << 20]))
    for number, written_bytes in noted:
        rest = log.rest_behind(written_bytes, most_bytes)
        if number < dropped:
            assert rest is None
        else:
            whole = log.piece_after(number, 1 << 30)
            assert rest == (whole[0] if len(whole[0]) <= most_bytes else None)
    log.jump(log.last + jump)
    log.append(b"".join(ending), len(ending))
    assert all(log.rest_behind(written_bytes, most_bytes) is None for _, written_bytes in noted)


@settings(max_examples=300, deadline=None)
@given(BATCHES, st.lists(EVENT, min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 50), st.data())
def test_a_log_with_a_jump_reads_like_the_list_of_its_numbered_events(
    batches: list[list[bytes]], ending: list[bytes], begun: int, jump: int, data: st.DataObject
) -> None:
    log, events = StreamLog(), list[tuple[int, bytes]]()
    log.begin_behind(begun)
    dropped, last = begun, begun
    for is_ending, batch in [*((False, batch) for batch in batches), (True, ending)]:
        if is_ending:
            last += jump
            log.jump(last)
        log.append(b"".join(batch), len(batch))
        events += enumerate(batch, last + 1)
        last += len(batch)
        if data.draw(st.booleans()):
            before_bytes = log.size_bytes
            dropped = max(dropped, data.draw(st.integers(begun, last)))
            kept_bytes = sum(len(event) for number, event in events if number > dropped)
            assert (log.drop_through(dropped), log.size_bytes) == (before_bytes - kept_bytes, kept_bytes)
    behind = events[-len(ending)][0] - 1
    assert (log.last, log.count) == (last, begun + len(events))
    number = data.draw(st.integers(0, last))
    if number < begun or any(number < at <= dropped for at, _ in events):
        with pytest.raises(EventsGone):
            log.piece_after(number, 10)
        return
    expected = b"".join(event for at, event in events if at > number)
    if data.draw(st.booleans()):
        log.close()
    got = b""
    while number < log.last:
        piece, after = asyncio.run(log.read_after(number, data.draw(st.integers(1, 60))))
        assert piece
        assert number >= behind - jump or after <= behind - jump  # no piece reaches across
        got, number = got + piece, after
    assert got == expected
    log.expire()
    assert log.size_bytes == 0


@pytest.mark.parametrize("last", [0, 1, 57])
@pytest.mark.parametrize("failure", [DIED, Failure("Other.", "internal", 500, False)])
def test_an_end_that_is_told_by_others_is_the_same_everywhere(last: int, failure: Failure) -> None:
    typed = ending_of("s" * 22, last, holds_chunks=False, failure=failure)
    assert [(event.name, event.number) for event in parse_events(typed)] == [
        ("error", last + JUMP + 1),
        ("done", last + JUMP + 2),
    ]
    records = ending_of("s" * 22, last, holds_chunks=True, failure=failure)
    assert (typed.count(b"\n\n"), records.count(b"\n\n")) == (ENDING_COUNT, ENDING_COUNT)
    assert sealed_behind(typed) == sealed_behind(records) == last + JUMP
    assert TypedView("s" * 22).view(records) == typed
    view = TypedView("s" * 22, last + JUMP + 1)
    assert parse_events(view.view(records)) == parse_events(typed)[1:]


@pytest.mark.parametrize(
    "records",
    [
        b"",
        b'event: error\nid: sssssssssssssssssssssss:12\ndata: {"error":"x"}\n\n',
        b'event: error\ndata: {"failure":{"error":"sealed"},"is_upstreams":true}\n\n',
        b'data: {"sealed":1000000001,"a":1}\n\n',
        b"event: content\nid: s:1000000001\ndata: {}\n\n",
    ],
)
def test_nothing_else_is_taken_for_such_an_end(records: bytes) -> None:
    assert sealed_behind(records) is None


def test_numbers_of_events_that_are_made_of_chunks_jump_to_the_same_place_whoever_has_read_how_far() -> None:
    """What was half said (here: a call) is not told at such an end: each reader would tell something else."""
    chunks = [text("Hel"), text("lo"), calls(call(0, '{"a', "find", "call_1")), calls(call(0, '": 1'))]
    ending = ending_of("s" * 22, 2, holds_chunks=True)
    ends = []
    for known in range(2, len(chunks) + 1):
        view = TypedView("s" * 22)
        before = parse_events(b"".join(map(view.view, chunks[:known])))
        assert max(event.number or 0 for event in before) < JUMP
        ends.append(view.view(ending))
    assert set(ends) == {ending_of("s" * 22, 2, holds_chunks=False)}


def test_whoever_reads_events_of_chunks_is_told_nothing_but_the_end() -> None:
    events = EventsOfChunks()
    events.feed(calls(call(0, '{"a', "find", "call_1")))
    failed, done = events.feed(ending_of("s" * 22, 1, holds_chunks=True))
    assert failed == StreamFailed(DIED)
    assert done is events.done
    assert events.failure == DIED

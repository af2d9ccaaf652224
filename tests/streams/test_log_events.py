"""The events of a log are the same, whether it holds typed events or upstream's chunks."""

from __future__ import annotations

from typing import Any

import pytest

from client.streams.log_events import EventsOfChunks, EventsOfEvents, LogEvents, ReasoningFragments
from client.translation.events import Done, ReasoningDelta, StreamFailed, StreamStarted
from tests.streams.test_raw_log import Both
from tests.support.chunks import END, STOP, call, calls, chunk, event, text

SIGNATURE = {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}


def thought(words: str, **more: Any) -> bytes:
    """A chunk of thinking with its entry beside it."""
    entry = {"type": "reasoning.text", "text": words, "format": "anthropic-claude-v1", "index": 0, **more}
    return chunk({"reasoning": words, "reasoning_details": [entry]})


ANSWERS = {
    "text": [text("Hi"), text("\u2028 \x85 🚀"), STOP, END],
    "thinking": [*map(thought, "abcdefghij"), chunk({"reasoning_details": [SIGNATURE]}), text("c"), END],
    "calls": [calls(call(0, '{"a"', "f", "c0"), call(1, "", "g", "c1")), calls(call(0, ":1}")), END],
    "pictures": [chunk({"images": [{"image_url": {"url": "data:,"}}], "annotations": [{"type": "file"}]}), END],
    "failed": [text("a"), event({"error": {"code": 502, "message": "Provider disconnected"}}), END],
    "interrupted": [text("a")],
}


@pytest.mark.parametrize("reads", ANSWERS.values(), ids=ANSWERS)
def test_both_kinds_of_log_tell_the_same(reads: list[bytes]) -> None:
    both = Both().receive(*reads).end()
    typed = told(EventsOfEvents(), both.events)
    raw = told(EventsOfChunks(), both.records)
    assert [each for each in raw if not isinstance(each, ReasoningFragments)] == typed
    assert isinstance(typed[-1], Done)
    for events, records in ((EventsOfEvents(), both.events), (EventsOfChunks(), both.records)):
        one_by_one = [each for record in records.split(b"\n\n")[:-1] for each in events.feed(record + b"\n\n")]
        assert one_by_one == (typed if isinstance(events, EventsOfEvents) else raw)
        assert events.done == typed[-1]
        assert events.failure == next((each.failure for each in typed if isinstance(each, StreamFailed)), None)


def test_fragments_stand_before_what_their_chunk_says() -> None:
    both = Both().receive(*ANSWERS["thinking"]).end()
    events = told(EventsOfChunks(), both.records)
    fragments = [each.entries for each in events if isinstance(each, ReasoningFragments)]
    assert [entry["text"] for (entry,) in fragments[:-1]] == list("abcdefghij")
    assert fragments[-1] == [SIGNATURE]
    for place, each in enumerate(events):
        if isinstance(each, ReasoningFragments) and "text" in each.entries[0]:
            assert events[place + 1] == ReasoningDelta(each.entries[0]["text"])
    assert isinstance(events[0], StreamStarted)


def told(events: LogEvents, records: bytes) -> list[Any]:
    """All events of a log that is read in one piece."""
    return list(events.feed(records))

"""Any log as a run: the table of wire cases, and the same bytes however the records come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client.streams.log_events import EventsOfChunks, EventsOfEvents, LogEvents
from client.streams.raw_log import records_of
from client.translation.events import Done, ToolCall
from server.protocols.ag_ui.request import Asked
from server.protocols.ag_ui.view import AgUiView
from tests.protocols.ag_ui.reading import check_order, parse, said_by
from tests.protocols.wire_cases import CASES, Said
from tests.streams.test_raw_log import Both

ASKED = Asked("t", "r", is_resumable=False)


def view_of(events: LogEvents, **more: Any) -> AgUiView:
    return AgUiView(events, ASKED, "s", **more)


def expected(said: Said) -> Said:
    """What AG-UI has words for: declining is text, and a plain end is not told from one without a reason."""
    finish = "stop" if said.finish is None and said.error is None else said.finish
    return replace(said, text=said.text + said.refusal, refusal="", finish=finish)


@pytest.mark.parametrize("name", CASES)
def test_both_kinds_of_log_say_what_the_table_says(name: str) -> None:
    """traps 2, 5, 6, 7"""
    both = Both().receive(CASES[name].body).end()
    whole = view_of(EventsOfChunks()).view(both.records)
    events = [event for _, event in parse(whole)]
    check_order(events)
    assert said_by(events) == expected(CASES[name].said)
    typed = [event for _, event in parse(view_of(EventsOfEvents()).view(both.events))]
    check_order(typed)
    assert said_by(typed) == expected(CASES[name].said)
    assert [each["type"] for each in typed] == [each["type"] for each in events]


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_the_same_however_its_records_come_and_from_any_event_on(name: str) -> None:
    body = CASES[name].body
    both = Both().receive(*(body[at : at + 37] for at in range(0, len(body), 37))).end()
    whole = view_of(EventsOfChunks(), has_ids=True).view(both.records)
    blocks = [block + b"\n\n" for block in whole.split(b"\n\n")[:-1]]
    assert [each for each, _ in parse(whole)] == [f"s:{number}" for number in range(1, len(blocks) + 1)]
    records = [_written(*record) for record in records_of(both.records)]
    for pieces in (both.batches, records):
        view = view_of(EventsOfChunks(), has_ids=True)
        assert b"".join(map(view.view, pieces)) == whole
    for after in {0, 1, len(blocks) // 2, len(blocks) - 1, len(blocks)}:
        view = view_of(EventsOfChunks(), has_ids=True, after=after)
        assert b"".join(map(view.view, both.batches)) == b"".join(blocks[after:])


def _written(name: str | None, data: bytes) -> bytes:
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"


def test_signed_thinking_is_kept_with_the_thought_or_else_with_what_was_said() -> None:
    for name, entity in (
        ("Q37 signature alone", "REASONING_START"),
        ("Q40 encrypted, then a call", "TOOL_CALL_START"),
        ("Q41 late signature", "REASONING_START"),
    ):
        both = Both().receive(CASES[name].body).end()
        events = [event for _, event in parse(view_of(EventsOfChunks()).view(both.records))]
        (kept,) = [event for event in events if event["type"] == "REASONING_ENCRYPTED_VALUE"]
        opened = next(event for event in events if event["type"] == entity)
        assert kept["entityId"] == opened.get("messageId", opened.get("parentMessageId"))
        assert kept["subtype"] == "message"


def test_calls_belong_to_the_text_before_them() -> None:
    both = Both().receive(CASES["Q58 text, call, text"].body).end()
    events = [event for _, event in parse(view_of(EventsOfChunks()).view(both.records))]
    first, second = [event["messageId"] for event in events if event["type"] == "TEXT_MESSAGE_START"]
    (start,) = [event for event in events if event["type"] == "TOOL_CALL_START"]
    assert start["parentMessageId"] == first != second


@pytest.mark.parametrize("reason", ["abandoned", "interrupted", "shutting_down"])
def test_what_was_stopped_otherwise_than_on_request_is_an_error(reason: str) -> None:
    view = view_of(EventsOfChunks())
    cut = ToolCall(0, "c", "f", '{"a', complete=False)
    body = view.say(cut) + view.say(Done(False, reason, None))
    events = [event for _, event in parse(body)]
    check_order(events)
    assert (events[-1]["code"], reason in events[-1]["message"]) == ("stream_interrupted", True)


def test_a_stop_on_request_is_an_outcome_and_leaves_nothing_open() -> None:
    view = view_of(EventsOfChunks())
    body = view.say(ToolCall(0, "c", "f", '{"a', complete=False)) + view.say(Done(False, "cancelled", None))
    events = [event for _, event in parse(body)]
    check_order(events)
    assert events[-1]["outcome"] == {"type": "cancelled"}
    assert events[-2]["metadata"] == {"openrouter": {"complete": False}}

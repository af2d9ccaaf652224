"""Anthropic's Messages, read by the translator of chat completions through a front."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.border.redaction import Redaction
from client.errors import Failure
from client.streams.raw_log import EventsOfRecords, RawEncoder, records_of
from client.translation.events import (
    Annotation,
    ChatEvent,
    ContentDelta,
    Done,
    ReasoningDelta,
    ReasoningDetails,
    StreamFailed,
    StreamStarted,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from client.translation.foreign.fronts import front_of
from client.translation.foreign.messages import MessagesFront, usage_of
from client.translation.foreign.translator import ForeignTranslator

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "gen-1",
        "type": "message",
        "role": "assistant",
        "model": "a/m",
        "provider": "Acme",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 1},
    },
}
STOP: dict[str, Any] = {"type": "message_stop"}
PING: dict[str, Any] = {"type": "ping"}
FORMAT = "anthropic-claude-v1"
KEY = "sk-or-v1-a-key-that-nobody-may-see"


def opened(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def finish(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5, "cost": 0.25, **usage}}


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [piece(index, type="text_delta", text=each) for each in pieces]
    return [opened(index, type="text", text=""), *deltas, closed(index)]


def sse(*events: dict[str, Any] | bytes) -> bytes:
    return b"".join(
        event if isinstance(event, bytes) else b"event: %b\ndata: %b\n\n" % (_name(event), json.dumps(event).encode())
        for event in events
    )


def _name(event: dict[str, Any]) -> bytes:
    return str(event["type"]).encode()


class Read:
    """One answer as the pump reads it: its events, the log of it, and the events of that log."""

    def __init__(self, *events: dict[str, Any] | bytes, at_once: bool = True) -> None:
        self.translator = ForeignTranslator(MessagesFront(), lambda: 0.0, keeps_payloads=True)
        self.encoder = RawEncoder(self._chunks, Redaction(KEY))
        self.events: list[ChatEvent] = []
        self.log = b""
        data = sse(*events)
        for read in [data] if at_once else [data[at : at + 1] for at in range(len(data))]:
            self._take(self.translator.receive_data(read))
        self._take(self.translator.receive_eof())

    def _take(self, events: list[ChatEvent]) -> None:
        self.events += events
        same = self.translator.same
        self.log += self.encoder.encode_texts(events, self.translator) if same else self.encoder.encode(events)

    def _chunks(self) -> tuple[list[bytes], list[bytes], bool]:
        return *self.translator.take_payloads(), self.translator.has_told_failure

    @property
    def payloads(self) -> list[Any]:
        return [json.loads(data) for name, data in records_of(self.log) if name is None]

    @property
    def of_log(self) -> list[ChatEvent]:
        return EventsOfRecords("messages").feed(self.log)


def failure_of(events: list[ChatEvent]) -> Failure | None:
    return next((event.failure for event in events if isinstance(event, StreamFailed)), None)


WHOLE: tuple[dict[str, Any], ...] = (
    START,
    PING,
    opened(0, type="thinking", thinking="", signature=""),
    piece(0, type="thinking_delta", thinking="Hm"),
    piece(0, type="thinking_delta", thinking="m"),
    piece(0, type="signature_delta", signature="sig"),
    closed(0),
    opened(1, type="redacted_thinking", data="xyz"),
    closed(1),
    *text(2, "Hi", " 🚀\u2028"),
    opened(3, type="tool_use", id="t1", name="f", input={}),
    piece(3, type="input_json_delta", partial_json=""),
    piece(3, type="input_json_delta", partial_json='{"a"'),
    piece(3, type="input_json_delta", partial_json=": 1}"),
    closed(3),
    opened(4, type="tool_use", id="t2", name="g", input={}),
    closed(4),
    finish("tool_use", cache_creation_input_tokens=2),
    STOP,
)


@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_with_everything_in_it(at_once: bool) -> None:
    read = Read(*WHOLE, at_once=at_once)
    usage = next(event for event in read.events if isinstance(event, UsageReport))
    rest = [event for event in read.events if not isinstance(event, UsageReport)]
    assert rest == [
        StreamStarted("gen-1", "a/m", "Acme"),
        ReasoningDelta("Hm"),
        ReasoningDelta("m"),
        ContentDelta("Hi"),
        ContentDelta(" 🚀\u2028"),
        ToolCallDelta(0, "t1", "f", ""),
        ToolCallDelta(0, None, None, '{"a"'),
        ToolCallDelta(0, None, None, ": 1}"),
        ToolCallDelta(1, "t2", "g", ""),
        ToolCall(0, "t1", "f", '{"a": 1}', complete=True),
        ToolCall(1, "t2", "g", "{}", complete=True),
        ReasoningDetails(
            [
                {"type": "reasoning.text", "format": FORMAT, "index": 0, "text": "Hmm", "signature": "sig"},
                {"type": "reasoning.encrypted", "data": "xyz", "format": FORMAT, "index": 1},
            ]
        ),
        Done(True, "tool_calls", "tool_use"),
    ]
    assert usage.total_cost == 0.25
    assert usage.usage == {
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "cost": 0.25,
    }


@pytest.mark.parametrize("at_once", [True, False])
def test_the_log_holds_upstreams_events_and_gives_the_same_ones(at_once: bool) -> None:
    read = Read(*WHOLE, at_once=at_once)
    assert read.payloads == list(WHOLE)
    assert read.of_log == read.events


def test_trap_15_what_leaks_behind_the_end_is_not_kept() -> None:
    read = Read(START, *text(0, "Hi"), finish(), STOP, b"event: data\ndata: [DONE]\n\n", sse(PING), sse(finish()))
    assert read.payloads == [START, *text(0, "Hi"), finish(), STOP]
    assert read.events[-1] == Done(True, "stop", "end_turn")


def test_trap_2_an_end_without_message_stop_is_an_interruption() -> None:
    read = Read(START, *text(0, "Hi"))
    assert [type(event) for event in read.events[-2:]] == [StreamFailed, Done]
    failure = failure_of(read.events)
    assert failure is not None
    assert failure.type == "stream_interrupted"
    assert read.events[-1] == Done(False, "interrupted", None)
    assert read.of_log == read.events
    marked = Read(START, *text(0, "Hi"), b"data: [DONE]\n\n")  # which is no word of this protocol
    assert failure_of(marked.events) == failure


def test_a_finish_without_message_stop_is_an_end_with_a_warning() -> None:
    assert Read(START, *text(0, "Hi"), finish()).events[-1] == Done(True, "stop", "end_turn", "missing_done_marker")


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "something_new"),
    ],
)
def test_stop_reasons(reason: str, finish_reason: str) -> None:
    assert Read(START, *text(0, "Hi"), finish(reason), STOP).events[-1] == Done(True, finish_reason, reason)


def test_a_cut_call_is_not_whole() -> None:
    call = opened(0, type="tool_use", id="t", name="f", input={})
    read = Read(
        START, call, piece(0, type="input_json_delta", partial_json='{"a'), closed(0), finish("max_tokens"), STOP
    )
    assert ToolCall(0, "t", "f", '{"a', complete=False) in read.events
    assert read.events[-1] == Done(True, "length", "max_tokens")


def test_a_call_may_come_with_its_input_in_one_piece() -> None:
    read = Read(
        START, opened(0, type="tool_use", id="t", name="f", input={"a": 1}), closed(0), finish("tool_use"), STOP
    )
    assert ToolCall(0, "t", "f", '{"a":1}', complete=True) in read.events


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "upstream_unavailable"),
        ({"type": "rate_limit_error", "message": "slow down"}, "rate_limited"),
        ({"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}, "context_length_exceeded"),
        ({"type": "billing_error", "message": "pay"}, "insufficient_credits"),
        ("odd", "upstream_unavailable"),
    ],
)
def test_an_error_in_the_middle_is_the_end(error: Any, type_: str) -> None:
    frame = {"type": "error", "error": error, "request_id": "req_1"}
    read = Read(START, *text(0, "Hi"), frame, *text(1, "no more"))
    failure = failure_of(read.events)
    assert failure is not None
    assert failure.type == type_
    assert read.translator.has_told_failure
    assert frame in read.payloads
    assert ContentDelta("no more") not in read.events
    assert read.of_log == read.events


@pytest.mark.parametrize(
    "frame",
    [
        {"error": {"code": 429, "message": "slow down"}},
        {"object": "error", "code": 429, "message": "slow down"},
        [{"error": {"code": 429, "message": "slow down"}}],
    ],
)
def test_an_error_in_another_wrapping_is_one_too(frame: Any) -> None:
    failure = failure_of(Read(b"data: " + json.dumps(frame).encode() + b"\n\n").events)
    assert failure is not None
    assert failure.type == "rate_limited"


def test_what_cannot_be_read_is_no_whole_answer() -> None:
    read = Read(START, *text(0, "Hi"), b'event: content_block_delta\ndata: {"type": "content_bl\n\n', finish(), STOP)
    failure = failure_of(read.events)
    assert failure is not None
    assert failure.type == "upstream_protocol"
    assert not read.translator.has_told_failure


def test_pings_are_no_words_of_the_model() -> None:
    now_s = 0.0
    translator = ForeignTranslator(MessagesFront(), lambda: now_s)
    translator.receive_data(sse(START))
    now_s = 1.0
    assert translator.receive_data(sse(PING)) == []
    assert (translator.last_event_s, translator.last_read_s) == (0.0, 1.0)
    assert translator.receive_data(sse(opened(0, type="server_tool_use", id="s", name="web_search", input={}))) == []
    assert translator.last_event_s == 1.0
    assert translator.skipped == 0


def test_tools_that_upstream_runs_leave_their_citations() -> None:
    page = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "so"}
    read = Read(
        START,
        opened(0, type="server_tool_use", id="s", name="web_search", input={}),
        piece(0, type="input_json_delta", partial_json='{"query": "x"}'),
        closed(0),
        opened(1, type="web_search_tool_result", tool_use_id="s", content=[{"type": "web_search_result"}]),
        closed(1),
        opened(2, type="text", text=""),
        piece(2, type="citations_delta", citation=page),
        piece(2, type="citations_delta", citation={"type": "char_location", "cited_text": "own"}),
        piece(2, type="text_delta", text="So."),
        closed(2),
        finish(server_tool_use={"web_search_requests": 1}),
        STOP,
    )
    cited = {"url": "https://a.example", "title": "A", "content": "so", "start_index": 0, "end_index": 0}
    assert Annotation({"type": "url_citation", "url_citation": cited}) in read.events
    assert not any(isinstance(event, ToolCall | ToolCallDelta) for event in read.events)
    usage = next(event.usage for event in read.events if isinstance(event, UsageReport))
    assert usage["server_tool_use_details"] == {"web_search_requests": 1}
    assert len(read.payloads) == 13
    assert read.of_log == read.events


def test_a_whole_reply_is_kept_as_the_events_that_it_stands_for() -> None:
    whole = {
        **START["message"],
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "sig"},
            {"type": "text", "text": "Hi", "citations": None},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 7, "output_tokens": 5, "cost": 0.5},
    }
    read = Read()
    translator = ForeignTranslator(MessagesFront(), lambda: 0.0, keeps_payloads=True)
    read.translator, read.log, read.encoder.count = translator, b"", 0
    events = translator.receive_completion(json.dumps(whole, indent=1).encode())
    read._take(events)
    assert ReasoningDelta("Hm") in events
    assert ContentDelta("Hi") in events
    assert ToolCall(0, "t", "f", '{"a":1}', complete=True) in events
    assert events[-1] == Done(True, "tool_calls", "tool_use")
    assert [each["type"] for each in read.payloads][:2] == ["message_start", "content_block_start"]
    assert read.payloads[-1] == STOP
    assert read.of_log == events


def test_halves_of_surrogates_and_odd_numbers_are_readable_for_all() -> None:
    halves = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n'
    read = Read(
        START,
        opened(0, type="text", text=""),
        halves % b"\\ud83d",
        halves % b"\\ude80",
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":NaN}}\n\n',
        STOP,
    )
    assert "".join(event.text for event in read.events if isinstance(event, ContentDelta)) == "🚀"
    assert b"NaN" not in read.log
    assert read.of_log == read.events


def test_a_key_in_an_error_is_not_kept() -> None:
    read = Read(START, {"type": "error", "error": {"type": "api_error", "message": f"bad key {KEY}"}})
    assert KEY not in json.dumps(read.payloads)


@pytest.mark.parametrize("odd", [None, 1, "x", [], {}, [{"x": 1}], {"type": {}}])
def test_whatever_an_event_holds_nothing_is_raised(odd: Any) -> None:
    front = MessagesFront()
    for event in WHOLE:
        for name in event:
            mixed = {**event, name: odd}
            list(front.chunks_of(mixed))
            front.events_of_whole(mixed)
        for inner in {"message", "content_block", "delta", "usage"} & event.keys():
            for name in event[inner]:
                list(front.chunks_of({**event, inner: {**event[inner], name: odd}}))
    front.events_of_whole({"type": "message", "content": [odd, {"type": "text", "text": odd}]})
    usage_of({"input_tokens": odd, "output_tokens": odd, "output_tokens_details": odd})
    read = Read(START, *({**event, "delta": odd} for event in WHOLE if "delta" in event), STOP)
    assert isinstance(read.events[-1], Done)


def test_chat_completions_have_no_front() -> None:
    assert front_of("chat") is None
    assert isinstance(front_of("messages"), MessagesFront)

"""OpenAI's Responses, read by the translator of chat completions through a front."""

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
    Image,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    StreamFailed,
    StreamStarted,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from client.translation.foreign.fronts import front_of
from client.translation.foreign.responses import ResponsesFront, usage_of
from client.translation.foreign.translator import ForeignTranslator

FORMAT = "openai-responses-v1"
HEAD = {"id": "gen-1", "object": "response", "model": "a/m", "error": None, "incomplete_details": None}
USAGE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 12,
    "cost": 0.25,
    "is_byok": False,
    "cost_details": {"upstream_inference_input_cost": 0.1, "upstream_inference_output_cost": 0.15},
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def at(index: int, item_id: str | None = None) -> dict[str, Any]:
    return {"item_id": item_id or f"i{index}", "output_index": index}


def item(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"i{index}", "type": kind, **fields}


START = event("created", response={**HEAD, "status": "in_progress", "output": []})
GOES_ON = event("in_progress", response={**HEAD, "status": "in_progress", "output": []})


def ended(status: str = "completed", **more: Any) -> dict[str, Any]:
    return event(status, response={**HEAD, "status": status, "output": [], "usage": USAGE, **more})


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return [event("output_text.delta", **at(index), content_index=0, delta=each) for each in pieces]


class Read:
    """One answer as the pump reads it: its events, the log of it, and the events of that log."""

    def __init__(self, *events: dict[str, Any] | bytes, at_once: bool = True) -> None:
        self.translator = ForeignTranslator(ResponsesFront(), lambda: 0.0, keeps_payloads=True)
        self.encoder = RawEncoder(self._chunks, Redaction())
        self.events: list[ChatEvent] = []
        self.log = b""
        data = b"".join(
            each if isinstance(each, bytes) else b"data: " + json.dumps(each).encode() + b"\n\n" for each in events
        )
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
    def failure(self) -> Failure | None:
        return next((event.failure for event in self.events if isinstance(event, StreamFailed)), None)

    def has(self, kind: type[ChatEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


CALL = item(3, "function_call", call_id="c1", name="f", arguments="")
ENTRY = {"type": "reasoning.summary", "summary": "Hmm", "format": FORMAT, "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "xyz", "format": FORMAT, "index": 0, "id": "i0"}
WHOLE: tuple[dict[str, Any], ...] = (
    START,
    GOES_ON,
    event("output_item.added", output_index=0, item=item(0, "reasoning", summary=[])),
    event("reasoning_summary_part.added", **at(0), summary_index=0, part={"type": "summary_text", "text": ""}),
    event("reasoning_summary_text.delta", **at(0), summary_index=0, delta="Hm"),
    event("reasoning_summary_text.delta", **at(0), summary_index=0, delta="m"),
    event(
        "output_item.done",
        output_index=0,
        item=item(0, "reasoning", summary=[{"type": "summary_text", "text": "Hmm"}], encrypted_content="xyz"),
    ),
    event("output_item.added", output_index=1, item=item(1, "web_search_call", status="in_progress")),
    event("web_search_call.searching", **at(1)),
    event("output_item.added", output_index=2, item=item(2, "message", content=[])),
    event("content_part.added", **at(2), content_index=0, part={"type": "output_text", "text": ""}),
    *text(2, "Hi", " 🚀\u2028"),
    event(
        "output_text.annotation.added",
        **at(2),
        content_index=0,
        annotation_index=0,
        annotation={
            "type": "url_citation",
            "url": "https://a.example",
            "title": "A",
            "start_index": 0,
            "end_index": 2,
        },
    ),
    event("output_text.done", **at(2), content_index=0, text="Hi 🚀\u2028"),
    event(
        "output_item.done", output_index=2, item=item(2, "message", content=[{"type": "output_text", "text": "Hi"}])
    ),
    event("output_item.added", output_index=3, item=CALL),
    event("function_call_arguments.delta", **at(3), delta='{"a"'),
    event("function_call_arguments.delta", **at(3), delta=": 1}"),
    event("function_call_arguments.done", **at(3), name="f", arguments='{"a": 1}'),
    event("output_item.done", output_index=3, item={**CALL, "arguments": '{"a": 1}'}),
    ended(),
)


@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_with_everything_in_it(at_once: bool) -> None:
    read = Read(*WHOLE, at_once=at_once)
    page = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    assert [each for each in read.events if not isinstance(each, UsageReport)] == [
        StreamStarted("gen-1", "a/m", None),
        ReasoningDelta("Hm"),
        ReasoningDelta("m"),
        ContentDelta("Hi"),
        ContentDelta(" 🚀\u2028"),
        Annotation({"type": "url_citation", "url_citation": page}),
        ToolCallDelta(0, "c1", "f", ""),
        ToolCallDelta(0, None, None, '{"a"'),
        ToolCallDelta(0, None, None, ": 1}"),
        ToolCall(0, "c1", "f", '{"a": 1}', complete=True),
        ReasoningDetails([ENTRY, SEALED]),
        Done(True, "tool_calls", "tool_calls"),
    ]
    (usage,) = read.has(UsageReport)
    assert usage.total_cost == 0.25
    assert usage.usage == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "cost": 0.25,
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost_details": {"upstream_inference_prompt_cost": 0.1, "upstream_inference_completions_cost": 0.15},
    }
    assert read.payloads == list(WHOLE)
    assert EventsOfRecords("responses").feed(read.log) == read.events


def test_what_follows_the_end_is_not_kept() -> None:
    read = Read(START, *text(0, "Hi"), ended(), b"data: [DONE]\n\n", *text(0, "more"))
    assert read.payloads == [START, *text(0, "Hi"), ended()]
    assert read.events[-1] == Done(True, "stop", "stop")


def test_trap_2_an_end_without_a_word_is_an_interruption() -> None:
    for more in ([], [b"data: [DONE]\n\n"]):
        read = Read(START, *text(0, "Hi"), *more)
        assert read.failure is not None
        assert read.failure.type == "stream_interrupted"
        assert read.events[-1] == Done(False, "interrupted", None)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("odd", "length"), (None, "length")],
)
def test_an_answer_that_is_not_whole(reason: str | None, finish: str) -> None:
    read = Read(START, *text(0, "Hi"), ended("incomplete", incomplete_details={"reason": reason}))
    assert read.events[-1] == Done(True, finish, reason or finish)


ERRORS = [
    ({"code": "rate_limit_exceeded", "message": "slow"}, None, "rate_limited"),
    ({"code": "server_error", "message": "broken"}, None, "upstream_unavailable"),
    ({"code": "server_error", "message": "late"}, "timeout", "upstream_timeout"),
    ({"code": "invalid_prompt", "message": "odd"}, None, "upstream_rejected"),
    ({"code": "insufficient_quota", "message": "none left"}, None, "insufficient_credits"),
    ({"code": "context_length_exceeded", "message": "long"}, None, "context_length_exceeded"),
    ({"code": "image_content_policy_violation", "message": "no"}, None, "moderation"),
]


@pytest.mark.parametrize(("error", "kind", "expected"), ERRORS)
def test_failures_have_the_type_of_their_words(error: dict[str, Any], kind: str | None, expected: str) -> None:
    beside = {} if kind is None else {"error_type": kind}
    read = Read(START, *text(0, "Hi"), {**ended("failed", error=error), **beside})
    assert read.failure is not None
    assert read.failure.type == expected
    assert error["message"] in read.failure.error
    assert read.has(UsageReport)[0].total_cost == 0.25
    (done,) = read.has(Done)
    assert (done, done.completed) == (read.events[-1], False)
    bare = Read(START, {"type": "error", **error, "param": None, "sequence_number": 7})
    assert bare.failure is not None
    assert bare.failure.type == (expected if kind is None else "upstream_unavailable")
    nested = Read({"error": error})
    assert nested.failure is not None


def test_a_failure_without_a_word() -> None:
    for error in (None, "gone"):
        read = Read(START, ended("failed", error=error))
        assert read.failure is not None


def test_items_that_come_whole_alone() -> None:
    """Some servers send no pieces."""
    part = {"type": "output_text", "text": "Hi"}
    refused = {"type": "refusal", "refusal": "No"}
    read = Read(
        START,
        event("output_item.done", output_index=0, item=item(0, "reasoning", summary=[{"text": "hm"}])),
        event("output_item.done", output_index=1, item=item(1, "message", content=[part, refused])),
        event("output_item.done", output_index=2, item={**CALL, "id": "i2", "arguments": "{}"}),
        event(
            "output_item.done", output_index=3, item=item(3, "custom_tool_call", call_id="c2", name="p", input="*")
        ),
        event("output_item.done", output_index=4, item=item(4, "image_generation_call", result="iVBORw0KGgo=")),
        ended(),
    )
    assert (read.has(ReasoningDelta), read.has(ContentDelta)) == ([ReasoningDelta("hm")], [ContentDelta("Hi")])
    assert read.has(RefusalDelta) == [RefusalDelta("No")]
    assert [(call.name, call.arguments) for call in read.has(ToolCall)] == [("f", "{}"), ("p", '{"input":"*"}')]
    assert read.has(Image)[0].image["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


def test_arguments_that_come_whole_alone() -> None:
    added = event("output_item.added", output_index=3, item=CALL)
    done = event("function_call_arguments.done", **at(3), arguments="[1]")
    item_done = event("output_item.done", output_index=3, item={**CALL, "arguments": "[1]"})
    for events in ([added, done], [added, done, item_done], [added, item_done]):
        assert [call.arguments for call in Read(START, *events, ended()).has(ToolCall)] == ["[1]"]


def test_thinking_and_a_summary_of_it_are_not_told_twice() -> None:
    thinking = event("reasoning_text.delta", **at(0), content_index=0, delta="long")
    summary = event("reasoning_summary_text.delta", **at(0), summary_index=0, delta="short")
    second = event("reasoning_summary_part.added", **at(1), summary_index=1)
    read = Read(START, thinking, summary, second, event("refusal.delta", **at(2), delta="No"), ended())
    assert "".join(each.text for each in read.has(ReasoningDelta)) == "long\n\n"
    assert read.has(RefusalDelta) == [RefusalDelta("No")]


def test_a_reply_that_is_not_streamed_is_read_as_its_events() -> None:
    part = {
        "type": "output_text",
        "text": "Hi",
        "annotations": [{"type": "url_citation", "url": "https://a.example"}],
    }
    output = [
        item(0, "reasoning", summary=[{"type": "summary_text", "text": "hm"}], encrypted_content="xyz"),
        item(1, "message", content=[part, {"type": "refusal", "refusal": "No"}]),
        {**CALL, "id": "i2", "arguments": "{}"},
    ]
    whole = {**HEAD, "status": "completed", "output": output, "usage": USAGE}
    front = front_of("responses")
    assert front is not None
    events = front.events_of_whole(whole)
    assert events[-1] == {"type": "response.completed", "response": whole}
    read = Read(*events)
    assert ("".join(each.text for each in read.has(ContentDelta)), read.has(ReasoningDelta)) == (
        "Hi",
        [ReasoningDelta("hm")],
    )
    assert [call.arguments for call in read.has(ToolCall)] == ["{}"]
    assert len(read.has(Annotation)) == 1
    assert Read(whole).events == read.events
    assert front.events_of_whole({"object": "list", "output": []}) == []
    failed = front.events_of_whole({**whole, "status": "failed", "error": {"code": "server_error", "message": "x"}})
    assert failed[-1]["type"] == "response.failed"


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, {"type": 5}, {"a": [None]}])
def test_odd_values_anywhere_are_borne(odd: Any) -> None:
    for place in WHOLE:
        for name in place:
            read = Read(START, {**place, name: odd}, *text(9, "Hi"), ended())
            assert isinstance(read.events[-1], Done)
        for holder in ("response", "item", "part", "annotation"):
            for name in place.get(holder, {}):
                read = Read(START, {**place, holder: {**place[holder], name: odd}}, ended())
                assert isinstance(read.events[-1], Done)
    assert usage_of({"input_tokens": odd, "output_tokens_details": odd, "cost_details": odd})["total_tokens"] in (
        0,
        5,
    )
    whole = {**HEAD, "status": "completed", "output": [odd, {"type": "message", "content": odd}], "usage": odd}
    assert isinstance(Read(whole).events[-1], Done)

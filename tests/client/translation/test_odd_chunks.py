"""Chunks of every odd form: what can be read is passed on, in the same read too, and nothing is called whole that is
not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.streams.answer import Answer
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent, ContentDelta, Done, StreamFailed, UsageReport
from client.translation.translate import UNREADABLE, ChatTranslator
from tests.support.chunks import DONE, END, HEAD, STOP, USAGE, call, calls, chunk, event, text

DEPTHS = (1200, 20_000)  # test_json_codec goes deeper, and the table of hostile upstreams
HELLO = text("Hello")


def translate(*reads: bytes) -> list[ChatEvent]:
    translator = ChatTranslator(lambda: 0.0)
    events = [found for read in reads for found in translator.receive_data(read)]
    return events + translator.receive_eof()


def result(events: list[ChatEvent]) -> dict[str, Any]:
    """What a collecting caller gets, through the wire."""
    answer = Answer()
    answer.feed(EventEncoder("s").encode(events))
    assert answer.done is not None
    return {**answer.to_result(), "error": answer.error, "completed": answer.done["completed"]}


def read(stream: bytes) -> dict[str, Any]:
    whole = translate(stream)
    assert [type(each) for each in whole].count(Done) == 1
    single = translate(*(part + b"\n\n" for part in stream.split(b"\n\n") if part))
    found = result(whole)
    assert result(single) == found
    return found


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def with_deep(value: dict[str, Any], depth: int) -> bytes:
    """The event with `"DEEP"` replaced by a deep array."""
    return b"data: " + json.dumps(value).encode().replace(b'"DEEP"', deep(depth)) + b"\n\n"


PLACES: dict[str, dict[str, Any]] = {
    "unknown field": {"x": "DEEP", "choices": [{"delta": {"content": "!"}}]},
    "unknown field of the delta": {"choices": [{"delta": {"content": "!", "zzz": "DEEP"}}]},
    "usage": {"choices": [{"delta": {"content": "!"}}], "usage": {"cost": 0.01, "x": "DEEP"}},
    "annotations": {"choices": [{"delta": {"content": "!", "annotations": [{"x": "DEEP"}]}}]},
    "details": {"choices": [{"delta": {"content": "!", "reasoning_details": [{"type": "t", "index": "DEEP"}] * 2}}]},
    "logprobs": {"choices": [{"delta": {"content": "!"}, "logprobs": {"content": ["DEEP"]}}]},
    "id": {"id": "DEEP", "choices": [{"delta": {"content": "!"}}]},
    "role": {"choices": [{"delta": {"content": "!", "role": "DEEP"}, "finish_reason": "DEEP", "index": "DEEP"}]},
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("place", PLACES)
def test_nesting_where_nobody_looks_ends_nothing(place: str, depth: int) -> None:
    """break-it 6, faults R1"""
    found = read(HELLO + with_deep(PLACES[place], depth) + END)
    assert (found["content"], found["error"], found["completed"]) == ("Hello!", None, True)
    assert found["usage"]["cost"] == 0.001


@pytest.mark.parametrize("depth", DEPTHS)
def test_nesting_in_the_last_usage_loses_neither_text_nor_cost(depth: int) -> None:
    """break-it 6: all of it in one read"""
    usage = with_deep({"choices": [], "usage": {"cost": 0.01, "x": "DEEP"}}, depth)
    found = read(HELLO + STOP + usage + DONE)
    assert (found["content"], found["usage"]["cost"], found["completed"]) == ("Hello", 0.01, True)


@pytest.mark.parametrize("depth", DEPTHS)
def test_nesting_in_arguments_is_passed_on_whole(depth: int) -> None:
    """break-it 6: a call with other arguments than the model's must not be run"""
    fragment = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": "DEEP"}}}
    found = read(with_deep({"choices": [{"delta": {"tool_calls": [fragment]}}]}, depth) + END)
    function = found["tool_calls"][0]["function"]
    assert function["arguments"].replace(" ", "") == '{"x":' + deep(depth).decode() + "}"
    assert "complete" not in found["tool_calls"][0]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("place", ["code", "metadata", "message"])
def test_nesting_in_an_error_is_upstreams_error(place: str, depth: int) -> None:
    """break-it 6"""
    found = read(HELLO + with_deep({"error": {"message": "m", "code": 502, place: "DEEP"}}, depth))
    assert found["content"] == "Hello"
    assert found["error"]["type"] != "internal"


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"choices":[{"delta":{"content":"x"\n\n',
        b'data: {"choices":[{"delta":{"content":"x"}}]}}\n\n',
        b"data: {'choices': 1}\n\n",
        b'data: {"choices":[{"delta":{"content":"x","y":' + b"[" * 5000 + b"}}]}\n\n",
    ],
)
def test_what_cannot_be_read_and_may_have_been_text_is_never_whole(broken: bytes) -> None:
    """break-it 6: an answer whose text was lost is not completed, and the fault is not this server's"""
    for stream in (HELLO + broken + text(" there") + END, HELLO + broken + DONE):
        found = read(stream)
        assert found["content"] == "Hello"
        assert found["error"]["type"] == "upstream_protocol"
        assert not found["completed"]
    assert read(HELLO + broken + text(" there") + END)["usage"]["cost"] == 0.001
    assert read(broken + HELLO + END)["completed"] is False
    assert read(HELLO + STOP + broken + END)["completed"] is True


def test_events_without_their_empty_line_and_fields_named_twice_lose_nothing() -> None:
    joined = HELLO.replace(b"\n\n", b"\n") + text(" there").replace(b"\n\n", b"\n") + END
    assert (read(joined)["content"], read(joined)["completed"]) == ("Hello there", True)
    ending = HELLO + STOP.replace(b"\n\n", b"\n") + DONE
    assert [type(each).__name__ for each in translate(ending)] == ["StreamStarted", "ContentDelta", "Done"]
    twice = (HELLO + END).replace(b"data: ", b"data: data: ")
    assert (read(twice)["content"], read(twice)["completed"]) == ("Hello", True)
    half = HELLO + HELLO.replace(b"\n\n", b"\n") + b'data: {"choices":\n\n' + END
    assert (read(half)["content"], read(half)["completed"]) == ("Hello", False)


def test_whatever_one_payload_raises_the_others_are_passed_on() -> None:
    """break-it 6, faults R1: an exception that nobody foresaw, here the clock's"""

    class Clock:
        breaks = False
        read = 0

        def __call__(self) -> float:
            self.read += 1
            if self.breaks and self.read > 1:
                raise MemoryError
            return 0.0

    failed = chunk({}, error={"code": 500}, usage=USAGE)  # a report of usage is timed
    clock = Clock()
    translator = ChatTranslator(clock)
    translator.receive_data(text("a"))
    clock.read, clock.breaks = 0, True
    events = translator.receive_data(HELLO + failed + text("lost") + DONE)
    assert events == [ContentDelta("Hello"), StreamFailed(UNREADABLE), Done(False, "error", None)]

    for stream in (HELLO + STOP, HELLO):
        clock = Clock()
        ended = ChatTranslator(clock)
        ended.receive_data(stream)
        ended.usage = USAGE
        clock.breaks = True
        events = ended.close(None)
        assert [type(each) for each in events] == [StreamFailed, Done]
        assert ended.close(None) == []


def test_a_choice_of_another_index_is_never_mixed_in() -> None:
    """break-it 27"""
    one = event({"choices": [{"index": 0, "delta": {"content": "A"}}]})
    for index in (1, 2.0, "1", 7):
        other = event({"choices": [{"index": index, "delta": {"content": "B"}, "finish_reason": "stop"}]})
        both = [{"index": index, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "A"}}]
        assert read(one + other + one + END)["content"] == "AA"
        assert read(other + one + event({"choices": both}) + END)["content"] == "AA"
        alone = read(other + event({"choices": [], "usage": USAGE}) + DONE)
        assert (alone["content"], alone["completed"], alone["error"]["type"]) == ("", False, "upstream_protocol")
        assert read(other + DONE)["completed"] is False
    unnumbered = event({"choices": [{"delta": {"content": "A"}}, {"delta": {"content": "B"}}]})
    assert read(unnumbered + END)["content"] == "A"
    split = event({"choices": [{"index": 0, "delta": {"content": "A"}}, {"index": "0", "delta": {"content": "B"}}]})
    assert read(split + END)["content"] == "AB"


NOTHING = ["", "null", "None", "NULL", " ", "undefined", False, 0, {}, [], "FINISH_REASON_UNSPECIFIED", "in_progress"]


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_word_for_no_finish_is_none(nothing: Any) -> None:
    """faults A1"""

    def said(delta: dict[str, Any], finish: Any) -> bytes:
        choice = {"delta": delta, "finish_reason": finish, "native_finish_reason": finish}
        return event({**HEAD, "choices": [choice], "usage": USAGE})

    start = said({"tool_calls": [call(0, "", "rm", "a")]}, nothing)
    more = said({"tool_calls": [call(0, '{"x":1}')]}, nothing)
    found = read(start + more + said({}, "tool_calls") + DONE)
    assert [each["function"] for each in found["tool_calls"]] == [{"name": "rm", "arguments": '{"x":1}'}]
    assert (found["finish_reason"], found["native_finish_reason"]) == ("tool_calls", "tool_calls")
    under_way = ChatTranslator(lambda: 0.0)
    under_way.receive_data(start)
    assert not under_way.is_lingering  # two seconds of silence do not end it
    cut = read(start)
    assert (cut["completed"], cut["error"]["type"]) == (False, "stream_interrupted")


def test_a_finish_that_more_follows_was_none() -> None:
    """faults A1: a call never grows after it was said to be complete"""
    pieces = [
        calls(call(0, piece, *more), finish="tool_calls") for piece, *more in (("", "rm", "a"), ('{"x"',), (":1}",))
    ]
    events = translate(*pieces, chunk({}, "tool_calls", usage=USAGE), DONE)
    found = result(events)
    assert [each["function"]["arguments"] for each in found["tool_calls"]] == ['{"x":1}']
    assert [type(each).__name__ for each in events][-3:] == ["ToolCall", "UsageReport", "Done"]
    said = read(chunk({"content": "a"}, "stop") + chunk({"content": "b"}, "stop") + END)
    assert (said["content"], said["finish_reason"], said["completed"]) == ("ab", "stop", True)
    assert read(chunk({"content": "a"}, "stop") + text("b"))["finish_reason"] == "interrupted"


@pytest.mark.parametrize(
    ("delta", "field", "expected"),
    [
        ({"content": 5}, "content", "5"),
        ({"content": 0}, "content", "0"),
        ({"content": {"type": "text", "text": "x"}}, "content", "x"),
        ({"content": ["x", {"type": "output_text", "text": {"value": "y"}}]}, "content", "xy"),
        ([{"content": "x"}, {"content": "y"}], "content", "xy"),
        ("x", "content", "x"),
        ({"reasoning": {"content": "hm"}}, "reasoning", "hm"),
        ({"reasoning": [{"text": "h"}, "m"]}, "reasoning", "hm"),
        ({"thinking": "hm"}, "reasoning", "hm"),
        ({"reasoning_text": "hm"}, "reasoning", "hm"),
        ({"thinking": {"thinking": "hm"}}, "reasoning", "hm"),
        ({"reasoning": "", "reasoning_content": "hm"}, "reasoning", "hm"),
        ({"reasoning": "hm", "reasoning_content": "hm", "thinking": "hm"}, "reasoning", "hm"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "reasoning", "hm"),
        ({"content": [{"type": "thinking", "thinking": "hm"}], "reasoning": "hm"}, "reasoning", "hm"),
        ({"content": [{"type": "reasoning", "summary": [{"text": "hm"}]}]}, "reasoning", "hm"),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "refusal", "no"),
        ({"refusal": {"text": "no"}}, "refusal", "no"),
        ({"content": [{"type": "image_url", "image_url": {"url": "u"}}]}, "images", None),
        ({"images": ["u"]}, "images", [{"type": "image_url", "image_url": {"url": "u"}}]),
        ({"annotations": {"type": "x"}}, "annotations", [{"type": "x"}]),
    ],
)
def test_every_spelling_of_text_is_text(delta: Any, field: str, expected: Any) -> None:
    """faults G2"""
    found = read(event({**HEAD, "choices": [{"delta": delta}]}) + END)
    assert found[field] == (expected if expected is not None else [delta["content"][0]])
    assert found["completed"]


def test_thinking_that_must_be_sent_back_is_among_the_details() -> None:
    parts = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        {"type": "reference", "reference_ids": [1]},
    ]
    found = read(chunk({"content": parts}) + END)
    assert (found["content"], found["reasoning"]) == ("Hi", "hm")
    assert [entry["type"] for entry in found["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]
    assert found["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert found["extra"] == {"content": [{"type": "reference", "reference_ids": [1]}]}


def test_function_call_is_a_call() -> None:
    """faults G1"""
    for chunks in (
        [{"name": "f", "arguments": "{}"}],
        [{"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ":1}"}],
        [{"name": "f", "arguments": '{"a"'}, {"name": "f", "arguments": ":1}"}],
    ):
        stream = b"".join(chunk({"content": None, "function_call": piece}) for piece in chunks)
        found = read(stream + chunk({}, "function_call") + DONE)
        arguments = "{}" if len(chunks) == 1 else '{"a":1}'
        assert [each["function"] for each in found["tool_calls"]] == [{"name": "f", "arguments": arguments}]
        assert found["finish_reason"] == "tool_calls"


def test_choices_as_an_object_and_usage_in_every_chunk_are_understood() -> None:
    odd = [{"0": {"delta": {"content": "a"}}}, {"delta": {"content": "b"}, "index": 0}]
    stream = b"".join(event({**HEAD, "choices": each, "usage": {"cost": 9}}) for each in odd)
    found = read(stream + event({"choices": [{"text": "c", "usage": USAGE, "finish_reason": "stop"}]}) + DONE)
    assert (found["content"], found["usage"]["cost"]) == ("abc", 0.001)


def test_a_role_alone_begins_the_answer_and_says_nothing() -> None:
    names = [type(each).__name__ for each in translate(chunk({"role": "assistant"}) + END)]
    assert names == ["StreamStarted", "UsageReport", "Done"]


def test_an_unusable_usage_ends_with_one_done() -> None:
    """break-it 4"""
    for usage in (b'{"cost":' + b"9" * 400 + b"}", b'{"cost":1e999}', b'{"is_byok":true,"cost":NaN}'):
        events = translate(HELLO + STOP + b'data: {"choices":[],"usage":' + usage + b"}\n\n" + DONE)
        assert isinstance(events[-1], Done)
        assert sum(isinstance(each, UsageReport) for each in events) <= 1

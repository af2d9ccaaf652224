"""Corners of the pure modules that no recorded quirk leads to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.errors import Failure, Refusal
from client.streams.answer import Answer
from client.streams.wire import EventEncoder
from client.translation.chunks.chunk import chunk_of
from client.translation.errors.failures import failure_of_error
from client.translation.errors.waits import parse_retry_after
from client.translation.events import Annotation, Audio, ChatEvent, ContentDelta, Done, RefusalDelta, StreamFailed
from client.translation.reasoning import ReasoningMerger
from client.translation.tool_calls import ToolCallAssembler
from client.translation.translate import EMPTY_REPLY, ChatTranslator, State
from client.translation.usage import tokens_per_second, total_cost_of
from tests.support.chunks import DONE, STOP, USAGE, call, chunk, text


def translator() -> ChatTranslator:
    return ChatTranslator(lambda: 0.0)


def test_a_refusal_carries_its_failure() -> None:
    assert Refusal(EMPTY_REPLY).failure is EMPTY_REPLY


def test_odd_scalars_in_a_chunk_are_taken_or_dropped() -> None:
    found = chunk_of({"id": 5, "model": True, "choices": [{"delta": {"content": 1.5, "annotations": 3}}, 7]})
    assert (found.id, found.model) == ("5", None)
    assert found.pieces == [(ContentDelta, "1.5")]
    assert found.extra_of_choice == {"annotations": [3]}


def test_reasoning_entries_keep_what_is_no_object_and_fill_what_was_missing() -> None:
    merger = ReasoningMerger()
    merger.add(
        [
            "x",
            {"type": "reasoning.text", "text": None},
            {"type": "reasoning.text", "text": "a", "extra": 1, "format": ""},
        ]
    )
    merger.add([{"type": "reasoning.text", "extra": 2}])
    assert merger.merged() == ["x", {"type": "reasoning.text", "text": "a", "extra": 1}]


def test_tool_call_fragments_of_the_oddest_forms() -> None:
    calls = ToolCallAssembler()
    assert calls.add(["junk", {"index": 0, "function": "none", "id": "a"}]) == []
    announced, whole = calls.finish()
    assert (announced.name, whole.arguments) == ("", "{}")
    assert calls.finish() == []
    calls = ToolCallAssembler()
    calls.add([call(None, "[", "f"), call(None, "1"), call(None, "]")])
    assert [each.arguments for each in calls.finish() if hasattr(each, "complete")] == ["[1]"]
    calls = ToolCallAssembler()
    calls.add([call(None, "{}", "f", "same"), call(None, "{}", "f", "same"), call(None, "{}", "g")])
    assert sum(hasattr(each, "complete") for each in calls.finish()) == 3


def test_lingering_is_told_once_all_that_matters_came() -> None:
    under_way = translator()
    under_way.receive_data(text("x"))
    assert not under_way.is_lingering
    under_way.receive_data(STOP)
    assert not under_way.is_lingering
    under_way.receive_data(chunk({}, "stop", usage=USAGE))
    assert under_way.is_lingering
    failed = translator()
    failed.receive_data(chunk(error={"code": 500}))
    assert failed.is_lingering
    assert failed.receive_eof() == [Done(False, None, None)]


def test_a_stop_from_outside_ends_once_and_with_our_word() -> None:
    under_way = translator()
    under_way.receive_data(text("x\ud83d"))
    events = under_way.close(None, "cancelled")
    assert events[-1] == Done(False, "cancelled", None)
    assert under_way.close(None, "cancelled") == []
    assert under_way.receive_data(DONE) == under_way.receive_eof() == []


def test_a_completion_whose_choices_are_no_objects_is_an_error() -> None:
    odd = translator()
    assert [type(each).__name__ for each in odd.receive_completion(b'{"choices": [1]}')] == ["StreamFailed", "Done"]
    assert odd.state is State.DONE


def test_an_error_chunk_with_text_begins_the_answer_first() -> None:
    names = [type(each).__name__ for each in translator().receive_data(chunk({"content": "x"}, error={"code": 502}))]
    assert names == ["StreamStarted", "ContentDelta", "StreamFailed"]


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        ({"code": 403, "message": "not in your region"}, "upstream_rejected"),
        ({"code": True}, "upstream_unavailable"),
        ({"code": "x" * 600, "error_type": "timeout"}, "upstream_timeout"),
        (
            {"code": 402, "metadata": {"raw": {"error": {"error": {"error": {"error": "deep"}}}}}},
            "insufficient_credits",
        ),
        ({"code": 502, "metadata": {"raw": "{not json"}}, "upstream_unavailable"),
        ({"code": 502, "metadata": {"raw": 5, "list": [{"a": [[[[1]]]]}]}}, "upstream_unavailable"),
    ],
)
def test_odd_error_objects(error: dict[str, Any], type_: str) -> None:
    found = failure_of_error(error)
    assert found.type == type_
    assert len(json.dumps(found.upstream)) < 2000


def test_dates_without_a_clock_or_a_zone() -> None:
    assert parse_retry_after("Tue, 26 Oct 2026 07:33:30 GMT", None) is None
    assert parse_retry_after("Tue, 26 Oct 2026 07:33:30 -0000", 1_793_000_000.0) == 10.0
    assert parse_retry_after(True, 0.0) is None


def test_costs_and_speeds_that_are_unknown() -> None:
    assert total_cost_of({"is_byok": True}) is None
    assert total_cost_of({"is_byok": True, "cost": 0.1, "cost_details": {"upstream_inference_cost": 0.2}}) == 0.3
    assert tokens_per_second({"completion_tokens": 10}, 2.0) == 5.0
    assert tokens_per_second({"completion_tokens": 0}, 2.0) is None
    assert tokens_per_second({"completion_tokens": True}, 2.0) is None


def test_lone_surrogates_and_line_separators_stay_on_one_line_of_json() -> None:
    encoder = EventEncoder("s")
    events: list[ChatEvent] = [RefusalDelta("a\ud83d"), Annotation({"t": "\u2028"}), Audio({"x": "ascii"})]
    for number, each in enumerate(events, 1):
        head, payload = encoder.encode([each]).decode().split("\ndata: ")
        assert head.endswith(f"id: s:{number}")
        assert len(payload.splitlines()) == 2
        json.loads(payload)
    pair = EventEncoder("s").encode([RefusalDelta("\ud83d")]) + EventEncoder("s").encode([RefusalDelta("\ude00")])
    assert pair.isascii()
    assert b"\\ud83d" in EventEncoder("s").encode([ContentDelta("\ud83d")])


def test_an_answer_knows_its_images_and_joins_audio() -> None:
    encoder, answer = EventEncoder("s"), Answer()
    for piece in ({"id": "a", "expires_at": None}, {"data": "x"}):
        answer.feed(encoder.encode([Audio(piece)]))
    answer.feed(b"")
    assert answer.images == []
    assert answer.to_result()["audio"] == {"id": "a", "data": "x"}


def test_failures_leave_out_what_they_do_not_know() -> None:
    shown = json.loads(
        EventEncoder("s").encode([StreamFailed(Failure("e", "t", 1, False))]).decode().split("data: ")[1]
    )
    assert shown == {"error": "e", "type": "t", "status": 1, "retryable": False}

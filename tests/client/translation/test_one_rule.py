"""What an answer is does not depend on the way in which it comes: as chunks, as a whole completion inside a stream or
instead of one, by the short way of chunks that recur or by the rule for all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.streams.answer import Answer
from client.streams.wire import EventEncoder
from client.translation.chunks.chunk import chunk_of
from client.translation.events import ChatEvent, ContentDelta, Done, StreamStarted, ToolCallDelta
from client.translation.reasoning import ReasoningMerger
from client.translation.recurrence import Recurrences
from client.translation.translate import ChatTranslator
from tests.support.chunks import DONE, END, HEAD, STOP, USAGE, call, chunk, event, text


def result(events: list[ChatEvent]) -> dict[str, Any]:
    answer = Answer()
    answer.feed(EventEncoder("s").encode(events))
    assert answer.done is not None
    return {**answer.to_result(), "error": answer.error, "done": answer.done}


def streamed(*events: bytes) -> dict[str, Any]:
    translator = ChatTranslator(lambda: 0.0)
    found = [each for data in events for each in translator.receive_data(data)]
    found += translator.receive_eof()
    assert [type(each) for each in found].count(Done) == 1
    assert type(found[-1]) is Done
    return result(found)


def whole(completion: dict[str, Any]) -> dict[str, Any]:
    return result(ChatTranslator(lambda: 0.0).receive_completion(json.dumps(completion).encode()))


def completion(message: Any, finish: Any = "stop", **top: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish, "native_finish_reason": finish}
    return {**HEAD, "object": "chat.completion", "choices": [choice], **top}


def test_a_whole_completion_that_ends_in_an_error_ends_once() -> None:
    """faults B1"""
    choice = {
        "index": 0,
        "finish_reason": "error",
        "native_finish_reason": "MALFORMED_FUNCTION_CALL",
        "message": {"role": "assistant", "content": None},
    }
    failed = {"id": "g", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5, "cost": 0.001}}
    translator = ChatTranslator(lambda: 0.0)
    events = translator.receive_completion(json.dumps(failed).encode())
    assert [type(each).__name__ for each in events] == ["StreamStarted", "UsageReport", "StreamFailed", "Done"]
    assert translator.usage is not None
    assert result(events) == streamed(event(failed), DONE)
    assert "MALFORMED_FUNCTION_CALL" in result(events)["error"]["error"]


def test_a_whole_completion_inside_a_stream_is_read() -> None:
    """faults B2"""
    message = {"role": "assistant", "content": "Hi", "reasoning": "hm", "tool_calls": [call(0, "{}", "f", "a")]}
    found = streamed(event(completion(message, "tool_calls", usage=USAGE)), DONE)
    assert (found["content"], found["reasoning"], len(found["tool_calls"])) == ("Hi", "hm", 1)
    nothing: list[Any] = [None, {}, {"role": "assistant", "content": ""}, []]
    for delta in nothing:
        beside = completion(message, usage=USAGE)
        beside["choices"][0]["delta"] = delta
        assert streamed(event(beside), DONE)["content"] == "Hi"


def test_a_message_that_repeats_the_pieces_before_it_adds_what_they_did_not_bring() -> None:
    """Some upstreams say all again in every chunk, or in the last one."""
    message = {"role": "assistant", "content": "Hi", "annotations": [{"type": "x"}, {"type": "y"}]}
    pieces = []
    for piece in ("H", "i"):
        both = completion(message, None)
        both["choices"][0]["delta"] = {"content": piece}
        pieces.append(event(both))
    found = streamed(*pieces, event(completion(message)), END)
    assert found["content"] == "Hi"
    assert found["annotations"] == message["annotations"]
    plain = streamed(text("H"), text("i"), event(completion(message)), END)
    assert (plain["content"], plain["annotations"]) == ("Hi", message["annotations"])


def test_a_list_of_chunks_is_read_one_by_one() -> None:
    parts = [json.loads(each[6:]) for each in (text("Hi"), STOP)]
    assert streamed(event(parts), END)["content"] == "Hi"
    failed = ChatTranslator(lambda: 0.0).receive_completion(b'[{"error": {"code": 429, "message": "slow"}}]')
    assert result(failed)["error"]["type"] == "rate_limited"


TEXTS = st.text(st.sampled_from('ab "\\\n\u2028é🚀'), min_size=1, max_size=6)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXTS | st.just([{"type": "text", "text": "p"}])},
    optional={
        "reasoning": st.none() | TEXTS,
        "thinking": TEXTS,
        "reasoning_content": TEXTS,
        "reasoning_details": st.just([{"type": "reasoning.text", "text": "r", "index": 0}]),
        "refusal": st.none() | TEXTS,
        "annotations": st.just([{"type": "url_citation"}]),
        "images": st.just([{"type": "image_url", "image_url": {"url": "u"}}]),
        "audio": st.just({"data": "AAAA", "transcript": "t"}),
        "tool_calls": st.just([call(0, '{"a":1}', "f", "a"), call(1, "{}", "g", "b")]),
        "function_call": st.just({"name": "f", "arguments": "{}"}),
        "zzz": st.just([1]),
    },
)
FINISHES = st.sampled_from(["stop", "length", "tool_calls", "error", "content_filter", "", None, "null", "paused"])
TOPS = st.fixed_dictionaries(
    {},
    optional={
        "usage": st.just(USAGE),
        "service_tier": st.just("flex"),
        "error": st.just({"code": 502, "message": "m"}),
        "citations": st.just(["u"]),
    },
)


@settings(max_examples=200, deadline=None)
@given(MESSAGES, FINISHES, TOPS)
def test_a_message_is_the_same_whole_inside_a_stream_and_as_a_delta(
    message: dict[str, Any], finish: Any, top: dict[str, Any]
) -> None:
    """faults B1, B2"""
    as_chunk = completion(message, finish, **top)
    as_chunk["choices"][0]["delta"] = as_chunk["choices"][0].pop("message")
    expected = whole(completion(message, finish, **top))
    assert streamed(event(completion(message, finish, **top)), DONE) == expected
    assert streamed(event(as_chunk), DONE) == expected


@settings(max_examples=100, deadline=None)
@given(MESSAGES, FINISHES, TOPS)
def test_a_message_is_the_same_in_pieces(message: dict[str, Any], finish: Any, top: dict[str, Any]) -> None:
    """faults B1, B2: each field in a chunk of its own, then the rest"""
    spellings = ("reasoning_details", "reasoning", "reasoning_content", "thinking")
    first = next((name for name in spellings if message.get(name)), "")  # in one chunk they say the same thing
    message = {name: value for name, value in message.items() if name not in spellings or name == first}
    if "tool_calls" in message:
        message.pop("function_call", None)  # the same call in the older words
    pieces = [chunk({name: value}) for name, value in message.items() if name != "zzz"]
    rest = {name: value for name, value in message.items() if name == "zzz"}
    choice = {"index": 0, "delta": rest, "finish_reason": finish, "native_finish_reason": finish}
    top.pop("error", None)  # a bare error begins no answer, the pieces have begun one
    found = streamed(*pieces, event({**HEAD, "choices": [choice], **top}), DONE)
    expected = whole(completion(message, finish, **top))
    for each in (found, expected):  # what came late is told late
        for place in (each["done"], each["usage"] or {}):
            place.pop("extra", None)
    assert found == expected


# -- the short ways -------------------------------------------------------------------------------------------------


def careful(stream: list[bytes]) -> list[ChatEvent]:
    """Each chunk in a list, which no short way knows."""
    events = b"".join(stream).split(b"\n\n")
    lists = [b"data: [" + each[6:] + b"]" if each.startswith(b"data: {") else each for each in events]
    return quick([each + b"\n\n" for each in lists])


def quick(stream: list[bytes]) -> list[ChatEvent]:
    translator = ChatTranslator(lambda: 0.0)
    return [each for data in stream for each in translator.receive_data(data)] + translator.receive_eof()


def thinking(said: str, told: str, **more: Any) -> bytes:
    entry = {"type": "reasoning.text", "text": told, "index": 0, **more}
    return chunk({"role": "assistant", "content": "", "reasoning": said, "reasoning_details": [entry]})


ODD_TEXT = st.sampled_from(
    ["a", "", '"', "\\", '","x":"', '"}}]}', "\u2028é", "🚀", "\ud83d", "\ude00", "content", "\x010"]
)
PIECES = (
    st.builds(text, ODD_TEXT)
    | st.builds(lambda t: chunk({"content": t}, service_tier="flex", zzz=[1]), ODD_TEXT)
    | st.builds(lambda t, n: chunk({"content": t}, created=n), ODD_TEXT, st.integers(0, 2))
    | st.builds(lambda t: chunk({"reasoning": t}), ODD_TEXT)
    | st.builds(thinking, ODD_TEXT, ODD_TEXT)
    | st.builds(lambda t: chunk({"tool_calls": [call(0, t)]}), ODD_TEXT)
    | st.builds(lambda t: chunk({"tool_calls": [call(1, t, "g", "b")]}), ODD_TEXT)
    | st.sampled_from([chunk({"content": "x"}, usage=USAGE), chunk({"annotations": [{"a": "content"}]}), b": c\n\n"])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | PIECES.flatmap(lambda piece: st.just(piece)), min_size=1, max_size=4), st.integers(1, 6))
def test_chunks_that_recur_are_read_as_any_other(pieces: list[bytes], times: int) -> None:
    stream = [text("begin"), chunk({"tool_calls": [call(0, "", "f", "a")]}), *(pieces * times), STOP, END]
    assert quick(stream) == careful(stream)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PIECES, st.integers(1, 12)), min_size=1, max_size=4), st.integers(1, 30))
def test_chunks_that_come_at_once_are_read_as_one_by_one(runs: list[tuple[bytes, int]], read_chunks: int) -> None:
    chunks = [text("begin"), *(piece for piece, times in runs for _ in range(times)), STOP, END]
    reads = [b"".join(chunks[at : at + read_chunks]) for at in range(0, len(chunks), read_chunks)]
    assert quick(reads) == careful(chunks)


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize(
    "constant",
    [
        {},
        {"system_fingerprint": "fp_1", "service_tier": "default", "created": 1, "object": "chat.completion.chunk"},
        {"x_unknown": {"a": ['"content":"x"']}},
    ],
)
def test_constant_fields_are_told_once_and_cost_no_event_its_short_way(constant: dict[str, Any], count: int) -> None:
    """faults G3"""
    chunks = [chunk({"role": "assistant", "content": f"piece {n}"}, **constant) for n in range(count)]
    translator = ChatTranslator(lambda: 0.0)
    events = [each for data in chunks for each in translator.receive_data(data)]
    assert events[1:] == [ContentDelta(f"piece {n}") for n in range(count)]
    assert isinstance(events[0], StreamStarted)
    told = {name: value for name, value in constant.items() if name not in ("object", "created")}
    assert events[0].extra == (told or None)


def test_a_shape_is_made_of_the_second_chunk_with_unknown_fields() -> None:
    recurrences = Recurrences(ReasoningMerger().add_texts)
    payload = chunk({"role": "assistant", "content": "a"}, service_tier="flex")[6:-2]
    found = json.loads(payload)
    for _ in range(2):
        assert recurrences.content_in is None
        recurrences.note(payload, chunk_of(found))
    assert recurrences.content_in is not None
    assert recurrences.content_in(payload.replace(b'"a"', b'"b \\" c"')) == 'b " c'
    for other in (b'"flux"', b"null"):
        assert recurrences.content_in(payload.replace(b'"flex"', other)) is None
    assert recurrences.content_in(payload.replace(b'"a"', b'"b", "refusal": "no"')) is None


def test_chunks_that_never_recur_cost_no_shapes_for_long() -> None:
    recurrences = Recurrences(ReasoningMerger().add_texts)
    made = []
    for number in range(30):
        payload = chunk({"content": "a"}, count=number)[6:-2]
        found = json.loads(payload)
        recurrences.note(payload, chunk_of(found))
        made.append(recurrences.content_in)
    assert len({id(each) for each in made if each}) < 12
    assert made[-1] is None


# -- what there is no word for --------------------------------------------------------------------------------------


def test_logprobs_stand_beside_the_text_they_belong_to() -> None:
    """faults G3"""

    def said(delta: dict[str, Any], logprobs: Any) -> bytes:
        return event({**HEAD, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs}]})

    def of(token: str) -> dict[str, Any]:
        return {"content": [{"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []}], "refusal": None}

    stream = [
        said({"content": "a"}, of("a")),
        said({"content": "b"}, None),
        said({"content": ""}, of("late")),
        said({"refusal": "no"}, {"content": None, "refusal": [{"token": "no"}]}),
        said({"tool_calls": [call(0, "{", "f", "i")]}, of("{")),
        said({"tool_calls": [call(0, "}")]}, {"content": [], "refusal": None}),
        END,
    ]
    events = quick(stream)
    beside = [(type(each).__name__, more) for each in events if (more := getattr(each, "logprobs", None))]
    assert [name for name, _ in beside][:4] == ["ContentDelta", "ContentDelta", "RefusalDelta", "ToolCallDelta"]
    assert beside[0][1] == of("a")
    found = result(events)
    assert [each["token"] for each in found["logprobs"]["content"]] == ["a", "late", "{"]
    assert found["logprobs"]["refusal"] == [{"token": "no"}]
    assert found["content"] == "ab"
    message = completion({"content": "a"})
    message["choices"][0]["logprobs"] = of("a")
    assert whole(message)["logprobs"] == of("a")
    assert "logprobs" not in streamed(said({"content": "a"}, None), END)


def test_unknown_fields_go_with_the_event_that_is_made_of_their_chunk() -> None:
    """faults G3"""
    top = {**HEAD, "service_tier": "flex", "system_fingerprint": None}
    first = {**top, "choices": [{"delta": {"content": "a"}, "c": 1}]}
    stream = [
        event(first),
        event({**first, "choices": [{"delta": {"content": "b", "d": 2}, "c": 1}]}),
        event({**first, "citations": ["u"], "choices": [{"delta": {}}]}),
        event({**first, "citations": ["u"], "choices": [{"delta": {"content": "c"}}]}),
        event({**first, "citations": ["u", "v"], "choices": [{"delta": {"tool_calls": [call(0, "{}", "f", "i")]}}]}),
        event({**HEAD, "choices": [], "usage": USAGE, "search_results": [{"title": "t"}]}),
        DONE,
    ]
    events = quick(stream)
    extras = [(type(each).__name__, more) for each in events if (more := getattr(each, "extra", None))]
    assert extras == [
        ("StreamStarted", {"service_tier": "flex"}),
        ("ContentDelta", {"c": 1}),
        ("ContentDelta", {"d": 2}),
        ("ContentDelta", {"citations": ["u"]}),
        ("ToolCallDelta", {"citations": ["u", "v"]}),
        ("UsageReport", {"search_results": [{"title": "t"}]}),
    ]
    found = result(events)
    assert found["extra"] == {
        "service_tier": "flex",
        "c": 1,
        "d": 2,
        "citations": ["u", "v"],
        "search_results": [{"title": "t"}],
    }
    assert found["usage"]["cost"] == USAGE["cost"]


def test_what_no_event_could_carry_is_told_at_the_end() -> None:
    stream = [text("a"), STOP, event({**HEAD, "choices": [], "late": 1}), DONE]
    assert quick(stream)[-1] == Done(True, "stop", "stop", None, {"late": 1})
    pieces = [event({**HEAD, "choices": [{"delta": {"content": "a"}, "token_ids": [n]}]}) for n in range(3)]
    assert streamed(*pieces, END)["extra"] == {"token_ids": [0, 1, 2]}
    assert streamed(event({**HEAD, "choices": [], "debug": {"a": 1}}), text("a"), END)["extra"] == {"debug": {"a": 1}}
    both = streamed(text("a"), event({**HEAD, "choices": [], "usage": {**USAGE, "extra": {"x": 1}}, "y": 2}), DONE)
    assert both["usage"]["extra"] == {"x": 1, "y": 2}


def test_a_deltas_logprobs_do_not_change_how_it_is_told() -> None:
    plain = quick([chunk({"tool_calls": [call(0, "{}", "f", "i")]}), END])
    assert [each for each in plain if isinstance(each, ToolCallDelta)] == [ToolCallDelta(0, "i", "f", "{}")]

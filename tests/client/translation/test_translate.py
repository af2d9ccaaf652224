"""Every stream is read whole, byte by byte, at every two-way cut and at random cuts, with equal results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.streams.answer import Answer
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent, Done, StreamFailed, StreamStarted, UsageReport
from client.translation.translate import ChatTranslator, State
from tests.support.chunks import COMMENT, DONE, END, HEAD, STOP, USAGE, call, calls, chunk, event, text


def translate(*reads: bytes, max_event_bytes: int = 1 << 26) -> list[ChatEvent]:
    """The events of a stream that ends after these reads; the clock stands still."""
    translator = ChatTranslator(lambda: 0.0, max_event_bytes=max_event_bytes)
    events = [found for read in reads for found in translator.receive_data(read)]
    return events + translator.receive_eof()


def events_of(stream: bytes) -> list[ChatEvent]:
    """The events, proved to be the same however the stream is cut."""
    whole = translate(stream)
    assert translate(*(stream[at : at + 1] for at in range(len(stream)))) == whole
    for at in range(1, min(len(stream), 2000), 1 + len(stream) // 8000):  # a long one repeats itself
        assert translate(stream[:at], stream[at:]) == whole
    check_order(whole)
    return whole


def check_order(events: list[ChatEvent]) -> None:
    kinds = [type(each) for each in events]
    assert kinds[-1] is Done
    assert kinds.count(Done) == 1
    for once in (StreamStarted, StreamFailed, UsageReport):
        assert kinds.count(once) <= 1


def read(stream: bytes) -> dict[str, Any]:
    """The result of a stream, through our own wire format, with its error."""
    encoder = EventEncoder("s")
    answer = Answer()
    answer.feed(encoder.encode(events_of(stream)))
    assert answer.done is not None
    return {**answer.to_result(), "error": answer.error, "completed": answer.done["completed"], "done": answer.done}


def calls_of(stream: bytes) -> list[tuple[str, str]]:
    return [(each["function"]["name"], each["function"]["arguments"]) for each in read(stream)["tool_calls"]]


HI = text("Hi")


@pytest.mark.parametrize(
    ("quirk", "stream", "content"),
    [
        ("Q1 comments first", COMMENT * 30 + HI + STOP + END, "Hi"),
        ("Q2 comments between", HI + COMMENT + text(" you") + COMMENT + STOP + END, "Hi you"),
        ("Q3 raw emoji", 'data: {"choices":[{"delta":{"content":"🚀"}}]}\n\n'.encode() + STOP + END, "🚀"),
        ("Q4 several events a read", COMMENT + HI + HI + text("!") + END, "HiHi!"),
        ("Q5 CRLF", (HI + STOP + END).replace(b"\n", b"\r\n"), "Hi"),
        ("Q5 CR", (HI + STOP + END).replace(b"\n", b"\r"), "Hi"),
        ("Q5 BOM", b"\xef\xbb\xbf" + HI + END, "Hi"),
        ("Q5 no space", HI.replace(b"data: ", b"data:") + END, "Hi"),
        ("Q5 two spaces", HI.replace(b"data: ", b"data:  ") + END, "Hi"),
        ("Q6 two data lines", HI.replace(b', "choices"', b',\ndata: "choices"') + END, "Hi"),
        ("Q7 other fields", b"event: x\nid: 1\nretry: 5\nfoo: bar\ndatabase: x\n:\n" + HI + END, "Hi"),
        ("Q8 no last empty line", HI + STOP + END.removesuffix(b"\n\n"), "Hi"),
        ("Q9 more after the end", HI + STOP + END.replace(b"[DONE]", b"[DONE]  ") + text("no"), "Hi"),
        ("Q11 not JSON", b"data: upstream hiccup\n\n" + HI + END, "Hi"),
        ("Q12 no objects", b'data:\n\ndata\n\ndata: null\n\ndata: []\n\ndata: "x"\n\n' + HI + END, "Hi"),
        ("Q16 empty openings", chunk({"role": "assistant", "content": ""}) * 3 + HI + END, "Hi"),
        ("Q17 content with finish", chunk({"content": "Hi"}, "stop") + END, "Hi"),
        ("Q19 empty deltas", chunk() * 300 + HI + END, "Hi"),
        (
            "Q20 no choices",
            event({**HEAD, "choices": []}) + event(HEAD) + event({**HEAD, "choices": None}) + HI + END,
            "Hi",
        ),
        ("Q21 no delta", event({"choices": [{"delta": None}]}) + event({"choices": [{}]}) + HI + END, "Hi"),
        ("Q22 unknown keys", chunk({"content": "Hi", "new": 1}, extra={"a": 1}) + END, "Hi"),
        ("Q29 logprobs", HI.replace(b'"index"', b'"logprobs": {"content": []}, "index"') + HI + END, "HiHi"),
        ("Q30 debug", event({**HEAD, "choices": [], "debug": {"echo_upstream_body": {"a": "b"}}}) + HI + END, "Hi"),
        ("Q31 parts", chunk({"content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}) + END, "Hi"),
        ("Q32 split surrogates", text("\ud83d") + text("\ude00") + STOP + END, "😀"),
        ("Q33 line separators", text("a\u2028b\u0085c\u0000d\r\ne") + STOP + END, "a\u2028b\u0085c\u0000d\r\ne"),
    ],
)
def test_text_arrives_whole(quirk: str, stream: bytes, content: str) -> None:
    found = read(stream)
    assert found["content"] == content, quirk
    assert found["completed"], quirk
    assert found["error"] is None, quirk
    assert found["usage"]["cost"] == 0.001, quirk


def test_q10_a_line_of_8_mib_passes_and_one_above_the_cap_is_one_error() -> None:
    big = text("x" * (8 << 20)) + STOP + END
    reads = [big[at : at + 65536] for at in range(0, len(big), 65536)]
    assert len(translate(*reads)) == 4
    failed = translate(*reads, max_event_bytes=1 << 20)
    assert [type(each) for each in failed] == [StreamFailed, Done]


def test_q13_q14_q92_to_q95_a_json_reply_instead_of_a_stream() -> None:
    def whole(body: bytes) -> list[ChatEvent]:
        return ChatTranslator(lambda: 0.0).receive_completion(body)

    message = {"role": "assistant", "content": "Hi", "tool_calls": [{**call(0, "{}", "f", "c1")}]}
    full = {**HEAD, "choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    body = b"\n         \n" * 33 + json.dumps(full).encode()
    assert [type(each).__name__ for each in whole(body)] == [
        "StreamStarted",
        "ContentDelta",
        "ToolCallDelta",
        "ToolCall",
        "UsageReport",
        "Done",
    ]
    for bad in (b'  {"error":{"code":502}}', b"  .", b"{}", b'{"choices":[]}', b'{"choices":null}', body[:-9]):
        assert [type(each) for each in whole(bad)] == [StreamFailed, Done]


def test_q15_an_empty_body_is_a_retryable_error() -> None:
    error = read(b"")["error"]
    assert (error["type"], error["status"], error["retryable"]) == ("upstream_protocol", 502, True)


def test_q18_reasoning_then_content_then_finish_from_one_delta() -> None:
    found = events_of(chunk({"reasoning": "r", "content": "c"}, "stop") + END)
    assert [type(each).__name__ for each in found[1:3]] == ["ReasoningDelta", "ContentDelta"]


def test_q22_q23_unknown_words_and_absent_provider_are_kept() -> None:
    found = read(
        event({"id": "g", "model": "other", "choices": [{"delta": {"content": "x"}, "finish_reason": "paused"}]})
        + DONE
    )
    assert (found["model"], found["provider"], found["finish_reason"]) == ("other", None, "paused")


def test_q24_refusals_are_not_silent() -> None:
    found = read(chunk({"content": "", "refusal": "I "}) + chunk({"refusal": "can't"}) + STOP + END)
    assert (found["refusal"], found["finish_reason"]) == ("I can't", "stop")


def test_q25_to_q28_citations_files_images_and_audio_are_forwarded_whole() -> None:
    cite = {"type": "url_citation", "url_citation": {"url": "u", "title": ""}}
    file = {"type": "file", "file": {"hash": "h"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    found = read(
        chunk({"annotations": [cite] * 5})
        + chunk({"annotations": []})
        + chunk({"annotations": [file]})
        + chunk({"audio": {"id": "a"}})
        + chunk({"audio": {"data": "AA"}})
        + chunk({"audio": {"data": "BB", "transcript": "x"}})
        + chunk({"images": [image]}, "stop")
        + END
    )
    assert found["annotations"] == [cite] * 5 + [file]
    assert found["images"] == [image]
    assert found["audio"] == {"id": "a", "data": "AABB", "transcript": "x"}


def _details(*entries: dict[str, Any], **delta: Any) -> bytes:
    return chunk({"content": "", "reasoning_details": list(entries), **delta})


T, S, E = "reasoning.text", "reasoning.summary", "reasoning.encrypted"


@pytest.mark.parametrize(
    ("quirk", "stream", "reasoning", "details"),
    [
        ("Q34", _details({"type": T, "text": "ab"}, reasoning="ab"), "ab", [{"type": T, "text": "ab"}]),
        ("Q35", _details({"type": T, "text": "ab", "index": 0}), "ab", [{"type": T, "text": "ab", "index": 0}]),
        ("Q36", _details(reasoning="ab"), "ab", []),
        (
            "Q37",
            _details({"type": T, "text": "a", "index": 0})
            + _details({"type": T, "text": "b", "index": 0})
            + _details({"type": T, "signature": "s", "index": 0}),
            "ab",
            [{"type": T, "text": "ab", "index": 0, "signature": "s"}],
        ),
        (
            "Q38",
            _details({"type": T, "text": "", "signature": "", "index": 0})
            + _details({"type": T, "text": "a", "index": 0}, {"type": T, "signature": "s", "index": 0}),
            "a",
            [{"type": T, "text": "a", "signature": "s", "index": 0}],
        ),
        (
            "Q39",
            _details({"type": S, "summary": "a", "index": 0}) + _details({"type": E, "data": "d", "index": 0}),
            "a",
            [{"type": S, "summary": "a", "index": 0}, {"type": E, "data": "d", "index": 0}],
        ),
        ("Q40", _details({"type": E, "data": "d", "index": 0}), None, [{"type": E, "data": "d", "index": 0}]),
        (
            "Q41",
            _details({"type": T, "text": "a", "index": 0}) + HI + _details({"type": T, "signature": "s", "index": 0}),
            "a",
            [{"type": T, "text": "a", "index": 0, "signature": "s"}],
        ),
        (
            "Q42",
            _details({"type": T, "text": "a", "index": 0}) + HI + _details({"type": T, "text": "b", "index": 1}),
            "ab",
            [{"type": T, "text": "a", "index": 0}, {"type": T, "text": "b", "index": 1}],
        ),
        (
            "Q43",
            _details({"type": T, "format": None}, {"type": "reasoning.audio"}),
            None,
            [{"type": T, "format": None}, {"type": "reasoning.audio"}],
        ),
        ("Q44", chunk({"reasoning_content": "ab"}), "ab", []),
    ],
)
def test_reasoning_is_told_once_and_kept_for_replay(
    quirk: str, stream: bytes, reasoning: str | None, details: list[Any]
) -> None:
    found = read(stream + STOP + END)
    assert found["reasoning"] == reasoning, quirk
    assert found["reasoning_details"] == details, quirk


@pytest.mark.parametrize(
    ("quirk", "stream", "expected"),
    [
        (
            "Q45",
            calls(call(0, "", "f", "a"))
            + calls(call(0, ""))
            + calls(call(0, '{"city": "Ber'))
            + calls(call(0, 'lin"}')),
            [("f", '{"city": "Berlin"}')],
        ),
        (
            "Q46",
            calls(call(0, "", "f", "a"))
            + calls(call(1, "", "g", "b"))
            + calls(call(0, "[1"))
            + calls(call(1, "[2"))
            + calls(call(0, "]"))
            + calls(call(1, "]")),
            [("f", "[1]"), ("g", "[2]")],
        ),
        ("Q48", calls(call(0, "", "f", "a")) + calls(call(0, "")) + calls(call(0, "{}")), [("f", "{}")]),
        ("Q48 none", calls(call(0, "", "f", "a")), [("f", "{}")]),
        (
            "Q49",
            calls(call(0, "{}", "f", "c")) + calls(call(1, "{}", "g", "c")) + calls(call(2, "{}", "h", "")),
            [("f", "{}"), ("g", "{}"), ("h", "{}")],
        ),
        ("Q50", calls(call(0, "[", "f", "c")) + calls(call(0, "]", None, "c")), [("f", "[]")]),
        ("Q51", calls(call(None, "{}", "f", "a"), call(None, "{}", "g", "b")), [("f", "{}"), ("g", "{}")]),
        ("Q52", calls(call(0, "{}", "f", "a")) + calls(call(0, "{}", "g", "b")), [("f", "{}"), ("g", "{}")]),
        ("Q53", calls(call(0, "{}", "f", "a")) + calls(call(0, "  ")), [("f", "{}")]),
        (
            "Q56",
            calls(call(0, None, "f", "a")) + calls(call(1, {"a": 1}, "g", "b")),
            [("f", "{}"), ("g", '{"a": 1}')],
        ),
        ("Q57", calls(call(0, "[", None, "a")) + calls(call(0, "]", "f")), [("f", "[]")]),
        ("Q59", calls(call(1, "{}", "f", "a")) + calls(call(5, "{}", "g", "b")), [("f", "{}"), ("g", "{}")]),
        ("other index", calls(call(0, "[1,", "f", "a")) + calls(call(1, "2]")), [("f", "[1,2]")]),
    ],
)
def test_tool_calls_are_assembled(quirk: str, stream: bytes, expected: list[tuple[str, str]]) -> None:
    finish = chunk({"content": ""}, "tool_calls")
    assert calls_of(stream + finish + chunk({}, "tool_calls", usage=USAGE) + DONE) == expected, quirk
    ids = [each["id"] for each in read(stream + finish + DONE)["tool_calls"]]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def test_q47_q55_a_call_under_stop_finishes_as_tool_calls() -> None:
    for stream in (
        calls(call(0, "{}", "f", "a"), finish="stop", native="STOP") + DONE,
        calls(call(0, "{}", "f", "a")) + DONE,
    ):
        assert read(stream)["finish_reason"] == "tool_calls"


def test_q54_a_cut_call_is_flagged_and_finishes_as_length() -> None:
    found = read(calls(call(0, '{"a": "b', "f", "a")) + chunk({}, "tool_calls", "max_output_tokens") + DONE)
    assert found["finish_reason"] == "length"
    assert found["tool_calls"][0]["complete"] is False


def test_q58_text_call_text_keep_their_order() -> None:
    found = events_of(HI + calls(call(0, "{}", "f", "a")) + text("!") + chunk({}, "tool_calls") + DONE)
    names = [type(each).__name__ for each in found]
    assert names == ["StreamStarted", "ContentDelta", "ToolCallDelta", "ContentDelta", "ToolCall", "Done"]


@pytest.mark.parametrize(
    ("quirk", "ending"),
    [
        ("Q60 form A", STOP + chunk({"content": ""}, usage=USAGE) + DONE),
        ("Q61 form B", STOP + event({**HEAD, "choices": [], "usage": USAGE}) + DONE),
        ("Q62 form C", STOP + END),
        ("Q63 on the finish", chunk({}, "stop", usage=USAGE) + DONE),
        ("Q63 twice", STOP + chunk({}, usage={"cost": 9}) + chunk({}, usage=USAGE) + DONE),
    ],
)
def test_usage_is_reported_once(quirk: str, ending: bytes) -> None:
    found = read(HI + ending)
    assert found["usage"]["total_tokens"] == 5, quirk
    assert found["finish_reason"] == "stop", quirk


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        ({"cost": 6e-7}, 6e-7),
        ({"cost": 0}, 0.0),
        ({"cost": None}, None),
        ({"completion_tokens_details": None}, None),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.01}}, 0.01),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.01}}, 0.01),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0}, 0.0),
        ({"completion_tokens": 52, "completion_tokens_details": {"reasoning_tokens": 82}, "cost": 1}, 1.0),
    ],
)
def test_q64_to_q67_costs_are_exact_and_absent_is_not_zero(usage: dict[str, Any], total: float | None) -> None:
    found = read(HI + chunk({}, "stop", usage=usage) + DONE)["usage"]
    assert found["total_cost"] == total
    assert {name: found.get(name) for name in usage} == usage


def test_q68_to_q72_endings() -> None:
    warned = read(HI + STOP + chunk({}, usage=USAGE))
    assert (warned["completed"], warned["done"]["warning"]) == (True, "missing_done_marker")
    unfinished = read(HI + DONE)
    assert (unfinished["completed"], unfinished["finish_reason"]) == (True, None)
    cut = read(HI)
    assert (cut["content"], cut["error"]["type"], cut["finish_reason"]) == ("Hi", "stream_interrupted", "interrupted")
    late = read(
        HI + event({"error": {"code": 502, "message": "x"}, "choices": []}) + text("no") + chunk({}, usage=USAGE)
    )
    assert (late["content"], late["usage"]["cost"], late["completed"]) == ("Hi", 0.001, False)


@pytest.mark.parametrize(
    ("quirk", "stream", "type_", "said"),
    [
        (
            "Q73 form a",
            HI + chunk({"content": ""}, "error", error={"code": 429, "message": "slow"}) + DONE,
            "rate_limited",
            "slow",
        ),
        (
            "Q74 form b",
            HI + event({**HEAD, "choices": [], "error": {"code": 502, "message": "lost"}}),
            "upstream_unavailable",
            "lost",
        ),
        (
            "Q76",
            HI + chunk({}, "error", "MALFORMED_FUNCTION_CALL") + DONE,
            "upstream_unavailable",
            "MALFORMED_FUNCTION_CALL",
        ),
        ("Q77", COMMENT + event({"error": {"code": 503, "message": "busy"}}), "upstream_unavailable", "busy"),
        ("Q78", HI + event({"error": {"code": "429", "message": "m"}}), "rate_limited", "m"),
        ("Q78 word", HI + event({"error": {"code": "server_error", "message": "m"}}), "upstream_unavailable", "m"),
        ("Q78 vendor", HI + event({"error": {"code": 1305, "message": "m"}}), "upstream_unavailable", "m"),
        ("Q78 null", HI + event({"error": {"code": None, "message": "m"}}), "upstream_unavailable", "m"),
        ("Q79 text", HI + event({"error": "broken"}), "upstream_unavailable", "broken"),
        ("Q79 empty", HI + event({"error": {}}), "upstream_unavailable", ""),
        (
            "Q80 raw",
            HI
            + event({"error": {"code": 502, "message": "P", "metadata": {"raw": '{"error":{"message":"inner"}}'}}}),
            "upstream_unavailable",
            "inner",
        ),
        ("Q81", chunk({"content": ""}, "stop", "network_error") + DONE, "upstream_unavailable", "network_error"),
        (
            "form e",
            HI
            + event({"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 504, "message": "t"}}]}),
            "upstream_timeout",
            "t",
        ),
    ],
)
def test_errors_in_a_stream_are_one_error_and_one_done(quirk: str, stream: bytes, type_: str, said: str) -> None:
    found = read(stream)
    assert found["error"]["type"] == type_, quirk
    assert said in found["error"]["error"], quirk
    assert not found["completed"], quirk


def test_q75_usage_that_came_with_the_error_goes_before_it() -> None:
    stream = chunk({"reasoning": "r"}, "length") * 2 + chunk(usage=USAGE, error={"code": 500, "message": "x"}) + DONE
    names = [type(each).__name__ for each in events_of(stream)]
    assert names == ["StreamStarted", "ReasoningDelta", "ReasoningDelta", "UsageReport", "StreamFailed", "Done"]


def test_q79_a_null_error_is_none() -> None:
    assert read(chunk({"content": "Hi"}, error=None) + STOP + END)["error"] is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                COMMENT,
                HI,
                STOP,
                END,
                DONE,
                chunk({}, usage=USAGE),
                event({"error": "x"}),
                calls(call(0, "{", "f", "a")),
                b"data: \xff\n\n",
                b"\r",
            ]
        ),
        max_size=9,
    ),
    st.data(),
)
def test_any_sequence_ends_with_one_done_at_any_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = translate(stream)
    assert translate(*parts) == whole
    check_order(whole)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.binary(max_size=200)
        | st.sampled_from([b"data: ", b"\n\n", b"{", b'{"choices":[', b'{"delta":{"content":'])
    )
)
def test_arbitrary_bytes_raise_nothing_and_stay_within_the_cap(reads: list[bytes]) -> None:
    translator = ChatTranslator(lambda: 0.0, max_event_bytes=1024)
    events = [found for read in reads for found in translator.receive_data(read)]
    events += translator.receive_eof()
    check_order(events)
    assert translator.state is State.DONE

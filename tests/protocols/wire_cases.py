"""What OpenRouter sends, and what of it a client of any protocol must be told: one table, a column a protocol.

A case is upstream's stream, and in neutral words what comes of it (`Said`). Each protocol's tests read these streams
in its own words and say in neutral ones what they have read; what a protocol has no word for, its tests leave out of
the comparison. Numbers are those of the list of quirks in which each was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from client.sandbox import HangUp
from client.sandbox.script import Step
from tests.support.chunks import COMMENT, DONE, END, HEAD, STOP, USAGE, call, calls, chunk, event, text


class Call(NamedTuple):
    """A tool call; one that was cut off must not look whole."""

    name: str
    arguments: str
    is_whole: bool = True


@dataclass(frozen=True)
class Said:
    """What a client is told.

    Attributes:
        finish: OpenRouter's word; of no meaning beside an error.
        error: our type of what it failed of; None for an answer that is whole.
        total_tokens: of the usage; None where upstream told of none.
        details: `reasoning_details`, merged, as they have to be sent back.
    """

    text: str = ""
    thinking: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    images: int = 0
    annotations: int = 0
    finish: str | None = "stop"
    error: str | None = None
    total_tokens: int | None = 5
    details: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Case:
    """One answer of upstream.

    Attributes:
        steps: of its body, for `Reply.stream(*case.steps)`.
    """

    steps: tuple[Step, ...]
    said: Said

    @property
    def body(self) -> bytes:
        """The same as one read; without the way in which a connection broke."""
        return b"".join(step for step in self.steps if isinstance(step, bytes))


T, S, E = "reasoning.text", "reasoning.summary", "reasoning.encrypted"
HI = text("Hi")
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
CITATION = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": ""}}
SIGNED = {"type": T, "text": "ab", "index": 0, "signature": "s", "format": "anthropic-claude-v1"}
CALLED = chunk({"content": ""}, "tool_calls") + chunk({}, "tool_calls", usage=USAGE) + DONE
GREETED = Said(text="Hi")


def _thought(*entries: dict[str, Any], **delta: Any) -> bytes:
    return chunk({"content": "", "reasoning_details": list(entries), **delta})


def _case(stream: bytes, said: Said, *breaks: Step) -> Case:
    return Case((stream, *breaks), said)


def _text(stream: bytes, content: str = "Hi") -> Case:
    return _case(stream, Said(text=content))


def _thinking(stream: bytes, thinking: str, *details: dict[str, Any]) -> Case:
    return _case(stream + HI + STOP + END, Said(text="Hi", thinking=thinking, details=details))


def _calling(stream: bytes, *found: Call, **more: Any) -> Case:
    return _case(stream + CALLED, replace(Said(calls=found, finish="tool_calls"), **more))


def _broken(stream: bytes, error: str, *breaks: Step, **more: Any) -> Case:
    return _case(stream, replace(Said(text="Hi", error=error, total_tokens=None, finish=None), **more), *breaks)


TEXTS = {
    "Q1 comments first": _text(COMMENT * 30 + HI + STOP + END),
    "Q2 comments between": _text(HI + COMMENT + text(" you") + COMMENT + STOP + END, "Hi you"),
    "Q3 raw emoji": _text('data: {"choices":[{"delta":{"content":"🚀"}}]}\n\n'.encode() + STOP + END, "🚀"),
    "Q5 CRLF": _text((HI + STOP + END).replace(b"\n", b"\r\n")),
    "Q12 no objects": _text(b'data:\n\ndata: null\n\ndata: []\n\ndata: "x"\n\n' + HI + STOP + END),
    "Q16 empty openings": _text(chunk({"role": "assistant", "content": ""}) * 3 + HI + STOP + END),
    "Q17 content with finish": _text(chunk({"content": "Hi"}, "stop") + END),
    "Q19 empty deltas": _text(chunk() * 300 + HI + STOP + END),
    "Q20 no choices": _text(event({**HEAD, "choices": []}) + event(HEAD) + HI + STOP + END),
    "Q21 no delta": _text(event({"choices": [{"delta": None}]}) + event({"choices": [{}]}) + HI + STOP + END),
    "Q22 unknown finish": _case(HI + chunk({}, "paused") + DONE, Said("Hi", finish="paused", total_tokens=None)),
    "Q24 refusal": _case(chunk({"content": "", "refusal": "I "}) + chunk({"refusal": "can't"}) + STOP + END,
                         Said(refusal="I can't")),
    "Q25 citations": _case(chunk({"annotations": [CITATION] * 5}) + chunk({"annotations": []}) + HI + STOP + END,
                           Said("Hi", annotations=5)),
    "Q27 picture": _case(HI + chunk({"images": [PICTURE]}, "stop") + END, Said("Hi", images=1)),
    "Q32 split surrogates": _text(text("\ud83d") + text("\ude00") + STOP + END, "😀"),
    "Q33 line separators": _text(text("a\u2028b\u0085c\u0000d\r\ne") + STOP + END, "a\u2028b\u0085c\u0000d\r\ne"),
    "length": _case(HI + chunk({}, "length") + chunk({}, "length", usage=USAGE) + DONE, Said("Hi", finish="length")),
    "filtered": _case(HI + chunk({}, "content_filter") + chunk({}, usage=USAGE) + DONE,
                      Said("Hi", finish="content_filter")),
    "Q60 usage, form A": _text(HI + STOP + chunk({"content": ""}, usage=USAGE) + DONE),
    "Q61 usage, form B": _text(HI + STOP + event({**HEAD, "choices": [], "usage": USAGE}) + DONE),
    "Q62 usage, form C": _text(HI + STOP + END),
    "Q63 usage on the finish": _text(HI + chunk({}, "stop", usage=USAGE) + DONE),
    "Q68 no end mark": _text(HI + STOP + chunk({}, usage=USAGE)),
    "Q69 no finish": _case(HI + DONE, Said("Hi", finish=None, total_tokens=None)),
    "nothing said": _case(STOP + END, Said()),
}  # fmt: skip

THOUGHTS = {
    "Q18 thought, text, finish": _case(chunk({"reasoning": "r", "content": "c"}, "stop") + END,
                                       Said("c", thinking="r")),
    "Q34 text and details": _thinking(_thought({"type": T, "text": "ab"}, reasoning="ab"), "ab",
                                      {"type": T, "text": "ab"}),
    "Q35 details only": _thinking(_thought({"type": T, "text": "ab", "index": 0}), "ab",
                                  {"type": T, "text": "ab", "index": 0}),
    "Q36 text only": _thinking(_thought(reasoning="ab"), "ab"),
    "Q37 signature alone": _thinking(
        _thought({"type": T, "text": "a", "index": 0}, reasoning="a")
        + _thought({"type": T, "text": "b", "index": 0}, reasoning="b")
        + _thought({"type": T, "signature": "s", "index": 0, "format": "anthropic-claude-v1"}),
        "ab",
        SIGNED,
    ),
    "Q39 summary, then encrypted": _thinking(
        _thought({"type": S, "summary": "a", "index": 0}) + _thought({"type": E, "data": "d", "index": 0}),
        "a",
        {"type": S, "summary": "a", "index": 0},
        {"type": E, "data": "d", "index": 0},
    ),
    "Q40 encrypted, then a call": _calling(
        _thought({"type": E, "data": "d", "index": 0}) + calls(call(0, "{}", "f", "a")),
        Call("f", "{}"),
        details=({"type": E, "data": "d", "index": 0},),
    ),
    "Q41 late signature": _case(
        _thought({"type": T, "text": "ab", "index": 0}) + HI
        + _thought({"type": T, "signature": "s", "index": 0, "format": "anthropic-claude-v1"}) + STOP + END,
        Said("Hi", "ab", details=(SIGNED,)),
    ),
    "Q42 thought, call, thought": _calling(
        _thought({"type": T, "text": "a", "index": 0}) + calls(call(0, "{}", "f", "a"))
        + _thought({"type": T, "text": "b", "index": 1}),
        Call("f", "{}"),
        thinking="ab",
        details=({"type": T, "text": "a", "index": 0}, {"type": T, "text": "b", "index": 1}),
    ),
    "Q44 other name": _thinking(chunk({"reasoning_content": "ab"}), "ab"),
}  # fmt: skip

CALLS = {
    "Q45 empty pieces": _calling(
        calls(call(0, "", "f", "a")) + calls(call(0, "")) + calls(call(0, '{"c": "Ber')) + calls(call(0, 'lin"}')),
        Call("f", '{"c": "Berlin"}'),
    ),
    "Q46 interleaved": _calling(
        calls(call(0, "", "f", "a")) + calls(call(1, "", "g", "b")) + calls(call(0, "[1")) + calls(call(1, "[2"))
        + calls(call(0, "]")) + calls(call(1, "]")),
        Call("f", "[1]"),
        Call("g", "[2]"),
    ),
    "Q47 call with finish": _case(calls(call(0, "{}", "f", "a"), finish="stop", native="STOP") + END,
                                  Said(calls=(Call("f", "{}"),), finish="tool_calls")),
    "Q48 no arguments": _calling(calls(call(0, "", "f", "a")), Call("f", "{}")),
    "Q49 one id for two": _calling(calls(call(0, "{}", "f", "c")) + calls(call(1, "{}", "g", "c")),
                                   Call("f", "{}"), Call("g", "{}")),
    "Q51 no index": _calling(calls(call(None, "{}", "f", "a"), call(None, "{}", "g", "b")),
                             Call("f", "{}"), Call("g", "{}")),
    "Q54 cut by length": _case(calls(call(0, '{"a": "b', "f", "a")) + chunk({}, "tool_calls", "max_output_tokens")
                               + chunk({}, usage=USAGE) + DONE,
                               Said(calls=(Call("f", '{"a": "b', is_whole=False),), finish="length")),
    "Q56 an object": _calling(calls(call(0, {"a": 1}, "f", "a")), Call("f", '{"a": 1}')),
    "Q58 text, call, text": _calling(HI + calls(call(0, "{}", "f", "a")) + text("!"), Call("f", "{}"), text="Hi!"),
    "Q59 index from 1": _calling(calls(call(1, "{}", "f", "a")) + calls(call(5, "{}", "g", "b")),
                                 Call("f", "{}"), Call("g", "{}")),
}  # fmt: skip

BREAKS = {
    "Q70 ended early": _broken(HI, "stream_interrupted"),
    "Q71 cut": _broken(HI, "stream_interrupted", HangUp()),
    "Q71 reset": _broken(HI, "stream_interrupted", HangUp(reset=True)),
    "Q71 cut in a call": _broken(calls(call(0, '{"a', "f", "a")), "stream_interrupted", HangUp(), text="",
                                 calls=(Call("f", '{"a', is_whole=False),)),
    "Q71 cut in a thought": _broken(chunk({"reasoning": "hm"}), "stream_interrupted", HangUp(), text="",
                                    thinking="hm"),
    "Q73 error in a chunk": _broken(HI + chunk({"content": ""}, "error", error={"code": 502, "message": "lost"})
                                    + DONE, "upstream_unavailable"),
    "Q74 error, no choices": _broken(HI + event({**HEAD, "choices": [], "error": {"code": 502, "message": "lost"}}),
                                     "upstream_unavailable"),
    "Q75 error and usage": _broken(HI + chunk({}, error={"code": 502, "message": "lost"}, usage=USAGE) + DONE,
                                   "upstream_unavailable", total_tokens=5),
    "Q76 finish error": _broken(HI + chunk({}, "error", "MALFORMED_FUNCTION_CALL") + DONE, "upstream_unavailable"),
    "Q81 network error": _broken(HI + chunk({"content": ""}, "stop", "network_error") + DONE, "upstream_unavailable"),
    "too many, amid": _broken(HI + event({"error": {"code": 429, "message": "slow"}}), "rate_limited"),
    "Q77 error first": _broken(event({"error": {"code": 502, "message": "lost"}}) + DONE, "upstream_unavailable",
                               text=""),
    "no credit first": _broken(event({"error": {"code": 402, "message": "none"}}), "insufficient_credits", text=""),
    "Q15 nothing": _broken(b"", "upstream_protocol", text=""),
}  # fmt: skip

CASES: dict[str, Case] = {**TEXTS, **THOUGHTS, **CALLS, **BREAKS}
"""All of them; the server must try nothing again (`upstream.max_retries = 0`)."""

"""A log of upstream's chunks gives the events that `/chat` gives for the same bytes, however these come."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.border.redaction import Redaction
from client.errors import Failure
from client.streams.raw_log import RawEncoder, TypedView, has_own_records, records_of, runs_of
from client.streams.wire import EventEncoder
from client.translation.events import ChatEvent, ContentDelta
from client.translation.translate import DONE as ENDED
from client.translation.translate import INTERRUPTED, ChatTranslator
from tests.client.translation import test_translate
from tests.client.translation.test_one_rule import FINISHES, MESSAGES, TOPS, completion
from tests.support.chunks import COMMENT, DONE, END, HEAD, STOP, USAGE, call, calls, chunk, event, text

KEY = "sk-or-v1-a-key-that-nobody-may-see"


class Both:
    """One reply of upstream, as the two kinds of log would hold it.

    Attributes:
        events: the log of `/chat`.
        batches: the log of chunks, read by read.
    """

    def __init__(self, **more: Any) -> None:
        self.events = b""
        self.batches: list[bytes] = []
        self.translator = ChatTranslator(lambda: 0.0, keeps_payloads=True, **more)
        self._typed = EventEncoder("s")
        self._raw = RawEncoder(self._chunks, more.get("hide", Redaction()))
        self._has_begun = False

    @property
    def records(self) -> bytes:
        """The log of chunks."""
        return b"".join(self.batches)

    def has_text_alone(self) -> bool:
        """Whether the last batch is chunks with pieces of the answer and nothing else."""
        return self._raw.alike is ContentDelta

    def receive(self, *reads: bytes) -> Both:
        """Takes reads as the pump does."""
        for read in reads:
            events = self.translator.receive_data(read)
            if events or (self._has_begun and self.translator.has_payloads):
                self.take(events)
        return self

    def end(self) -> Both:
        """The connection ends."""
        if self.translator.state is not ENDED:
            self.take(self.translator.receive_eof())
        return self

    def take(self, events: list[ChatEvent]) -> None:
        """Keeps events, and the chunks behind them."""
        self._has_begun = True
        self.events += self._typed.encode(events)
        translator = self.translator
        raw = self._raw.encode_texts(events, translator) if translator.same else self._raw.encode(events)
        self.batches.append(raw)

    def _chunks(self) -> tuple[list[bytes], list[bytes], bool]:
        return *self.translator.take_payloads(), self.translator.has_told_failure


def views_of(both: Both) -> None:
    """The typed view: read along, in one piece, record by record, and from any event on."""
    records = [b"".join(_written(*record)) for record in records_of(both.records)]
    assert b"".join(records) == both.records
    for pieces in (both.batches, [both.records], records):
        view = TypedView("s")
        assert b"".join(map(view.view, pieces)).decode() == both.events.decode()
    blocks = both.events.split(b"\n\n")[:-1]
    assert view.last == len(blocks)
    for after in {0, 1, len(blocks) // 2, len(blocks) - 1, len(blocks)}:
        rest = b"".join(block + b"\n\n" for block in blocks[after:])
        assert TypedView("s", after).view(both.records) == rest
        view = TypedView("s", after)
        assert b"".join(map(view.view, both.batches)) == rest


def _written(name: str | None, data: bytes) -> list[bytes]:
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return [head, b"data: ", data.replace(b"\n", b"\ndata: "), b"\n\n"]


def check(stream: bytes) -> Both:
    """The same log at every split, and the same events of it."""
    whole = Both().receive(stream).end()
    views_of(whole)
    for at in range(1, min(len(stream), 1500), 3):
        cut = Both().receive(stream[:at], stream[at:]).end()
        assert cut.records == whole.records
        assert cut.events == whole.events
    each = Both().receive(*(stream[at : at + 1] for at in range(min(len(stream), 20_000)))).end()
    if len(stream) <= 20_000:
        assert each.records == whole.records
        views_of(each)
    return whole


def _quirks() -> list[tuple[str, bytes]]:
    """Every stream that the translation is tried with."""
    found = [
        (f"{test.__name__}-{case[0]}", case[1])
        for test in (
            test_translate.test_text_arrives_whole,
            test_translate.test_reasoning_is_told_once_and_kept_for_replay,
            test_translate.test_tool_calls_are_assembled,
            test_translate.test_usage_is_reported_once,
            test_translate.test_errors_in_a_stream_are_one_error_and_one_done,
        )
        for case in cases_of(test)
    ]
    ends = (b'finish_reason": "', DONE)
    return [(name, stream if any(end in stream for end in ends) else stream + END) for name, stream in found]


def cases_of(test: Any) -> Any:
    """What a test is parametrized with."""
    return test.pytestmark[0].args[1]


MORE = {
    "cut": text("Hi"),
    "cut-thinking": chunk({"reasoning": "hm"}),
    "cut-call": calls(call(0, '{"a', "f", "a")),
    "cut-mid-chunk": text("Hi") + text("you")[:40],
    "done-alone": text("Hi") + DONE,
    "no-done": text("Hi") + STOP + chunk({}, usage=USAGE),
    "nothing": b"",
    "comments": COMMENT * 3,
    "late-usage": text("Hi") + STOP + event({**HEAD, "choices": [], "usage": USAGE}) + DONE,
    "usage-after-error": text("Hi") + event({"error": {"code": 502, "message": "x"}}) + chunk({}, usage=USAGE) + DONE,
    "text-with-error": text("Hi") + chunk({"content": "!"}, error={"code": 500, "message": "x"}, usage=USAGE) + DONE,
    "network-error": text("Hi") + chunk({"content": ""}, "stop", "network_error") + DONE,
    "finish-error": text("Hi") + chunk({}, "error") + chunk({}, usage=USAGE) + DONE,
    "surrogates": text("a\ud83d") + text("\ude00b") + text("\ud83d") + STOP + END,
    "late-signature": chunk({"reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}]})
    + text("Hi")
    + chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]})
    + END,
    "logprobs": text("Hi").replace(b'"index"', b'"logprobs": {"content": [1]}, "index"') + END,
    "extras": chunk({"content": "Hi", "odd": 1}, service_tier="flex", citations=["u"]) + END,
    "whole-inside": event(completion({"role": "assistant", "content": "Hi", "reasoning": "r"}, usage=USAGE)) + DONE,
    "whole-after-pieces": text("H") + text("i") + event(completion({"content": "Hi!"}, usage=USAGE)) + DONE,
    "whole-after-opening": chunk({"role": "assistant", "content": ""}) + event(completion({"content": "Hi"})) + DONE,
    "list": event([json.loads(each[6:]) for each in (text("Hi"), STOP)]) + END,
    "two-choices": event({**HEAD, "choices": [{"index": 1, "delta": {"content": "no"}}]}) + text("Hi") + END,
    "more-behind-done": text("Hi") + STOP + END + text("no") + event({"error": "no"}),
}


STREAMS = dict(_quirks()) | MORE


@pytest.mark.parametrize("name", STREAMS)
def test_runs_of_chunks_are_the_same_records(name: str) -> None:
    records = Both().receive(STREAMS[name]).end().records
    apart: list[tuple[str | None, bytes]] = []
    for kind, data in runs_of(records):
        apart += records_of(data) if kind is None else [(kind, data)]
        assert kind is not None or not has_own_records(data)
    assert apart == list(records_of(records))


@pytest.mark.parametrize("name", STREAMS)
def test_the_typed_view_of_a_log_of_chunks_is_what_chat_gives(name: str) -> None:
    check(STREAMS[name])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*MORE.values(), COMMENT, STOP, END, DONE, b"data: \xff\n\n", b"data: x\n\n", b"data: {\ndata: }\n\n"]
        ),
        max_size=5,
    ),
    st.data(),
)
def test_any_sequence_at_any_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    both = Both().receive(*(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True))).end()
    views_of(both)
    assert both.records == Both().receive(stream).end().records


@settings(max_examples=200, deadline=None)
@given(MESSAGES, FINISHES, TOPS, st.sampled_from([None, 2]))
def test_a_whole_completion_instead_of_a_stream(
    message: dict[str, Any], finish: Any, top: dict[str, Any], indent: int | None
) -> None:
    body = json.dumps(completion(message, finish, **top), indent=indent).replace("\n", "\r\n").encode()
    both = Both()
    both.take(both.translator.receive_completion(body))
    views_of(both)
    assert b"\r" not in both.records


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": 502, "message": "x"}}',
        b'{\r\n\r\n "error": {"code": 502,\r"message": "x"}}',
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": "Hi"}}]}',
        b'{"choices": [{"text": "Hi"}]}',
    ],
)
def test_odd_bodies_instead_of_a_stream(body: bytes) -> None:
    both = Both()
    both.take(both.translator.receive_completion(body))
    views_of(both)
    assert all(line.startswith((b"data: ", b"event: ")) for line in re.split(b"\r\n|\r|\n", both.records) if line)


@pytest.mark.parametrize("reason", [None, "cancelled", "shutdown", "disconnected"])
@pytest.mark.parametrize(
    "stream",
    [b"", text("Hi"), chunk({"reasoning": "h"}), calls(call(0, "{", "f", "a")), text("Hi") + STOP, text("\ud83d")],
)
def test_an_end_from_outside(stream: bytes, reason: str | None) -> None:
    """Stops have a word of ours and no failure; time-outs and resets a failure."""
    both = Both(generation_id="gen-of-the-head").receive(stream)
    slow = Failure(error="slow", type="upstream_timeout", status=504, retryable=True)
    for failure in [None] if reason else [INTERRUPTED, slow]:
        both.take(both.translator.close(failure, reason))
    views_of(both)


def test_attempts_before_this_one_are_in_the_figures_alone() -> None:
    both = Both(earlier=[{"cost": 0.5}], generation_id="gen-2").receive(text("Hi") + STOP + END).end()
    views_of(both)
    assert b"0.5" in both.events


@pytest.mark.parametrize("word", [KEY, KEY.replace("s", "\\u0073"), f"x{KEY}y"])
def test_the_key_is_in_no_chunk(word: str) -> None:
    stream = text("@").replace(b"@", word.encode()) + STOP + END
    both = Both(hide=Redaction(KEY)).receive(stream).end()
    assert KEY not in json.dumps([json.loads(data) for _, data in records_of(both.records)])


def test_no_piece_of_the_key_is_in_what_upstream_says_of_a_failure() -> None:
    told = event({"error": {"code": 401, "message": f"bad key {KEY[:20]}", "metadata": {"raw": KEY.upper()}}})
    both = Both(hide=Redaction(KEY)).receive(text("Hi") + told).end()
    records = both.records.decode().lower()
    assert KEY[:12] not in records.split("event: error")[0]


def test_chunks_are_byte_for_byte_upstreams() -> None:
    odd = b'data: {"choices" : [ {"delta":{"content":"a\\u2028\\ud83d", "x": 1.10e2}} ], "id":"g"  }\n\n'
    stream = COMMENT + odd + text("b") + STOP + END
    chunks = [b"data: " + data + b"\n\n" for name, data in records_of(check(stream).records) if name is None]
    assert b"".join(chunks) == stream.replace(COMMENT, b"").replace(DONE, b"")


@pytest.mark.parametrize(
    ("piece", "is_alone"),
    [
        ("b", True),
        ('"error"', True),
        ("error", True),
        ("\u2028", True),
        (KEY, False),
        (f"x{KEY}y", False),
        (KEY.replace("s", "\\u0073"), False),
        ("\\u000a", True),
        ("", False),
    ],
)
def test_chunks_that_differ_in_their_text_are_looked_at_as_all_others_are(piece: str, is_alone: bool) -> None:
    def with_text(each: str) -> bytes:
        return text("@").replace(b"@", each.replace('"', '\\"').encode())

    both = Both(hide=Redaction(KEY)).receive(*[with_text(f"a{number}") for number in range(20)])
    assert both.has_text_alone()
    both.receive(with_text(piece))
    assert both.has_text_alone() is is_alone
    careful = RawEncoder(lambda: ([with_text("a")[6:-2], with_text(piece)[6:-2]], [], False), Redaction(KEY))
    assert both.batches[-1] == careful.encode([]).removeprefix(with_text("a"))
    both.receive(with_text("c"))
    assert both.has_text_alone()
    both.receive(chunk({"content": "d", "reasoning": "hm"}))
    assert not both.has_text_alone()
    both.receive(STOP + END).end()
    assert not both.has_text_alone()
    if is_alone:
        views_of(both)

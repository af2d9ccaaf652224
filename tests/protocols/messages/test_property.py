"""Whatever upstream sends, in whatever order and reads: a strict reader of Messages takes what comes of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.border.json_codec import encode_json
from client.border.redaction import Redaction
from client.streams.log_events import EventsOfChunks
from client.streams.raw_log import RawEncoder
from client.streams.stream import Stream
from client.translation.events import ChatEvent, ContentDelta, Done, ReasoningDelta, StreamFailed, ToolCall
from client.translation.foreign.messages import MessagesFront
from client.translation.foreign.translator import ForeignTranslator
from client.translation.translate import DONE as ENDED
from client.translation.translate import ChatTranslator
from server.protocols.messages.view import TranslatedView, view_of
from server.protocols.messages.whole import WholeMessage
from tests.client.translation.foreign.test_messages import START, STOP, WHOLE, finish
from tests.hostile.table import ODD_VALUES
from tests.support.chunks import DONE, END, call, calls, chunk, event, text
from tests.support.messages import Message, events_in, named, read_message

TYPES: tuple[Any, ...] = ("reasoning.text", "reasoning.summary", "reasoning.encrypted", "reasoning.new", None, {})
_entries = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "index": st.sampled_from([0, 1, None, {}])},
    optional={
        "text": st.sampled_from(["", "hm"]),
        "summary": st.sampled_from(["", "so"]),
        "data": st.just("d"),
        "signature": st.sampled_from(["", "s"]),
        "format": st.sampled_from(["anthropic-claude-v1", "openai-responses-v1", None]),
        "id": st.sampled_from(["r1", None]),
    },
).map(
    lambda entry: {
        name: entry[name] for name in entry if name not in ("text", "summary") or name in str(entry["type"])
    }
)
_thoughts = st.builds(
    lambda entries, said: chunk({"reasoning_details": entries, **said}),
    st.lists(_entries, min_size=1, max_size=2),
    st.sampled_from([{}, {"content": "x"}]),
)
_calls = st.builds(
    lambda index, arguments, id_: calls(call(index, arguments, "f", id_) if id_ else call(index, arguments)),
    st.integers(0, 2),
    st.sampled_from(["", "{}", '{"a"', ": 1}", " ", '{"b": [2]}', '"']),
    st.sampled_from([None, "c"]),
)
_ends = st.sampled_from(
    [
        chunk({}, "stop") + END,
        chunk({}, "length") + END,
        chunk({}, "tool_calls") + END,
        chunk({}, "content_filter") + DONE,
        DONE,
        event({"error": {"code": 502, "message": "lost"}}),
        b"",
    ]
)
_chunks = st.one_of(
    st.sampled_from([text("Hi"), text(""), chunk({"reasoning": "ab"}), chunk({"refusal": "no"}), b": comment\n\n"]),
    _thoughts,
    _calls,
)
_cuts = st.lists(st.integers(0, 4000), max_size=6)


def _read(translator: ChatTranslator, body: bytes, cuts: list[int]) -> tuple[list[ChatEvent], list[bytes]]:
    """The events of a body that comes in reads, and the batches of its log."""
    encoder = RawEncoder(lambda: (*translator.take_payloads(), translator.has_told_failure), Redaction())
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    events: list[ChatEvent] = []
    batches = []
    for start, end in pairwise(places):
        found = translator.receive_data(body[start:end])
        events += found
        batches.append(encoder.encode(found))
    if translator.state is not ENDED:
        found = translator.receive_eof()
        events += found
        batches.append(encoder.encode(found))
    return events, batches


def _stream(upstream_protocol: str) -> Stream:
    known = {"id": "s" * 22, "requested_model": "a/m", "holds_chunks": True, "asked": 5, "protocol": "messages"}
    return cast(Stream, SimpleNamespace(**known, upstream_protocol=upstream_protocol))


def _told(events: list[ChatEvent], kind: type[Any]) -> str:
    return "".join(each.text for each in events if isinstance(each, kind))


@settings(max_examples=100, deadline=None)
@given(st.lists(_chunks, max_size=12), _ends, _cuts)
def test_translated(chunks: list[bytes], end: bytes, cuts: list[int]) -> None:
    translator = ChatTranslator(lambda: 0.0, keeps_payloads=True)
    events, batches = _read(translator, b"".join(chunks) + end, cuts)
    view = view_of(_stream("chat"))
    body = b"".join(map(view.view, batches))
    assert view_of(_stream("chat")).view(b"".join(batches)) == body
    message = read_message(body)
    _judge(message, events)


def _judge(message: Message, events: list[ChatEvent]) -> None:
    done = events[-1]
    assert isinstance(done, Done)
    assert done.completed == (message.error is None)
    if not done.completed:
        return
    assert message.texts("thinking", "thinking") == _told(events, ReasoningDelta)
    blocks = [block for block in message.blocks if block["type"] == "tool_use"]
    found = [each for each in events if isinstance(each, ToolCall)]
    assert {block["id"] for block in blocks} == {each.id for each in found}
    for each in found:
        (block,) = [block for block in blocks if block["id"] == each.id]
        if each.complete:
            assert json.loads(block.get("partial_json") or "{}") == json.loads(each.arguments)
    if any(not each.complete for each in found):
        assert message.stop_reason == "max_tokens"
    assert _told(events, ContentDelta).replace("no", "") in message.texts("text", "text").replace("no", "")


_foreign = st.lists(st.sampled_from([*WHOLE, STOP, finish("max_tokens"), {"type": "new"}, {}]), max_size=14)
_mutations = st.lists(st.tuples(st.integers(0, 13), st.sampled_from(["type", "index", "delta", "content_block"])))


@settings(max_examples=100, deadline=None)
@given(_foreign, _mutations, _cuts, st.sampled_from([b"", named(STOP), b"data: [DONE]\n\n"]))
def test_passed(events: list[dict[str, Any]], gone: list[tuple[int, str]], cuts: list[int], end: bytes) -> None:
    sent = [dict(each) for each in [START, *events]]
    for place, name in gone:
        if place < len(sent) and place:
            sent[place].pop(name, None)
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in sent) + end
    translator = ForeignTranslator(MessagesFront(), lambda: 0.0, keeps_payloads=True)
    found, batches = _read(translator, body, cuts)
    log = b"".join(batches)
    again = [each for each in EventsOfChunks("messages").feed(log) if type(each).__name__ != "ReasoningFragments"]
    assert again == found
    view = view_of(_stream("messages"))
    said = b"".join(map(view.view, batches))
    assert view_of(_stream("messages")).view(log) == said
    last = events_in(said)[-1]["type"]
    done = found[-1]
    assert isinstance(done, Done)
    assert last == ("message_stop" if done.completed else "error")
    assert any(isinstance(each, StreamFailed) for each in found) == (not done.completed)
    whole = WholeMessage()
    whole.feed(said)
    assert json.dumps(whole.message())
    assert (whole.error is None) == done.completed


ODD = ("null", "true", "list", "object", "text", "nan", "overflow", "lone-surrogate")
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}, "request_id": "r"}


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*place, key))


def _with(event: dict[str, Any], place: tuple[Any, ...], odd: bytes) -> bytes:
    changed = copy.deepcopy(event)
    holder: Any = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = "@odd@"
    return json.dumps(changed).encode().replace(b'"@odd@"', odd)


@pytest.mark.parametrize("number", range(len(WHOLE) + 1))
def test_odd_values_in_any_place(number: int) -> None:
    """Whoever reads, in whatever words, comes to an end, and to the right one."""
    events = [*WHOLE[:number], ERROR] if number == len(WHOLE) else [*WHOLE]
    before, after = ([json.dumps(each).encode() for each in part] for part in (events[:number], events[number + 1 :]))
    for place in _places(events[number]):
        for name in ODD:
            payloads = [*before, _with(events[number], place, ODD_VALUES[name]), *after]
            body = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
            translator = ForeignTranslator(MessagesFront(), lambda: 0.0, keeps_payloads=True)
            found, batches = _read(translator, body, [])
            done = found[-1]
            assert isinstance(done, Done)
            passed = view_of(_stream("messages")).view(b"".join(batches))
            made = TranslatedView(_stream("messages"), 5).view(b"".join(batches))
            for said in (passed, made):
                last = events_in(said)[-1]["type"]
                assert last == ("message_stop" if done.completed else "error"), (place, name)
                whole = WholeMessage()
                whole.feed(said)
                assert encode_json(whole.message())

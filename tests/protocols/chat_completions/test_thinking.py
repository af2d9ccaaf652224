"""Thinking below `/v1`, under both of its names, however a chunk is written."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from server.protocols.chat_completions import thinking
from server.protocols.chat_completions.view import OpenAiView

DETAILS = b'"reasoning_details":[{"type":"reasoning.text","text":"hm"}]'


@pytest.mark.parametrize(
    ("delta", "is_named_twice"),
    [
        (b'{"reasoning":"hm"}', True),
        (b'{"role":"assistant","content":"","reasoning":"hm",' + DETAILS + b"}", True),
        (b'{"reasoning" : "h \\"m\\" \\n","content":null}', True),
        (b'{"reasoning":"h\\u006d\\ud83d\\ude42"}', True),
        (b'{"\\u0072easoning":"hm","x":{"reasoning":"other"}}', True),
        (b'{"reasoning":"hm","reasoning_details":[{"reasoning":"other"}]}', True),
        (b'{"reasoning":"hm","reasoning_content":null}', True),
        ('{"reasoning":"hm \u2028 \u00e9"}'.encode(), True),
        (b'{"reasoning":"hm","reasoning_content":"mine"}', False),
        (b'{"reasoning":""}', False),
        (b'{"reasoning":null,"content":"\\"reasoning\\": \\"x\\""}', False),
        (b'{"reasoning":{"text":"hm"}}', False),
        (b'{"reasoning":["hm"]}', False),
        (b'{"content":"hm"}', False),
    ],
)
@pytest.mark.parametrize("finish", [b"null", b'"stop"', b'"error"'])
def test_thinking_is_named_twice_and_all_else_is_as_it_was(delta: bytes, is_named_twice: bool, finish: bytes) -> None:
    chunk = b'{"id":"g","choices":[{"index":0,"delta":' + delta + b',"finish_reason":' + finish + b'}],"created":1}'
    body = OpenAiView().view(b"data: " + chunk + b"\n\n")
    expected = json.loads(chunk)
    choice = expected["choices"][0]
    if choice["finish_reason"] == "error":
        choice["finish_reason"] = None
        if not any(choice["delta"].values()):  # the error's own frame follows, and nothing else is told
            assert body == b""
            return
    said = json.loads(body.removeprefix(b"data: "))
    if is_named_twice:
        choice["delta"]["reasoning_content"] = choice["delta"]["reasoning"]
    assert said == expected


def test_thinking_of_a_chunk_with_several_choices_or_a_message() -> None:
    chunk = b'{"choices":[{"delta":{"reasoning":"a"}},{"delta":{"reasoning":"b"},"message":{"reasoning":"c"}}]}'
    said = json.loads(OpenAiView().view(b"data: " + chunk + b"\n\n").removeprefix(b"data: "))
    named = [
        each["reasoning_content"]
        for choice in said["choices"]
        for each in (choice["delta"], choice.get("message"))
        if each
    ]
    assert named == ["a", "b", "c"]


HEAD, MIDDLE, TAIL = (
    b'{"choices":[{"index":0,"delta":{"content":"","reasoning":"',
    b'","reasoning_details":[{"type":"reasoning.text","text":"',
    b'"}]},"finish_reason":null}]}',
)
ALIKE = [HEAD + text + MIDDLE + text + TAIL for text in (b"So", b" it", b" is")]
"""From the third on they are told by what stands around their texts."""
SPECIAL = {
    "a quote": HEAD + b'\\"' + MIDDLE + b'a \\"b\\"' + TAIL,
    "a backslash at the end": HEAD + b"a\\\\" + MIDDLE + b"b\\\\" + TAIL,
    "escapes": HEAD + b"a\\n\\u00e9" + MIDDLE + b"\\ud83d\\ude42" + TAIL,
    "other letters": HEAD + "naïve 東京 \u2028".encode() + MIDDLE + b"x" + TAIL,
    "no text": HEAD + MIDDLE + b"x" + TAIL,
    "no text in the details": HEAD + b"a" + MIDDLE + TAIL,
    "the word error": HEAD + b"error" + MIDDLE + b"error" + TAIL,
    "a field in front of the details": HEAD + b'a","x":"y' + MIDDLE + b"b" + TAIL,
    "thinking under both names": HEAD + b'a","reasoning_content":"y' + MIDDLE + b"b" + TAIL,
    "an error in front of the details": HEAD + b'a","error":"y' + MIDDLE + b"b" + TAIL,
    "a field behind the text of the details": HEAD + b"a" + MIDDLE + b'b","x":"y' + TAIL,
    "a field behind a backslash": HEAD + b'a\\\\","x":"y' + MIDDLE + b'b\\\\","x":"y' + TAIL,
    "an entry more": HEAD + b"a" + MIDDLE + b'b"},{"text":"c' + TAIL,
    "other details": HEAD + b'a","reasoning_details":[{"type":"reasoning.encrypted","text":"b' + TAIL,
    "a piece of the answer": b'{"choices":[{"index":0,"delta":{"content":"Yes"},"finish_reason":null}]}',
    "a finish": HEAD + b"a" + MIDDLE + b'b"}]},"finish_reason":"stop"}]}',
    "no quote at the end of the text": HEAD + b"a\\" + MIDDLE + b"b" + TAIL,
}


def parsed(body: bytes) -> Any:
    """What a record says; the bytes of one that is no JSON. Escapes may be spelled in either way."""
    try:
        return json.loads(body.removeprefix(b"data: "))
    except ValueError:
        return body


def said_of(chunk: bytes) -> Any:
    """What a chunk becomes that is the first of its answer."""
    return parsed(OpenAiView().view(b"data: " + chunk + b"\n\n"))


@pytest.mark.parametrize("name", SPECIAL)
def test_a_chunk_behind_others_like_it_is_told_as_if_it_came_first(name: str) -> None:
    chunks = [*ALIKE, SPECIAL[name], *ALIKE]
    records = [b"data: " + chunk + b"\n\n" for chunk in chunks]
    one_by_one, at_once = OpenAiView(), OpenAiView()
    bodies = [one_by_one.view(record) for record in records]
    assert at_once.view(b"".join(records)) == b"".join(bodies)
    for chunk, body in zip(chunks, bodies, strict=True):
        try:
            assert json.loads(body.removeprefix(b"data: ")) == said_of(chunk)
        except ValueError:
            assert body == said_of(chunk)


TEXTS = [b"So", b" it", b'\\"is\\"', b"a\\\\", b"\\n\\u00e9", "東京".encode(), b"{}", b'\\",\\"x\\":\\"']


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("middle", [MIDDLE, b""], ids=["details", "alone"])
def test_a_run_of_alike_chunks_is_told_as_one_by_one(name: str, middle: bytes) -> None:
    """Wherever something else stands in it, and however much comes at once."""
    choose = random.Random(name)
    tail = TAIL if middle else b'"},"finish_reason":null}]}'
    for _ in range(30):
        texts = [choose.choices(TEXTS, k=2) for _ in range(60)]
        chunks = [HEAD + first + (middle + second if middle else b"") + tail for first, second in texts]
        for _ in range(choose.randrange(3)):
            chunks.insert(choose.randrange(60), SPECIAL[name])
        records = [b"data: " + chunk + b"\n\n" for chunk in chunks]
        one_by_one, at_once = OpenAiView(), OpenAiView()
        bodies = [one_by_one.view(record) for record in records]
        cuts = [0, *sorted(choose.sample(range(61), 2)), len(records)]
        told = [at_once.view(b"".join(records[begin:end])) for begin, end in pairwise(cuts)]
        assert [*map(parsed, b"".join(told).split(b"\n\n"))] == [*map(parsed, b"".join(bodies).split(b"\n\n"))]
    assert bodies[2].count(b'"reasoning_content"') == 1


def test_a_run_whose_middles_only_add_up_is_not_taken_for_one() -> None:
    chunks = [*ALIKE, *ALIKE, HEAD + b"a" + TAIL, HEAD + b"a" + MIDDLE + b"b" + MIDDLE + b"c" + TAIL] * 10
    records = [b"data: " + chunk + b"\n\n" for chunk in chunks]
    one_by_one = OpenAiView()
    assert OpenAiView().view(b"".join(records)) == b"".join(map(one_by_one.view, records))


def test_a_run_of_alike_chunks_is_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    view = OpenAiView()
    records = b"".join(b"data: " + chunk + b"\n\n" for chunk in ALIKE * 20)
    told = view.view(records)
    monkeypatch.delattr(OpenAiView, "_told")
    assert view.view(records) == told
    assert told.count(b'"reasoning_content"') == 60


def test_thinking_that_is_written_over_several_lines_is_named_twice() -> None:
    record = b'data: {"choices":[{"delta":{"reasoning":\ndata:  "hm",\ndata: "content":null}}]}\n\n'
    for records in (record, record + record):
        for body in OpenAiView().view(records).split(b"\n\n")[:-1]:
            said = json.loads(body.replace(b"\ndata: ", b"\n").removeprefix(b"data: "))
            assert said["choices"][0]["delta"]["reasoning_content"] == "hm"


def test_alike_chunks_of_thinking_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    view = OpenAiView()
    for chunk in ALIKE[:2]:
        view.view(b"data: " + chunk + b"\n\n")
    monkeypatch.delattr(thinking, "_thinking_alone")
    said = json.loads(view.view(b"data: " + ALIKE[2] + b"\n\n").removeprefix(b"data: "))
    assert said["choices"][0]["delta"]["reasoning_content"] == " is"

"""Thinking below `/v1`, under both of its names, however a chunk is written."""

from __future__ import annotations

import json

import pytest

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

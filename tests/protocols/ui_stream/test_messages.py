"""What a user interface keeps of a conversation, and what a model is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from client.upstream.request import InvalidRequest
from server.protocols.ui_stream.media import url_of_image
from server.protocols.ui_stream.messages import messages_of
from server.protocols.ui_stream.request import UiRequest, is_ui_request, ui_call_of
from tests.support.ui_parts import posting, user

Part = dict[str, Any]
STEP: Part = {"type": "step-start"}
SIGNED = {"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}


def assistant(*parts: Part) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "metadata": {"model": "m"}, "parts": list(parts)}


def tool(state: str, **more: Any) -> Part:
    return {"type": "tool-tide", "toolCallId": "c1", "state": state, "input": {"port": "a"}, **more}


def written(text: str) -> Part:
    return {"type": "text", "text": text, "state": "done"}


def thought(text: str, *entries: Any) -> Part:
    metadata = {"providerMetadata": {"openrouter": {"reasoning_details": list(entries)}}} if entries else {}
    return {"type": "reasoning", "text": text, **metadata}


CALL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"port":"a"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def answered(content: str) -> list[dict[str, Any]]:
    return [CALLED, {"role": "tool", "tool_call_id": "c1", "content": content}]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([written("Hi")], [{"role": "assistant", "content": "Hi"}]),
        (
            [written("H"), written("i")],
            [{"role": "assistant", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}],
        ),
        ([STEP, thought("hm"), written("Hi")], [{"role": "assistant", "content": "Hi", "reasoning": "hm"}]),
        (
            [thought("hm", SIGNED), written("Hi"), thought("", SIGNED)],
            [{"role": "assistant", "content": "Hi", "reasoning_details": [SIGNED]}],
        ),
        (
            [
                thought("hm", {"type": "reasoning.text", "text": "hm", "index": 0}),
                {
                    **written("Hi"),
                    "providerMetadata": {
                        "openrouter": {
                            "reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]
                        }
                    },
                },
            ],
            [{"role": "assistant", "content": "Hi", "reasoning_details": [SIGNED]}],
        ),
        ([tool("output-available", output="high")], answered("high")),
        ([tool("output-available", output={"m": 3})], answered('{"m":3}')),
        ([tool("output-available")], answered("null")),
        ([tool("output-error", errorText="No port")], answered("No port")),
        ([tool("output-denied")], answered("The user denied this call.")),
        (
            [tool("approval-responded", approval={"id": "x", "approved": False, "reason": "Not now."})],
            answered("The user denied this call. Not now."),
        ),
        (
            [{**tool("output-available", output="high"), "type": "dynamic-tool", "toolName": "tide"}],
            answered("high"),
        ),
        ([tool("input-available")], []),
        ([tool("input-streaming")], []),
        ([STEP, thought("hm", SIGNED), tool("input-available")], []),
        ([tool("approval-requested")], []),
        ([tool("approval-responded", approval={"id": "x", "approved": True})], []),
        ([tool("input-available"), written("Hi")], [{"role": "assistant", "content": "Hi"}]),
        (
            [STEP, tool("output-available", output="high"), STEP, written("High.")],
            [*answered("high"), {"role": "assistant", "content": "High."}],
        ),
        (
            [written("H"), {"type": "steering-message", "id": "s", "parts": [written("Stop")]}, written("i")],
            [
                {"role": "assistant", "content": "H"},
                {"role": "user", "content": "Stop"},
                {"role": "assistant", "content": "i"},
            ],
        ),
        ([{"type": "source-url", "url": "x"}, {"type": "data-audio", "data": 1}, {"type": "custom"}, STEP], []),
        (
            [written("Hi"), {"type": "data-annotation", "data": {"type": "file"}}],
            [{"role": "assistant", "content": "Hi", "annotations": [{"type": "file"}]}],
        ),
        ([{"type": 5}, {"text": "x"}, {"type": "tool-x"}, {"type": "text", "text": 5}, {"type": "text"}], []),
    ],
)
def test_what_the_model_said(parts: list[Part], told: list[dict[str, Any]]) -> None:
    assert messages_of([assistant(*parts)]) == told


def test_a_call_that_was_cut_off_goes_back_without_its_pieces() -> None:
    (message, output) = messages_of([assistant(tool("output-error", input='{"po', errorText="cut"))])
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"
    assert output["content"] == "cut"


def test_each_step_has_its_own_thinking() -> None:
    other = {**SIGNED, "text": "so", "signature": "t"}
    parts = [
        STEP,
        thought("hm", SIGNED),
        tool("output-available", output="high"),
        STEP,
        thought("so", other),
        written("x"),
    ]
    first, _, last = messages_of([assistant(*parts)])
    assert (first["reasoning_details"], last["reasoning_details"]) == ([SIGNED], [other])


def _file(media_type: str, url: str, **more: Any) -> Part:
    return {"type": "file", "mediaType": media_type, "url": url, **more}


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            _file("image/png", "data:image/png;base64,AAAA"),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ),
        (_file("image/*", "https://a.example/b"), {"type": "image_url", "image_url": {"url": "https://a.example/b"}}),
        (
            _file("audio/mpeg", "data:audio/mpeg;base64,AAAA"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
        (
            _file("audio/wav", "https://a.example/b.wav"),
            {"type": "file", "file": {"filename": "file.wav", "file_data": "https://a.example/b.wav"}},
        ),
        (
            _file("application/pdf", "data:application/pdf;base64,AAAA", filename="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        ),
        (
            _file("application/pdf", "https://a.example/b"),
            {"type": "file", "file": {"filename": "file.pdf", "file_data": "https://a.example/b"}},
        ),
    ],
)
def test_files_of_a_user(part: Part, told: Part) -> None:
    sent = {"id": "m1", "role": "user", "parts": [written("Look"), part, {"type": "data-x", "data": 1}]}
    assert messages_of([sent]) == [{"role": "user", "content": [{"type": "text", "text": "Look"}, told]}]


def test_a_picture_by_the_model_is_shown_by_the_next_user() -> None:
    picture = _file("image/png", "data:image/png;base64,AAAA")
    history = [user("Draw"), assistant(written("Here"), picture), user("Make it red")]
    *_, last = messages_of(history)
    assert last["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "Make it red"},
    ]


def test_systems_and_openrouters_own_messages() -> None:
    system = {"id": "s", "role": "system", "parts": [written("Be "), written("brief.")]}
    own = {"id": "x", "role": "user", "content": "Hi", "cache_control": {"type": "ephemeral"}}
    assert messages_of([system, own, "odd", {"id": "e", "role": "user", "parts": []}]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi", "cache_control": {"type": "ephemeral"}},
    ]


@pytest.mark.parametrize(
    ("body", "is_ui"),
    [
        (posting(), True),
        ({"trigger": "regenerate-message"}, True),
        ({"messages": [{"role": "user", "content": "x"}, user("x")]}, True),
        ({"message": user("x")}, True),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}]}, False),
        ({"messages": "x"}, False),
        ({}, False),
    ],
)
def test_trap_16_whose_request_it_is(body: dict[str, Any], is_ui: bool) -> None:
    assert is_ui_request(body) is is_ui


def _call(body: dict[str, Any]) -> Any:
    return ui_call_of(body, default_model="acme/d", max_grace_s=60)


def test_what_stands_beside_the_messages_is_a_field_of_chat() -> None:
    tools = [{"type": "function"}]
    more: Part = {"tools": tools, "reasoning_effort": "high", "odd": 1, "system": "Brief.", "stream": False}
    call = _call(posting(**more, grace_s=5, messageId="m1"))
    assert call.body == {
        "model": "acme/m",
        "messages": [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Why?"}],
        "stream": True,
        "tools": tools,
        "odd": 1,
        "reasoning": {"effort": "high"},
    }
    assert (call.stream, call.grace_s, call.asked) == (True, 5, UiRequest("chat-1", False, None))
    assert _call({"trigger": "x", "messages": [user("x")]}).body["model"] == "acme/d"


@pytest.mark.parametrize(("id", "known"), [("a1", "a1"), (5, None), ("x" * 257, None), ("", None)])
def test_an_answer_that_goes_on_keeps_its_messages_id(id: Any, known: str | None) -> None:
    last = {**assistant(tool("output-available", output="high")), "id": id}
    assert _call(posting(user("x"), last)).asked == UiRequest("chat-1", True, known)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (posting(id="x" * 257), "id"),
        (posting(id=""), "id"),
        ({**posting(), "id": 5}, "id"),
        ({**posting(), "messages": []}, "messages"),
        ({"trigger": "submit-message", "message": user("x")}, "messages"),
        (posting({"id": "m", "role": "user", "parts": []}), "messages"),
        (posting(model=5), "model"),
        (posting(grace_s=61), "grace_s"),
        (posting(n=2), "n"),
    ],
)
def test_what_cannot_be_asked(body: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _call(body)
    assert [each.where for each in caught.value.details] == [where]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "JavaScript:alert(1)", "vbscript:x", "file:///etc/passwd", ""]
)
def test_a_page_is_given_no_address_that_runs(url: str) -> None:
    assert url_of_image({"type": "image_url", "image_url": {"url": url}}) is None
    assert url_of_image({"image_url": "HTTPS://example.com/a.png"}) == "HTTPS://example.com/a.png"

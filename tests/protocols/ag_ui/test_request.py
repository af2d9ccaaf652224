"""What a `RunAgentInput` becomes upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.upstream.request import InvalidRequest
from server.protocols.ag_ui.messages import answer_of, message_id_of
from server.protocols.ag_ui.request import Asked, chat_call_of
from tests.protocols.ag_ui.reading import RUN, USER

SIGNED = [{"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MINE = [message_id_of("stream-1", number) for number in range(4)]
PNG = "data:image/png;base64,AA"


def upstream_body(**more: Any) -> dict[str, Any]:
    call = chat_call_of({**RUN, **more}, is_resumable=True, default_model="default", max_grace_s=60)
    assert call.asked == Asked("t1", "r1", is_resumable=True)
    assert call.stream
    return call.body


def sent(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = upstream_body(messages=list(messages))["messages"]
    return found


def test_only_openrouters_own_fields_of_forwarded_props_go_on() -> None:
    props = {"model": "acme/m", "temperature": 0.5, "reasoning": {"effort": "low"}, "provider": {"sort": "price"}}
    props |= {"sandbox": {"tokens": 3}}
    search = {"type": "openrouter:web_search"}
    mine = {"userName": "somebody", "messages": [], "stream": False, "tools": [search], "grace_s": 9}
    body = upstream_body(forwardedProps={**props, **mine}, state={"secret": 1}, data={"x": 1})
    assert body == {
        **props,
        "messages": [{"role": "user", "content": "Why?"}],
        "tools": [search],
        "stream": True,
    }
    odd = {"provider": "openai", "metadata": 5, "temperature": True, "model": ""}
    assert upstream_body(forwardedProps=odd).keys() == {"model", "messages", "stream"}
    absent: list[Any] = [{}, None, "x"]
    for nothing in absent:
        assert upstream_body(forwardedProps=nothing)["model"] == "default"


def test_a_grace_is_taken_out() -> None:
    call = chat_call_of(
        {**RUN, "forwardedProps": {"grace_s": 9}}, is_resumable=False, default_model="m", max_grace_s=60
    )
    assert (call.grace_s, "grace_s" in call.body) == (9, False)


def test_tools_and_context() -> None:
    parameters = {"type": "object", "properties": {}}
    tools = [{"name": "f", "description": "d", "parameters": parameters, "metadata": {}}, {"name": "g"}]
    context = [{"description": "Where", "value": "Oslo"}, {"description": "When", "value": "now"}]
    body = upstream_body(tools=tools, context=context, messages=[{"role": "system", "content": "Be kind"}, USER])
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}},
        {"type": "function", "function": {"name": "g"}},
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be kind"},
        {"role": "system", "content": "Where:\nOslo\n\nWhen:\nnow"},
        {"role": "user", "content": "Why?"},
    ]


def test_every_role() -> None:
    assert sent(
        {"id": "1", "role": "developer", "content": "Be brief"},
        {"id": "2", "role": "user", "content": "Why?", "name": "Ann"},
        {"id": "3", "role": "activity", "activityType": "PLAN", "content": {}},
        {"id": "4", "role": "reasoning", "content": "hm"},
        {"id": "5", "role": "assistant", "toolCalls": [CALL]},
        {"id": "6", "role": "tool", "toolCallId": "c1", "content": "", "error": "no such port"},
        {"id": "7", "role": "assistant", "content": "Because"},
    ) == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "name": "Ann", "content": "Why?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "no such port"},
        {"role": "assistant", "content": "Because"},
    ]


def test_signed_thinking_comes_back_as_it_went() -> None:
    for turn in (
        [{"id": MINE[0], "role": "reasoning", "content": "ab", "encryptedValue": json.dumps(SIGNED)}],
        [{"id": "x-reasoning-1", "role": "reasoning", "content": "ab", "encryptedValue": json.dumps(SIGNED)}],
    ):
        (_, found) = sent(USER, *turn, {"id": MINE[1], "role": "assistant", "content": "Hi"})
        assert found == {"role": "assistant", "content": "Hi", "reasoning": "ab", "reasoning_details": SIGNED}
    kept = {"id": "a", "role": "assistant", "content": "Hi", "encryptedValue": json.dumps(SIGNED)}
    assert sent(USER, kept)[1] == {"role": "assistant", "content": "Hi", "reasoning_details": SIGNED}
    for odd in ("sig", "5", '{"a": 1}', "[1]", "\ud83d", ""):
        assert sent(USER, {**kept, "encryptedValue": odd})[1] == {"role": "assistant", "content": "Hi"}


def test_the_messages_of_one_answer_are_one_turn_again() -> None:
    call = {**CALL, "id": "c2"}
    pieces: list[dict[str, Any]] = [
        {"id": MINE[0], "role": "reasoning", "content": "a"},
        {"id": MINE[1], "role": "assistant", "content": "Hi", "toolCalls": [CALL]},
        {"id": MINE[2], "role": "reasoning", "content": "b", "encryptedValue": json.dumps(SIGNED)},
        {"id": MINE[3], "role": "assistant", "content": "!", "toolCalls": [call]},
        {"id": "r", "role": "tool", "toolCallId": "c1", "content": "1"},
        {"id": "q", "role": "tool", "toolCallId": "c2", "content": "2"},
    ]
    assert sent(USER, *pieces)[1] == {
        "role": "assistant",
        "content": "Hi!",
        "tool_calls": [CALL, call],
        "reasoning": "ab",
        "reasoning_details": SIGNED,
    }
    apart = sent(
        USER, {"id": "x", "role": "assistant", "content": "1"}, {"id": "y", "role": "assistant", "content": "2"}
    )
    assert [each["content"] for each in apart] == ["Why?", "1", "2"]


def test_calls_that_nobody_answered_are_left_out() -> None:
    cut = {**CALL, "id": "c2", "function": {"name": "f", "arguments": '{"a'}}
    result = {"id": "r", "role": "tool", "toolCallId": "c1", "content": "1"}
    found = sent(USER, {"id": "a", "role": "assistant", "toolCalls": [CALL, cut]}, result, USER)
    assert found[1] == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    said = {"id": "a", "role": "assistant", "content": "Hi", "toolCalls": [cut]}
    assert sent(USER, said, USER)[1] == {"role": "assistant", "content": "Hi"}
    assert sent(USER, {"id": "a", "role": "assistant", "toolCalls": [cut]}, USER) == sent(USER, USER)


def test_thinking_without_an_answer_is_nothing() -> None:
    assert sent(USER, {"id": "t", "role": "reasoning", "content": "hm"}, USER) == sent(USER, USER)


def test_ids_lead_back_to_their_answer() -> None:
    ids = [message_id_of("a-b_c", number) for number in (1, 2)]
    assert len({answer_of(each) for each in ids}) == 1
    assert answer_of(f"{ids[0]}-reasoning-1") == answer_of(ids[0])
    assert answer_of(message_id_of("a-b", 1)) != answer_of(ids[0])
    for other in (None, 5, "", "u1", "msg_", "msg-1-2"):
        assert answer_of(other) is None


@pytest.mark.parametrize(
    ("part", "becomes"),
    [
        ({"type": "text", "text": "a"}, {"type": "text", "text": "a"}),
        ({"type": "text", "content": "a"}, {"type": "text", "text": "a"}),
        (
            {"type": "image", "source": {"type": "data", "value": "AA", "mimeType": "image/png"}},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "image", "source": {"type": "data", "value": PNG, "mimeType": "image/png"}},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "image", "source": {"type": "url", "value": "https://a.example/x.png"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
        ),
        (
            {"type": "audio", "source": {"type": "data", "value": "AA", "mimeType": "audio/mpeg"}},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
        ),
        (
            {"type": "video", "source": {"type": "url", "value": "https://a.example/x.mp4"}},
            {"type": "video_url", "video_url": {"url": "https://a.example/x.mp4"}},
        ),
        (
            {"type": "document", "source": {"type": "data", "value": "AA", "mimeType": "application/pdf"}},
            {"type": "file", "file": {"filename": "document", "file_data": "data:application/pdf;base64,AA"}},
        ),
        (
            {"type": "document", "source": {"type": "file", "value": "file-1"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
        (
            {"type": "binary", "mimeType": "image/png", "data": "AA"},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "binary", "mimeType": "application/pdf", "url": "https://a.example/x", "filename": "x.pdf"},
            {"type": "file", "file": {"filename": "x.pdf", "file_data": "https://a.example/x"}},
        ),
    ],
)
def test_a_part_of_a_message(part: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert sent({"role": "user", "content": [part, {"type": "hologram"}]}) == [{"role": "user", "content": [becomes]}]
    result = {"role": "tool", "toolCallId": "c", "content": [part]}
    assert sent(result) == [{"role": "tool", "tool_call_id": "c", "content": [becomes]}]


def test_sound_by_its_address_is_said_not_to_be_possible() -> None:
    part = {"type": "audio", "source": {"type": "url", "value": "https://a.example/x.mp3"}}
    with pytest.raises(InvalidRequest, match=r"messages\.0\.content\.0"):
        sent({"role": "user", "content": [part]})

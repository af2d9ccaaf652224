"""The rules of JSON-RPC by which every message of a client is judged, over stdio and over HTTP."""

from __future__ import annotations

import json

import pytest

from mcp_app.stdio.jsonrpc import MAX_BATCH, Batch, Message, Refused, read_message

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def spelled(**changes: object) -> bytes:
    return json.dumps({**PING, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "code", "request_id"),
    [
        (b"not json", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700, None),
        (spelled(params={"x": float("nan")}), -32700, None),
        (b'{"id":' + b"1" * 5000 + b"}", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"a":' * 100_000 + b'"\\ud800"', -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"{}", -32600, None),
        (b"1", -32600, None),
        (b'"ping"', -32600, None),
        (b"[]", -32600, None),
        (b"[" + b",".join([b"1"] * (MAX_BATCH + 1)) + b"]", -32600, None),
        (b'{"id":1,"method":"ping"}', -32600, None),
        (spelled(jsonrpc="1.0"), -32600, None),
        (spelled(jsonrpc=2.0), -32600, None),
        (b'{"jsonrpc":"2.0","id":1}', -32600, None),
        (spelled(method=1), -32600, None),
        (spelled(id=9.5), -32600, None),
        (spelled(id=None), -32600, None),
        (spelled(id=True), -32600, None),
        (spelled(id=[1]), -32600, None),
        (spelled(id={}), -32600, None),
        (spelled(id="half \ud83d"), -32600, None),
        (b'{"jsonrpc":"2.0","id":1e400,"method":"ping"}', -32600, None),
        (spelled(params="bar"), -32600, None),
        (spelled(params=[1]), -32602, 1),
    ],
)
def test_what_is_no_message_is_refused_with_its_code(data: bytes, code: int, request_id: int | None) -> None:
    """Faults D1 and D2, mcp F18."""
    judged = read_message(data)
    assert isinstance(judged, Refused), judged
    assert (judged.code, judged.id) == (code, request_id)
    answer = judged.answer()
    assert answer["id"] == request_id
    assert len(json.dumps(answer)) < 500


@pytest.mark.parametrize(
    ("data", "request_id"),
    [
        (spelled(), 1),
        (spelled(id="a"), "a"),
        (spelled(id=""), ""),
        (spelled(id=10**30), 10**30),
        (spelled(id=7.0), 7),
        (b"\xef\xbb\xbf" + spelled(), 1),
        (spelled(params=None), 1),
        (spelled(params={"text": "\u2028"}), 1),
    ],
)
def test_a_request_is_taken_with_its_id(data: bytes, request_id: int | str) -> None:
    judged = read_message(data)
    assert isinstance(judged, Message)
    assert judged.is_request
    assert judged.id == request_id
    assert type(judged.id) is type(request_id)


def test_halves_of_surrogate_pairs_are_joined_or_replaced() -> None:
    """Break-it 5: a host that cuts text sends them, and must be answered all the same."""
    judged = read_message(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":["x \\ud83d y","\\ud83d\\ude00"]}}')
    assert isinstance(judged, Message)
    assert judged.content["params"] == {"a": ["x \ufffd y", "😀"]}
    assert judged.is_changed


@pytest.mark.parametrize(
    "content",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "no"}},
    ],
)
def test_notifications_and_responses_are_no_requests(content: dict[str, object]) -> None:
    judged = read_message(json.dumps(content).encode())
    assert isinstance(judged, Message)
    assert not judged.is_request


def test_the_items_of_a_batch_are_judged_one_by_one() -> None:
    judged = read_message(json.dumps([PING, 3, {"jsonrpc": "2.0", "id": 2, "method": "initialize"}]).encode())
    assert isinstance(judged, Batch)
    assert [type(item) for item in judged.items] == [Message, Refused, Refused]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("initialize", {"clientInfo": {"icons": [1] * 20_000}}),
        ("initialize", {"capabilities": {"experimental": {str(number): 1 for number in range(20_000)}}}),
        ("tools/call", {"name": "llm_chat", "_meta": {"a": [{"b": [[1] * 100] * 200}]}}),
        ("tools/call", {"name": "llm_chat", "arguments": {}, **{str(number): 1 for number in range(20_000)}}),
        ("ping", {"a": [[]] * 20_000}),
    ],
)
def test_break_it_1_a_message_of_very_many_values_is_refused(method: str, params: dict[str, object]) -> None:
    refused = read_message(spelled(method=method, params=params))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.id) == (-32602, 1)
    assert "more than 10,000 values" in refused.message


def test_break_it_1_a_tools_arguments_may_hold_as_many_as_they_like() -> None:
    params = {"name": "llm_chat", "arguments": {"messages": [{"role": "user", "content": "x"}] * 20_000}}
    assert isinstance(read_message(spelled(method="tools/call", params=params)), Message)

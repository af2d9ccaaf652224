"""Chunks that are read in one step by their types: the same comes of them as by the rule for all."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from client.border.json_codec import decode_json
from client.translation.chunks.chunk import Chunk, chunk_of
from client.translation.chunks.ordinary import ordinary_chunk

DETAIL = {"type": "reasoning.text", "text": "hm", "format": "unknown", "index": 0}
CALL = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5, "cost_details": {"upstream_inference_cost": None}}
HEAD = {"id": "gen-1", "provider": "Acme", "model": "acme/m", "object": "chat.completion.chunk", "created": 1}


def _read(chunk: dict[str, Any]) -> tuple[Chunk | None, Chunk]:
    payload = json.dumps(chunk).encode()
    return ordinary_chunk(payload), chunk_of(decode_json(payload))


@pytest.mark.parametrize(
    ("delta", "finishes"),
    list(
        product(
            [
                {"role": "assistant", "content": ""},
                {"role": "assistant", "content": None},
                {"content": "text"},
                {"content": "", "reasoning": "hm", "reasoning_details": [DETAIL]},
                {"content": "text", "reasoning": "hm", "reasoning_details": []},
                {"content": "", "reasoning": "", "reasoning_details": [DETAIL, {"summary": "well"}, 7]},
                {"content": "text", "reasoning": None, "reasoning_details": [DETAIL], "tool_calls": [CALL]},
                {"role": "assistant", "tool_calls": [CALL, CALL], "refusal": None},
                {},
            ],
            [
                {},
                {"finish_reason": None, "native_finish_reason": None, "logprobs": None},
                {"finish_reason": "stop", "native_finish_reason": "STOP"},
                {"finish_reason": "in_progress", "native_finish_reason": ""},
                {"finish_reason": "stop", "native_finish_reason": " Null "},
            ],
        )
    ),
)
def test_ordinary_chunks_are_read_as_by_the_rule_for_all(delta: dict[str, Any], finishes: dict[str, Any]) -> None:
    heads: list[dict[str, Any]] = [HEAD, {}, {"id": None, "error": None}]
    usages: list[dict[str, Any]] = [{}, {"usage": USAGE}, {"usage": None}]
    for head, usage in product(heads, usages):
        ordinary, careful = _read({**head, "choices": [{"index": 0, "delta": delta, **finishes}], **usage})
        assert ordinary == careful


@pytest.mark.parametrize(
    "chunk",
    [
        {**HEAD, "choices": []},
        {**HEAD, "choices": [{"delta": {}}, {"delta": {}}]},
        {**HEAD, "choices": [{"index": 1, "delta": {}}]},
        {**HEAD, "choices": [{"index": "0", "delta": {}}]},
        {**HEAD, "choices": [{"message": {"content": "whole"}}]},
        {**HEAD, "choices": [{"delta": {}, "message": {"content": "whole"}}]},
        {**HEAD, "choices": [{"delta": {"content": [{"type": "text", "text": "a"}]}}]},
        {**HEAD, "choices": [{"delta": {"reasoning_content": "hm"}}]},
        {**HEAD, "choices": [{"delta": {"reasoning_details": DETAIL}}]},
        {**HEAD, "choices": [{"delta": {}, "logprobs": {"content": []}}]},
        {**HEAD, "choices": [{"delta": {}, "error": {"code": 502}}]},
        {**HEAD, "choices": [{"delta": {}, "finish_reason": {"type": "stop"}}]},
        {**HEAD, "choices": {"delta": {}}},
        {**HEAD, "id": 7, "choices": [{"delta": {}}]},
        {**HEAD, "usage": [1], "choices": [{"delta": {}}]},
        {**HEAD, "error": {"message": "no"}, "choices": [{"delta": {}}]},
        {**HEAD, "service_tier": "flex", "choices": [{"delta": {}}]},
        {**HEAD, "of_tomorrow": 1, "choices": [{"delta": {}}]},
        [HEAD],
        "text",
    ],
)
def test_others_are_left_to_the_rule_for_all(chunk: Any) -> None:
    assert ordinary_chunk(json.dumps(chunk).encode()) is None


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b'{"choices":[{"delta":{"content":"\\ud83d"}}]}', b"[" * 100_000]
)
def test_what_is_no_json_for_all_is_none_of_them(payload: bytes) -> None:
    assert ordinary_chunk(payload) is None


def test_the_last_of_fields_that_stand_twice_counts_for_both() -> None:
    delta = b'"delta":{"content":"x","content":"y"},"delta":{"content":"z","content":"zz"}'
    payload = b'{"id":"a","id":"b","choices":[{' + delta + b'}],"usage":null}'
    assert ordinary_chunk(payload) == chunk_of(decode_json(payload))

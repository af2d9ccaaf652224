"""Chunks that hold a piece of the answer as text and nothing else at all, read in one step. Pure module."""

from __future__ import annotations

from typing import Literal

import msgspec


class _Strict(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A field that is not named here, or has a value, makes it another kind of chunk."""


class _Delta(_Strict, gc=False, kw_only=True):
    content: str
    role: str | None = None
    reasoning: None = None
    reasoning_details: None = None
    reasoning_content: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(_Strict, gc=False, kw_only=True):
    delta: _Delta
    index: Literal[0] = 0
    finish_reason: None = None
    native_finish_reason: None = None
    logprobs: None = None


class _Chunk(_Strict, gc=False, kw_only=True):
    choices: tuple[_Choice]
    id: msgspec.Raw = msgspec.Raw()
    object: msgspec.Raw = msgspec.Raw()
    created: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    provider: msgspec.Raw = msgspec.Raw()
    system_fingerprint: None = None
    service_tier: None = None
    usage: None = None
    error: None = None


_decode = msgspec.json.Decoder(_Chunk).decode


def plain_content(payload: bytes) -> str | None:
    """The text of such a chunk; None for any other.

    Who uses it has read the names of the answer (`id`, `model`) in a chunk before.
    """
    try:
        return _decode(payload).choices[0].delta.content
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

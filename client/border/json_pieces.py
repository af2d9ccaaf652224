"""JSON of a large value piece by piece: whoever encodes it can let others have a turn in between. Pure module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from client.border.json_codec import encode_json, encode_text

_TEXT_CHARS = 262_144
_ITEMS = 500
_DEPTH = 3
"""Levels that are taken apart; what is deeper goes out in one piece."""


def json_pieces(value: Any, depth: int = _DEPTH) -> Iterator[bytes]:
    """The encoding, whose pieces joined are what `encode_json` gives for dicts, lists, texts and what they hold."""
    if isinstance(value, str) and len(value) > _TEXT_CHARS:
        yield from _text_pieces(value)
    elif isinstance(value, dict) and value and depth:
        lead = b"{"
        for name, item in value.items():
            yield lead + encode_json(name) + b":"
            yield from json_pieces(item, depth - 1)
            lead = b","
        yield b"}"
    elif isinstance(value, list) and value and depth:
        yield from _list_pieces(value, depth)
    else:
        yield encode_json(value)


def _text_pieces(text: str) -> Iterator[bytes]:
    """Halves of a surrogate pair stay apart, as they were."""
    yield b'"'
    for start in range(0, len(text), _TEXT_CHARS):
        yield encode_text(text[start : start + _TEXT_CHARS])[1:-1]
    yield b'"'


def _list_pieces(values: list[Any], depth: int) -> Iterator[bytes]:
    """Few items one by one, as each may be large; many together."""
    lead = b"["
    if len(values) <= _ITEMS:
        for item in values:
            yield lead
            yield from json_pieces(item, depth - 1)
            lead = b","
    else:
        for start in range(0, len(values), _ITEMS):
            yield lead + encode_json(values[start : start + _ITEMS])[1:-1]
            lead = b","
    yield b"]"

"""Large JSON decoded and encoded in steps, so that others have their turns of the loop meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import msgspec

from client.border.fit import not_too_deep
from client.border.json_codec import decode_json
from client.border.json_pieces import json_pieces

T = TypeVar("T")

LARGE_BYTES = 262_144
"""What is smaller is decoded at once."""

STEP_ITEMS = 100
"""Objects that are worked on in one turn of the loop."""

_STEP_BYTES = 65_536
_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def in_steps(items: Iterable[T], size: int = STEP_ITEMS) -> AsyncIterator[T]:
    """The items, with a turn for others after every `size` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % size == 0:
            await asyncio.sleep(0)


async def decode_in_steps(body: bytes) -> Any:
    """What `decode_json` gives, with null for what is nested too deeply for those who walk through it.

    The items of a large list, or of a list in a large object, are decoded in steps.
    """
    if len(body) < LARGE_BYTES:
        return _decode(body)
    try:
        fields = _fields_of(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return await _decode_items(body)
    return {name: await _decode_items(bytes(raw)) for name, raw in fields.items()}


async def encode_in_steps(value: Any) -> list[bytes]:
    """Pieces that joined are the JSON of a value."""
    pieces: list[bytes] = []
    step: list[bytes] = []
    size = 0
    for piece in json_pieces(value):
        step.append(piece)
        size += len(piece)
        if size >= _STEP_BYTES:
            pieces.append(b"".join(step))
            step, size = [], 0
            await asyncio.sleep(0)
    return [*pieces, b"".join(step)]


def _decode(body: bytes) -> Any:
    return not_too_deep(decode_json(body))


async def _decode_items(body: bytes) -> Any:
    if len(body) < LARGE_BYTES:
        return _decode(body)
    try:
        items = _items_of(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode(body)
    await asyncio.sleep(0)
    return [_decode(bytes(item)) async for item in in_steps(items)]

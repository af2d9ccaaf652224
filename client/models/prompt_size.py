"""How many tokens a request may be taken for at most, before anybody has counted them.

Everything that goes upstream counts as text, wherever it stands: the model may read it. Left out is only the data of
a medium in the places where media stand, the parts of a message's `content` and of a tool's result, as chat
completions, Messages and Responses have them; the medium itself counts as many tokens as a large picture has. What
only looks like a medium is text.

The size is that of the body as it is sent, so it costs what one more encoding costs, however the body is made. Looks
at single values are bounded: who sends more of them is taken to fill the model's context. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

BOUNDLESS: Final = 10**9
"""Tokens of a request that is too odd to be counted: more than any context holds."""

_MEDIUM_TOKENS = 4_000
"""An image, a file, a piece of audio; what it really takes is known at the end."""
_TEXT_BYTES_PER_TOKEN = 3
_MARK_BYTES = 4
"""What stands around a value: two quotes, a colon, a comma."""
_MOST_VALUES = 20_000
_END = object()
_PLACES = {
    "image_url": ("image_url", "url"),
    "video_url": ("video_url", "url"),
    "input_video": ("input_video", "url"),
    "input_audio": ("input_audio", "data"),
    "file": ("file", "file_data"),
    "image": ("source", "data"),
    "document": ("source", "data"),
    "input_image": ("image_url", "url"),
    "input_file": ("file_data", "file_data"),
}
"""By the type of a part: the field that holds the medium, an object or its data at once, and the field of that object
that holds the data."""
_NO_MEDIA = ("text", "content")
"""Types of a `source` whose data are text, or more parts."""
_OF_MESSAGES, _OF_ITEMS = ("content", "images"), ("content", "output")
"""Fields in which the parts of a message stand, and those of an item of `input`."""
_ELSEWHERE = ("file_id", "url", "file_url")
"""Fields that say where a medium is which the request does not hold."""
_LONGEST_HEAD = 200
_HEAD = re.compile(r"data:((image|audio|video)/[a-z0-9.-]+|application/pdf)(;[a-z0-9.=-]+)*;base64,", re.IGNORECASE)
"""Of the media types those that are no text: a `text/plain` is read as it is, an `image/svg+xml` nearly so."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
_CACHE_MARK = b'"cache_control"'

_encode = msgspec.json.Encoder().encode


class PromptSize(NamedTuple):
    """What is known of a request's prompt.

    Attributes:
        tokens: so many at most.
        is_cached: whether the caller has some of it written to a cache, which has a price of its own.
    """

    tokens: int
    is_cached: bool = False


def prompt_size(body: Mapping[str, Any]) -> PromptSize:
    """What a request's prompt may be taken for at most."""
    size_bytes, is_cached = _size(body)
    media, data_bytes = _media(body)
    tokens = _tokens(size_bytes - data_bytes) + media * _MEDIUM_TOKENS + _numbers(body)
    return PromptSize(min(tokens, BOUNDLESS), is_cached)


def _numbers(body: Mapping[str, Any]) -> int:
    """Tokens that a text may be given as, by their numbers: short ones take fewer bytes than a token of text has."""
    total = 0
    for given in (body.get("prompt"), body.get("input")):
        for text in (given, *given) if isinstance(given, list) else ():
            if isinstance(text, list) and text and isinstance(text[0], int):
                total += len(text)
    return total


def _size(body: Mapping[str, Any]) -> tuple[int, bool]:
    """Bytes of the body as it is sent, and whether it holds a mark for caches."""
    try:
        encoded = _encode(body)
    except (UnicodeEncodeError, OverflowError, RecursionError, ValueError, TypeError):
        return _size_of_values(body), True
    return len(encoded), _CACHE_MARK in encoded


def _media(body: Mapping[str, Any]) -> tuple[int, int]:
    """How many media there are, and how many bytes of the body are their data."""
    media, data_bytes = 0, 0
    parts = _parts(body)
    for part in islice(parts, _MOST_VALUES):
        is_medium, size = _medium(part)
        media += is_medium
        data_bytes += size
    return media if next(parts, _END) is _END else BOUNDLESS, data_bytes


def _parts(body: Mapping[str, Any]) -> Iterator[object]:
    """Every part of every message and item, those of a tool's result included, and a None for every message that has
    none: each is a value to be looked at."""
    for messages, places in ((body.get("messages"), _OF_MESSAGES), (body.get("input"), _OF_ITEMS)):
        for message in messages if isinstance(messages, list) else ():
            yield None
            for place in places if isinstance(message, dict) else ():
                parts = message.get(place)
                for part in parts if isinstance(parts, list) else ():
                    yield part
                    if isinstance(part, dict) and part.get("type") == "tool_result":
                        inner = part.get("content")
                        yield from inner if isinstance(inner, list) else ()


def _medium(part: object) -> tuple[bool, int]:
    """Whether a part is a medium, and how many bytes of it are its data."""
    if not isinstance(part, dict):
        return False, 0
    kind = part.get("type")
    place = _PLACES.get(kind) if isinstance(kind, str) else None
    if place is None:
        return False, 0
    held = part.get(place[0])
    data = held.get(place[1]) if isinstance(held, dict) else held
    if isinstance(held, dict) and held.get("type") in _NO_MEDIA:
        return False, 0
    if not isinstance(data, str):
        return any(name in each for name in _ELSEWHERE for each in (held, part) if isinstance(each, dict)), 0
    return True, _data_bytes(data, is_bare=place[1] == "data")


def _data_bytes(data: str, *, is_bare: bool) -> int:
    """How many bytes of a well-formed medium are no text: none of an address, nor of what is not well-formed.

    Args:
        is_bare: whether base64 alone will do.
    """
    head = _HEAD.match(data[:_LONGEST_HEAD])
    if head is None and not is_bare:
        return 0
    if not data.isascii():
        return 0
    written = data[0 if head is None else head.end() :].encode()
    if written.translate(None, _BASE64):
        return 0
    return len(written) + written.count(b"\n") + written.count(b"\r")  # which are sent as two characters


def _size_of_values(body: Mapping[str, Any]) -> int:
    """Of a body that cannot be encoded at once: for half of a surrogate pair, a huge number, or too deep nesting."""
    size_bytes, seen = 0, 0
    todo: list[object] = [body]
    while todo:
        value = todo.pop()
        seen += len(value) if isinstance(value, list | dict) else 0
        if seen > _MOST_VALUES:
            return BOUNDLESS * _TEXT_BYTES_PER_TOKEN
        if isinstance(value, str):
            size_bytes += len(value.encode("utf-8", "surrogatepass"))
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            todo += [*value, *value.values()]
        else:
            size_bytes += value.bit_length() // 3 if isinstance(value, int) else 20
    return size_bytes + seen * _MARK_BYTES


def _tokens(size_bytes: int) -> int:
    return -(-size_bytes // _TEXT_BYTES_PER_TOKEN)

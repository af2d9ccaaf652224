"""The one encoder and the careful decoder, on what JSON can carry and most encoders cannot."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.border.json_codec import decode_json, encode_json, encode_text, encode_texts
from client.errors import Detail, Failure

DEEP = 100_000


def nested(depth: int) -> Any:
    """`[[[…]]]`"""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("a \ud83d b", rb'"a \ud83d b"'),
        ({"\udc00": ["\ud83d"]}, rb'{"\udc00":["\ud83d"]}'),
        (math.nan, b"null"),
        ({"x": [math.inf, -math.inf, 1.5], "y": "\ud800"}, rb'{"x":[null,null,1.5],"y":"\ud800"}'),
        (10**400, b"1" + b"0" * 400),
        ([10**5000, -(10**5000)], b"[1" + b"0" * 5000 + b",-1" + b"0" * 5000 + b"]"),
        ({"line": "a\u2028b\u2029c\u0085d\ne"}, rb'{"line":"a\u2028b\u2029c\u0085d\ne"}'),
        ({"a": True, "b": None, "c": [], "d": {}}, b'{"a":true,"b":null,"c":[],"d":{}}'),
        ({"x": math.nan, "y": "\ud800", "z": [True, None, {}, [], (1, 2)]}, b""),
    ],
)
def test_what_json_can_carry_is_encoded(value: Any, encoded: bytes) -> None:
    """break-it 5, break-it 26, faults C1"""
    found = encode_json(value)
    if encoded:
        assert found == encoded
    assert b"NaN" not in found
    found.decode()


def test_a_deep_value_is_decoded_and_encoded_as_it_is() -> None:
    """break-it 6, faults R1"""
    for source in (b"[" * DEEP + b"]" * DEEP, b'{"a":[1,' * (DEEP // 2) + b'"\\ud800"' + b"]}" * (DEEP // 2)):
        value = decode_json(b" " + source + b"\n")
        assert encode_json(value) == source
    wide = b",".join([b'{"a":[1,{"b":2}]}'] * 1000)
    for source in (
        b"[" + wide + b"," + b"[" * DEEP + b"]" * DEEP + b"," + wide + b"]",
        b"[1,[" * 3000 + b"]]" * 3000,
    ):
        assert encode_json(decode_json(source)) == source
    assert decode_json(b"[" * DEEP) is None
    assert decode_json(b"[" * DEEP + b"]" * (DEEP - 1) + b"}") is None
    assert encode_json(nested(DEEP)) == b"[" * DEEP + b"]" * DEEP


@pytest.mark.parametrize("depth", [900, 950, 980, 990, 1000, 1200])
def test_a_struct_with_deep_or_odd_values_is_encoded(depth: int) -> None:
    failure = Failure(
        "\ud83d", "internal", 500, False, details=[Detail("a", "b")], upstream={"x": nested(depth), "n": math.nan}
    )
    found = encode_json(failure)
    assert found.startswith(rb'{"error":"\ud83d","type":"internal","status":500,"retryable":false,"details":[{"w')
    assert b"retry_after_s" not in found  # omitted, as in the fast way
    assert found.endswith(b'"n":null}}')


def test_both_ways_encode_a_failure_alike() -> None:
    for failure in (
        Failure("e", "internal", 500, False),
        Failure("e", "internal", 500, True, retry_after_s=2.0, upstream={"code": 1}, suggestions=["a"]),
    ):
        odd = msgspec.structs.replace(failure, error="\ud800")
        assert encode_json(odd) == encode_json(failure).replace(b'"error":"e"', rb'"error":"\ud800"')


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"nope", b'{"a":}', b"[1,]", b'{"a":1,}', b"[1] [2]", b"\xff", b'"\\ud8', b"[" * 5000 + b"1,]"],
)
def test_what_is_no_json_is_none(data: bytes) -> None:
    assert decode_json(data) is None
    assert decode_json(b"[" * 3000 + data) is None


def test_odd_numbers_and_bytes_are_decoded() -> None:
    assert decode_json(b"9" * 400) == int("9" * 400)
    assert decode_json(b"-" + b"9" * 5000) == -math.inf
    assert decode_json(b"1e400") == math.inf
    assert math.isnan(decode_json(b'{"a":NaN}')["a"])
    assert decode_json(b'\xef\xbb\xbf{"a":"\xff\\ud800\tx"}') == {"a": "\ufffd\ud800\tx"}
    assert encode_json(decode_json(b"9" * 5000)) == b"null"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=12,
)


def without_odd_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [without_odd_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: without_odd_numbers(item) for key, item in value.items()}
    return value


@settings(max_examples=150, deadline=None)
@given(json_values, st.integers(0, 1))
def test_every_value_comes_back(value: Any, depth: int) -> None:
    """The three ways of either direction are one: what is shallow and what is too deep for them read alike."""
    for _ in range(depth * 1200):
        value = [value]
    encoded = encode_json(value)
    assert b"\n" not in encoded
    assert not any(end in encoded.decode() for end in "\x85\u2028\u2029")
    found = decode_json(encoded)
    for _ in range(depth * 1200):
        value, found = value[0], found[0]
    assert found == without_odd_numbers(value)
    assert json.loads(encode_json(value)) == found


@given(st.text(st.characters(codec=None)))
def test_text_is_one_line(text: str) -> None:
    assert json.loads(encode_text(text)) == text
    assert len(encode_text(text).decode().splitlines()) == 1


@given(st.lists(st.text(st.characters(codec=None)) | st.sampled_from(["", "\n", "\x85", "\u2028", "\ud83d", '"\\'])))
def test_many_texts_are_encoded_like_each(texts: list[str]) -> None:
    assert encode_texts(texts) == list(map(encode_text, texts))

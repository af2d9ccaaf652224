"""The server's key is in nothing that upstream said."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest

from client.border.redaction import REMOVED, Redaction
from client.translation.errors.failures import failure_of_body, failure_of_error

KEYS = [
    "sk-or-v1-" + "a1" * 20, "gsk_AbCdEf0123456789AbCd", "1234567890123456", "pässword with spaces & \"quotes\" \\ 9",
    "x.y/z+a=b?c%d{e}f$g^h*i(j)", "k" * 40, "shortkey",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_the_key_goes_from_every_place_of_an_error(key: str) -> None:
    """break-it 11."""
    hide = Redaction(key)
    errors: list[Any] = [
        key, {"message": f"Incorrect API key provided: {key}."}, {"message": "m", "code": [key]},
        {"message": "m", "code": {key: key}}, {"message": "m", "code": key}, {"message": "m", "type": key},
        {"message": "m", "metadata": {"raw": "key " + key, key: {"x": [key, [key]]}, "provider_name": key}},
        {"message": "m", "metadata": {"raw": json.dumps({"error": {"message": key}})}},
        {"message": "m", "availability": {"code": key}}, {"message": ["m", {"msg": key}]},
        {"message": "x" * 490 + key}, {"message": f"url?key={quote(key, safe='')}&x"},
        {"message": b64encode(b"Bearer " + key.encode()).decode()}, {"message": json.dumps(key) + repr(key)},
    ]  # fmt: skip
    if key.isdigit():
        errors += [{"message": "m", "code": int(key)}, {"message": "m", "metadata": {"n": [int(key)], "f": int(key)}}]
    for error in errors:
        for found in (
            failure_of_error(error, provider=key, hide=hide),
            failure_of_body(401, {}, json.dumps({"error": error}).encode(), 0.0, hide),
            failure_of_body(401, {}, json.dumps({"error": error}, ensure_ascii=False).encode(), 0.0, hide),
        ):
            told = json.dumps([found.error, found.upstream], ensure_ascii=False)
            assert key not in told
            assert json.dumps(key)[1:-1] not in told
            assert quote(key, safe="") not in told
            assert b64encode(b"Bearer " + key.encode()).decode()[10:30] not in told
    plain = failure_of_body(500, {}, f"cannot use {key} here".encode(), 0.0, hide)
    assert key not in str(plain)
    assert REMOVED in plain.error


def test_a_longer_piece_of_the_key_goes_too() -> None:
    """break-it 11."""
    hide = Redaction("gsk_AbCdEf0123456789AbCd")
    assert hide.text("'gsk_AbCdEf01...' is wrong") == f"'{REMOVED}...' is wrong"
    assert hide.text("GSK_ABCDEF0123 and 0123456789AbCd!") == f"{REMOVED} and {REMOVED}!"
    assert hide.text("gsk_ keys only") == "gsk_ keys only"


@pytest.mark.parametrize("key", [None, "", "  ", "x", "none", "EMPTY", "ollama"])
def test_what_is_no_key_is_not_taken_out(key: str | None) -> None:
    """break-it 11."""
    text = f"none of x EMPTY ollama {key}"
    assert Redaction(key).text(text) == text
    assert Redaction(key).json({"x": [1, 1.5, "none", True, None]}) == {"x": [1, 1.5, "none", True, None]}
    assert not Redaction(key).concerns(text.encode())


def test_json_keeps_its_form() -> None:
    """break-it 11."""
    hide = Redaction("12345678901")
    found = {"a": [12345678901, 12345678901.5, 7, 0.5, True, None, "12345678901"], "12345678901": {}}
    assert hide.json(found) == {"a": [REMOVED, REMOVED, 7, 0.5, True, None, REMOVED], REMOVED: {}}
    assert hide.concerns(b'{"a": 12345678901}')
    assert hide.number(10**5000) == REMOVED
    assert hide.json([[[0]]] * 3) == [[[0]]] * 3

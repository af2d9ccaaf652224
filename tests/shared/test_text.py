"""What goes to the engine can be read by whoever has the key, and cannot be put in another place."""

from __future__ import annotations

import pytest

from server.shared.text import Encrypted, Plain, Unreadable, text_of

OLD, NEW = bytes(32), bytes(range(32))
WORDS = b"recognisable words"


def test_a_piece_is_read_with_its_key_in_its_place_alone() -> None:
    text = Encrypted([NEW])
    kept = text.seal(WORDS, "place 7-2")
    assert WORDS not in kept
    assert text.unseal(kept, "place 7-2") == WORDS
    for wrong in ("place 8-2", "other 7-2", ""):
        with pytest.raises(Unreadable):
            text.unseal(kept, wrong)
    for torn in (b"", kept[:5], kept[:-1], kept + b"x", b"x" + kept):
        with pytest.raises(Unreadable):
            text.unseal(torn, "place 7-2")


def test_no_two_pieces_have_one_nonce() -> None:
    text = Encrypted([NEW])
    assert len({text.seal(WORDS, "place 7-2")[:12] for _ in range(1000)}) == 1000


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before, between, after = Encrypted([OLD]), Encrypted([NEW, OLD]), Encrypted([NEW])
    assert between.unseal(before.seal(WORDS, "a"), "a") == WORDS
    assert after.unseal(between.seal(WORDS, "a"), "a") == WORDS
    with pytest.raises(Unreadable, match="REDIS_TEXT_KEY"):
        after.unseal(before.seal(WORDS, "a"), "a")


def test_without_a_key_it_is_plain() -> None:
    assert isinstance(text_of([]), Plain)
    assert text_of([]).unseal(text_of([]).seal(WORDS, "a"), "a") == WORDS
    assert isinstance(text_of([NEW]), Encrypted)

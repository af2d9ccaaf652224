"""What is kept of upstream's events is given out once, in order, however it is asked for."""

from __future__ import annotations

from client.translation.payloads import Payloads


def test_one_that_stood_alone_is_given_out_in_its_place() -> None:
    kept = Payloads()
    kept.add_alone(b"first")
    assert kept.alone == b"first"
    assert kept
    kept.add([b"second", b"third"])
    assert kept.alone is None
    kept.add_alone(b"fourth")
    assert kept.alone is None  # others are in front of it
    assert kept.take_plain() == [b"first", b"second", b"third", b"fourth"]
    assert not kept
    kept.add_alone(b"fifth")
    kept.add_alone(b"sixth")
    assert kept.take() == ([b"fifth", b"sixth"], [])
    kept.add_alone(b"seventh")
    kept.alone = None  # somebody has taken it
    assert kept.take() == ([], [])


def test_a_last_one_that_is_no_chunk_leaves_the_others_plain() -> None:
    kept, end, junk = Payloads(), b"[DONE]", b"junk"
    kept.add([b"first", end])
    kept.drop(end)
    assert kept.take_plain() == [b"first"]
    kept.add([b"second", junk, b"third", end])
    kept.drop(junk)
    kept.drop(end)
    assert kept.take_plain() is None
    assert kept.take() == ([b"second", b"third"], [])


def test_what_follows_a_failure_is_given_out_apart() -> None:
    kept, failed, end = Payloads(), b"failed", b"[DONE]"
    kept.add([b"first", failed, b"behind", end])
    kept.cut_behind(failed)
    kept.drop(end)
    assert kept.take_plain() is None
    assert kept.take() == ([b"first", failed], [b"behind"])

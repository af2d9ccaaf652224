"""Whole chunks told from the bytes of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.upstream.chunked import NO_LENGTH, framed_body, is_part_of_line, lean_head, missing_bytes, whole_chunks

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = st.lists(
    st.binary(min_size=1, max_size=30) | st.sampled_from([b"\r\n", b"1\r\na\r\n", b"x" * 300]), max_size=8
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@given(PIECES, st.integers(0, 2000), st.booleans())
def test_whole_chunks_are_taken_and_nothing_behind_them(pieces: list[bytes], cut: int, has_end: bool) -> None:
    wire = b"".join(map(chunk, pieces)) + (b"0\r\n\r\n" if has_end else b"")
    data = wire[:cut]
    whole: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(chunk(piece)) > len(data):
            break
        size += len(chunk(piece))
        whole.append(piece)
    assert whole_chunks(data) == (b"".join(whole), size)


@given(PIECES, st.integers(0, 2000))
def test_of_a_chunk_that_is_cut_it_is_known_what_is_missing(pieces: list[bytes], cut: int) -> None:
    wire = b"".join(map(chunk, pieces))
    _, size = whole_chunks(wire[:cut])
    rest, following = wire[size:cut], wire[cut:]
    if not rest:
        return
    if is_part_of_line(rest):
        assert b"\r\n" not in rest
        return
    missing = missing_bytes(rest)
    _, whole = whole_chunks(rest + following[:missing])
    assert missing > 0
    assert whole == len(rest) + missing


@pytest.mark.parametrize(
    "rest",
    [
        b"0\r\n",
        b"0\r\n\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"1;a=b\r\na",
        b"2\r\nabcd",
        b" 1\r\n",
        b"1_0\r\n",
        b"no length at all",
    ],
)
def test_what_is_no_chunk_is_left_to_others(rest: bytes) -> None:
    assert whole_chunks(b"1\r\na\r\n" + rest) == (b"a", 6)
    assert not is_part_of_line(rest)
    assert missing_bytes(rest) == NO_LENGTH


def test_a_body_begins_behind_the_head_of_a_stream_in_chunks() -> None:
    assert framed_body(HEAD + b"1\r\n") == len(HEAD)
    assert framed_body(HEAD.upper().replace(b"HTTP/1.1 200", b"HTTP/1.1 200")) == len(HEAD)


@pytest.mark.parametrize(
    "head",
    [
        HEAD[:-2],
        HEAD.replace(b"200", b"103"),
        HEAD.replace(b"200", b"429"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"text/event-stream", b"application/json"),
        HEAD.replace(b": chunked", b": gzip, chunked"),
        HEAD.replace(b": chunked", b":chunked"),
        HEAD.replace(b": chunked", b": chunked\r\nTransfer-Encoding: gzip"),
        HEAD.replace(b": chunked", b": chunked\r\nContent-Encoding: gzip"),
        HEAD.replace(b": chunked", b": chunked\r\nContent-Length: 5"),
        HEAD.replace(b": chunked", b": chunked\r\n , gzip"),
        b"x\r\n" + HEAD,
    ],
)
def test_any_other_head_is_left_alone(head: bytes) -> None:
    assert framed_body(head) == 0


READ = b"""HTTP/1.1 200 OK\r
Content-Type: text/event-stream\r
transfer-encoding: chunked\r
X-Generation-Id: gen-1\r
Connection: close\r
"""


def test_of_a_head_stays_what_is_read() -> None:
    unread = b"Date: Fri, 27 Nov 2026 10:00:00 GMT\r\nCF-Ray: 9a-FRA\r\nServer: cloudflare\r\nX-Y: \r\n"
    assert lean_head(READ + unread + b"\r\n") == READ + b"\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Date : x",
        b"Da te: x",
        b"Date:x\x00",
        b"D\xffte: x",
        b": x",
        b"Date: \xe9",
        b"Date: " + b"x" * 9000,
        b"nothing",
        b"Date: x\ny",
    ],
)
def test_what_is_no_ordinary_field_is_left_to_the_parser(field: bytes) -> None:
    head = READ + field + b"\r\n\r\n"
    assert lean_head(head) == head


def test_a_head_of_too_many_fields_is_left_to_the_parser() -> None:
    head = READ + b"X-A: b\r\n" * 200 + b"\r\n"
    assert lean_head(head) == head

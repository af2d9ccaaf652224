"""The decoder against the examples of the WHATWG text, and against any bytes at any cuts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.translation.sse import EventTooLarge, SSEDecoder


def decode(*reads: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    return [data for read in reads for data in decoder.receive_data(read)] + decoder.receive_eof()


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [b"first event", b"second event", b" third event"],
        ),
        (b"data\n\ndata\ndata\n\ndata:\n\n", [b"", b"\n", b""]),
        (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
    ],
)
def test_the_examples_of_the_standard(stream: bytes, data: list[bytes]) -> None:
    assert decode(stream) == data


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"data: x", b"data", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xf0\x9f", b":", b"id: 1"])
        | st.binary(max_size=9)
    ),
    st.data(),
)
def test_any_bytes_decode_the_same_at_any_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*parts) == decode(stream)


def test_an_event_above_the_cap_is_refused_and_forgotten() -> None:
    decoder = SSEDecoder(max_event_bytes=1000)
    assert decoder.receive_data(b"data: " + b"x" * 994 + b"\n") == []
    with pytest.raises(EventTooLarge):
        decoder.receive_data(b"data: and seven\n")
    assert decoder.receive_eof() == []

"""Audio in pieces, put together."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.border.base64_pieces import join_base64
from client.sandbox import Reply, Sandbox
from tests.support.chunks import END, chunk
from tests.support.serving import Api

SOUND = bytes(range(256))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@given(st.lists(st.binary(max_size=9)), st.data())
def test_pieces_of_their_own_and_one_text_cut_anywhere_are_the_same_sound(
    parts: list[bytes], data: st.DataObject
) -> None:
    """faults M"""
    sound = b"".join(parts)
    assert join_base64([encoded(part) for part in parts]) == encoded(sound)
    text = encoded(sound)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    assert join_base64([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == text
    assert join_base64([text.rstrip("=")]) == text


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        (["A-_A\n", " AAA="], encoded(base64.urlsafe_b64decode("A-_A") + base64.b64decode("AAA="))),
        (["é", "AA"], "éAA"),
        (["A"], "A"),
        (["?!", "x"], "?!x"),
        ([], ""),
    ],
)
def test_other_alphabets_are_read_and_what_is_no_base64_stays_as_it_is(pieces: list[str], joined: str) -> None:
    assert join_base64(pieces) == joined


async def test_audio_is_one_sound_collected_and_pieces_streamed(upstream: Sandbox, api: Api) -> None:
    """faults M"""
    parts: list[dict[str, Any]] = [{"id": "audio_1", "expires_at": None}]
    parts += [{"data": encoded(SOUND[at : at + 50]), "transcript": f"{at} "} for at in range(0, 256, 50)]
    parts += [{"expires_at": 5, "transcript": "é\ud83d"}]
    reply = Reply.stream(*(chunk({"audio": part}) for part in parts), END)
    upstream.script(reply, reply)
    response, events = await api.chat()
    assert [each.data for each in events if each.name == "audio"] == parts
    expected = {
        "id": "audio_1",
        "expires_at": 5,
        "data": encoded(SOUND),
        "transcript": "0 50 100 150 200 250 é\ud83d",
    }
    _, collected = await api.chat_whole()
    assert collected["audio"] == expected
    async with api.http.get(f"{api.url}/chat/{response.headers['X-Stream-Id']}/result") as found:
        assert (await found.json())["audio"] == expected

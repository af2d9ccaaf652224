"""Whole answers in one piece: bounded, counted, put together in steps, a few at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from client.border.json_codec import decode_json, encode_json
from client.border.json_pieces import json_pieces
from client.sandbox import Hold, Reply, Sandbox
from client.streams import gathering
from server.config import Config
from tests.support.chunks import END, STOP, chunk, text
from tests.support.mcp import clients as mcp_clients
from tests.support.serving import Api, changed, question, serving
from tests.support.sse_reader import parse_events, read_until, text_of

LIMIT = 65536
PICTURE = "data:image/png;base64," + "A" * 27_000_000


@pytest.fixture
def small(config: Config) -> Config:
    """Settings under which little may be gathered."""
    return changed(config, "streams", max_result_bytes=LIMIT, max_log_bytes=LIMIT)


def flood(size: int) -> list[bytes]:
    return [text("x" * 1000) for _ in range(size // 1000)]


async def highest_total(api: Api, until: asyncio.Task[Any]) -> int:
    """The most that was counted in any turn of the loop."""
    highest = 0
    while not until.done():
        highest = max(highest, api.streams.total_bytes)
        await asyncio.sleep(0)
    return highest


async def test_an_answer_that_outgrows_the_limit_is_ended_and_told_how_to_be_had(
    upstream: Sandbox, small: Config
) -> None:
    """break-it 10"""
    upstream.script_always(Reply.stream(*flood(2_000_000), STOP, END))
    async with serving(small) as api:
        asking = asyncio.create_task(api.chat_whole())
        highest = await highest_total(api, asking)
        response, found = await asking
        assert (response.status, found["type"], found["retryable"]) == (502, "stream_interrupted", False)
        for word in ("streams.max_result_bytes", "stream=true", response.headers["Location"]):
            assert word in found["error"]
        assert "partial" not in found
        assert highest < 4 * LIMIT
        _, body = await api.request("GET", response.headers["Location"])
        events = parse_events(body)
        assert [event.name for event in events[-2:]] == ["error", "done"]
        assert events[-1].data == {"completed": False, "finish_reason": "interrupted", "native_finish_reason": None}
        assert len(text_of(events)) < 2 * LIMIT
        _, streamed = await api.chat()
        assert len(text_of(streamed)) == 2_000_000
        assert streamed[-1].data["completed"] is True


async def test_an_answer_just_within_the_limit_is_given_whole(upstream: Sandbox, small: Config) -> None:
    """break-it 10"""
    upstream.script(Reply.stream(*flood(50_000), STOP, END))
    async with serving(small) as api:
        response, found = await api.chat_whole()
        assert (response.status, len(found["content"])) == (200, 50_000)
        assert api.streams.total_bytes < LIMIT


async def test_a_picture_of_20_mb_is_given_whole_with_the_settings_as_they_are(
    upstream: Sandbox, config: Config
) -> None:
    """break-it 10"""
    image = {"type": "image_url", "image_url": {"url": PICTURE}}
    upstream.script(Reply.stream(text("a"), chunk({"images": [image]}), STOP, END))
    async with serving(config) as api:
        asking = asyncio.create_task(api.chat_whole())
        highest = await highest_total(api, asking)
        response, found = await asking
        assert response.status == 200
        assert found["images"] == [image]
        assert highest < 2.2 * len(PICTURE)  # the log and the reply
        assert api.streams.total_bytes < 2.2 * len(PICTURE)


async def test_gathered_answers_for_which_there_is_no_room_give_way_to_those_that_run(
    upstream: Sandbox, small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """break-it 10"""
    monkeypatch.setattr(gathering, "ROOM_S", 0.01)
    upstream.script(
        Reply.stream(*flood(60_000), Hold()),
        Reply.stream(*flood(60_000), Hold(), STOP, END),
    )
    async with serving(changed(small, "streams", max_total_bytes=100_000)) as api:
        first = await api.http.post(f"{api.url}/chat", json=question())
        await read_until(first, b":40\n")
        response, found = await api.chat_whole()
        assert (response.status, found["type"], found["retryable"]) == (503, "overloaded", True)
        assert response.headers["Retry-After"] == "5"
        assert "streams.max_total_bytes" in found["error"]
        assert api.streams.active == 1
        first.close()


async def test_what_mcp_gathers_has_the_same_limit(upstream: Sandbox) -> None:
    """break-it 10"""
    upstream.script_always(Reply.stream(*flood(2_000_000), STOP, END))
    limits = changed_streams(max_result_bytes=LIMIT, max_log_bytes=LIMIT)
    found = await mcp_clients.call(upstream, "llm_chat", {"prompt": "x"}, limits=limits)
    assert found.is_error
    assert "streams.max_result_bytes" in found.content[0].text  # type: ignore[union-attr]


def changed_streams(**values: int) -> Any:
    return Config().streams.model_copy(update=values)


async def test_many_results_at_once_are_made_a_few_at_a_time(upstream: Sandbox, config: Config) -> None:
    """near miss: 60 results at once"""
    upstream.script(Reply.stream(*flood(3_000_000), STOP, END))
    async with serving(changed(config, "streams", max_total_bytes=20_000_000)) as api:
        response, _ = await api.chat()
        path = f"{response.headers['Location']}/result"
        replies = await asyncio.gather(*[api.request("GET", path) for _ in range(40)])
        statuses = [reply.status for reply, _ in replies]
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) >= 4
        for reply, body in replies:
            found = json.loads(body)
            if reply.status == 200:
                assert len(found["content"]) == 3_000_000
            else:
                assert (found["type"], reply.headers["Retry-After"]) == ("overloaded", "5")
        assert api.streams.total_bytes < 4_000_000
        head, nothing = await api.request("HEAD", path)
        assert (head.status, nothing) == (200, b"")


VALUES = [
    {},
    [],
    "",
    {"a": {}, "b": [], "c": None},
    {"a": [1] * 2000, "b": [{"c": "é\u2028"}] * 3},
    {"text": 'aé\u2028\n"' * 300_000},
    {"text": "a" + "\ud83d\ude00" * 200_000 + "\ud83d"},
    {"deep": {"er": {"and": {"deeper": [["x"], {"y": 1}]}}}},
    [[], [[]], [{}, {"a": "b" * 300_000}]],
    {"a\n\ud800": float("nan"), "b": 10**400},
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_pieces_joined_are_what_is_encoded_at_once(value: Any) -> None:
    """break-it 10"""
    pieces = list(json_pieces(value))
    assert decode_json(b"".join(pieces)) == decode_json(encode_json(value))
    assert max(map(len, pieces)) < 3_500_000

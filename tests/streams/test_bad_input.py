"""Ids and graces that cannot be meant: a clear answer each, never a 500, and never a new bill."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, question, serving
from tests.support.sse_reader import Event, parse_events, read_until

ELSEWHERE = "AAAAAAAAAAAAAAAAAAAAAA"
NOT_IDS = [
    "nonsense",
    "12",
    ":",
    ":1",
    "{id}",
    "{id}:",
    "{id}:-1",
    "{id}:1.0",
    "{id}:0x1",
    "{id}:1:1",
    "{id}: 1",
    "{id}:\u0661",
    "{id}:9999999999999999999",
    "../{id}:1",
    "x" * 4000,
    "{id}:" + "1" * 4000,
    "é:1",
]


@pytest.fixture
async def finished(upstream: Sandbox, api: Api) -> tuple[str, list[Event]]:
    """Id and events of an answer that has ended."""
    upstream.script(Reply.stream(text("x"), STOP, END))
    response, events = await api.chat()
    return response.headers["X-Stream-Id"], events


def assert_refused(status: int, body: bytes, type_: str, expected: int, word: str = "") -> None:
    found = json.loads(body)
    assert (status, found["type"], found["status"], found["retryable"]) == (expected, type_, expected, False)
    assert word in found["error"]


@pytest.mark.parametrize("template", NOT_IDS)
async def test_a_last_event_id_that_is_none_is_refused_wherever_it_stands(
    upstream: Sandbox, api: Api, finished: tuple[str, list[Event]], template: str
) -> None:
    last_id = template.replace("{id}", finished[0])
    path = f"/chat/{finished[0]}"
    in_header = {"Last-Event-ID": last_id}
    async with api.http.get(api.url + path, headers=in_header) as read:
        assert_refused(read.status, await read.read(), "invalid_request", 422, "Last-Event-ID")
    async with api.http.get(api.url + path, params={"last_event_id": last_id}) as queried:
        assert_refused(queried.status, await queried.read(), "invalid_request", 422, "Last-Event-ID")
    async with api.http.post(f"{api.url}/chat", json=question(), headers=in_header) as posted:
        assert_refused(posted.status, await posted.read(), "invalid_request", 422, "Last-Event-ID")
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("how", ["header", "query", "post"])
@pytest.mark.parametrize(
    ("template", "type_", "status"),
    [("{id}:{next}", "invalid_request", 422), ("{id}:999999999999999999", "invalid_request", 422)],
)
async def test_an_id_ahead_of_the_stream_is_refused(
    upstream: Sandbox, api: Api, finished: tuple[str, list[Event]], how: str, template: str, type_: str, status: int
) -> None:
    last_id = template.format(id=finished[0], next=len(finished[1]) + 1)
    found = await resume(api, how, finished[0], last_id)
    assert_refused(*found, type_, status, f"has {len(finished[1])} events")
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("how", ["header", "query"])
async def test_an_id_of_another_stream_is_refused(api: Api, finished: tuple[str, list[Event]], how: str) -> None:
    found = await resume(api, how, finished[0], f"{ELSEWHERE}:1")
    assert_refused(*found, "invalid_request", 422, "another stream")


@pytest.mark.parametrize("how", ["header", "query", "post"])
async def test_an_id_of_another_process_is_not_found(upstream: Sandbox, api: Api, how: str) -> None:
    assert_refused(*await resume(api, how, ELSEWHERE, f"{ELSEWHERE}:3"), "not_found", 404, "expired")
    assert not upstream.calls


@pytest.mark.parametrize("how", ["header", "query", "post"])
async def test_an_expired_id_is_not_found(upstream: Sandbox, config: Config, how: str) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with serving(changed(config, "streams", retain_s=0.0)) as api:
        response, events = await api.chat()
        stream_id = response.headers["X-Stream-Id"]
        assert_refused(*await resume(api, how, stream_id, events[0].id), "not_found", 404, "expired")
        status, body = await raw(api, "GET", f"/chat/{stream_id}/result")
        assert_refused(status, body, "not_found", 404, "expired")
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("how", ["header", "query", "post"])
async def test_zero_is_before_the_first_event_and_the_last_one_is_the_end(
    api: Api, finished: tuple[str, list[Event]], how: str
) -> None:
    stream_id, events = finished
    status, body = await resume(api, how, stream_id, f"{stream_id}:0")
    assert (status, parse_events(body)) == (200, events)
    assert await resume(api, how, stream_id, events[-1].id) == (204, b"")


async def test_an_empty_last_event_id_counts_as_none(
    upstream: Sandbox, api: Api, finished: tuple[str, list[Event]]
) -> None:
    stream_id, events = finished
    for how in ("header", "query"):
        status, body = await resume(api, how, stream_id, "")
        assert (status, parse_events(body)) == (200, events)
    upstream.script(Reply.stream(text("new"), STOP, END))
    status, body = await resume(api, "post", stream_id, "")
    assert (status, parse_events(body)[1].data) == (200, {"text": "new"})
    assert len(upstream.calls) == 2


async def test_the_header_goes_before_the_query_which_is_where_a_browser_began(
    api: Api, finished: tuple[str, list[Event]]
) -> None:
    stream_id, events = finished
    headers = {"Last-Event-ID": events[1].id}
    async with api.http.get(f"{api.url}/chat/{stream_id}?last_event_id={events[0].id}", headers=headers) as response:
        assert parse_events(await response.read()) == events[2:]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("stream_id", [ELSEWHERE, "unknown", "%00", "..%2Fmodels", "é", "x" * 4000])
async def test_an_unknown_stream_is_not_found(api: Api, method: str, stream_id: str) -> None:
    assert_refused(*await raw(api, method, f"/chat/{stream_id}"), "not_found", 404)
    assert_refused(*await raw(api, "GET", f"/chat/{stream_id}/result"), "not_found", 404)


async def test_stopping_twice_and_stopping_what_has_ended_is_fine(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), Hold()), Reply.stream(text("x"), STOP, END))
    running = await api.http.post(f"{api.url}/chat", json=question())
    await read_until(running, b"event: content")
    ended, _ = await api.chat()
    for response, reason in ((running, "cancelled"), (ended, "stop")):
        for _ in range(2):
            status, body = await raw(api, "DELETE", response.headers["Location"])
            assert (status, json.loads(body)["finish_reason"]) == (200, reason)
    assert parse_events(await running.read())[-1].data["finish_reason"] == "cancelled"


@pytest.mark.parametrize(
    "grace_s", [-1, -0.001, "10", "soon", True, [1], {}, 601, 1e308, 10**400, float("inf"), float("nan")]
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_grace_that_cannot_be_meant_is_refused(
    upstream: Sandbox, api: Api, grace_s: Any, stream: bool
) -> None:
    body = json.dumps(question(grace_s=grace_s, stream=stream)).encode()
    headers = {"Content-Type": "application/json"}
    async with api.http.post(f"{api.url}/chat", data=body, headers=headers) as response:
        found = await response.json()
    expected = [400, 422] if grace_s in (float("inf"), 10**400) or grace_s != grace_s else [422]
    assert response.status in expected
    assert found["type"] in ("invalid_json", "invalid_request")
    if response.status == 422:
        assert found["details"][0]["where"] == "grace_s"
    assert not upstream.calls


@pytest.mark.parametrize("grace_s", [0, 0.5, 600, None])
async def test_a_grace_within_the_limits_is_taken_and_not_sent_upstream(
    upstream: Sandbox, api: Api, grace_s: float | None
) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    response, events = await api.chat(grace_s=grace_s)
    assert (response.status, events[-1].data["completed"]) == (200, True)
    assert "grace_s" not in upstream.calls[0].json


async def resume(api: Api, how: str, stream_id: str, last_id: str) -> tuple[int, bytes]:
    """Status and body of the attempt to go on after an event."""
    if how == "query":
        return await raw(api, "GET", f"/chat/{stream_id}?last_event_id={last_id}")
    if how == "header":
        return await raw(api, "GET", f"/chat/{stream_id}", {"Last-Event-ID": last_id})
    return await raw(api, "POST", "/chat", {"Last-Event-ID": last_id}, json=question())


async def raw(
    api: Api, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
) -> tuple[int, bytes]:
    async with api.http.request(method, api.url + path, headers=headers, **more) as response:
        return response.status, await response.read()

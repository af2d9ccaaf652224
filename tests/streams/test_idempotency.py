"""A key that the caller chooses: two attempts, one answer, one bill."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from client.sandbox import Hold, Mark, Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, question, serving, with_tokens
from tests.support.sse_reader import parse_events

KEY = "a-key-of-22-characters"
OTHER = "another-key-of-the-caller_0"
ROUTES = {
    "/chat": question(),
    "/v1/chat/completions": {"model": "acme/m", "stream": True, "messages": [{"role": "user", "content": "Why?"}]},
}


async def post(api: Api, path: str = "/chat", key: str = KEY, token: str = "", **more: Any) -> tuple[int, bytes, str]:
    """Status, body and stream id."""
    headers = {"Idempotency-Key": key} | ({"Authorization": f"Bearer {token}"} if token else {})
    async with api.http.post(api.url + path, json={**ROUTES[path], **more}, headers=headers) as response:
        return response.status, await response.read(), response.headers.get("X-Stream-Id", "")


@pytest.mark.parametrize("path", ROUTES)
async def test_the_same_request_again_reads_the_same_answer(api: Api, upstream: Sandbox, path: str) -> None:
    upstream.script(Reply.stream(text("Hel"), text("lo"), STOP, END))
    first = await post(api, path)
    assert first[0] == 200
    assert first[2] == KEY
    assert await post(api, path) == first
    assert len(upstream.calls) == 1
    _, result = await api.request("GET", f"/chat/{KEY}/result")
    assert json.loads(result)["content"] == "Hello"


async def test_a_second_attempt_while_the_first_runs_reads_along(api: Api, upstream: Sandbox) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Mark(begun), Hold(go_on), text("lo"), STOP, END))
    async with asyncio.timeout(10):
        attempts = [asyncio.create_task(post(api, grace_s=5))]
        await begun.wait()
        attempts += [asyncio.create_task(post(api, grace_s=5)) for _ in range(5)]
        while api.streams.readers < 6:  # noqa: ASYNC110 - nobody tells of readers
            await asyncio.sleep(0)
        go_on.set()
        bodies = {body for _, body, _ in await asyncio.gather(*attempts)}
    assert len(bodies) == 1
    assert len(upstream.calls) == 1


async def test_the_same_request_may_be_wanted_whole(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    await post(api)
    status, body, _ = await post(api, stream=False)
    assert status == 200
    assert json.loads(body)["content"] == "Hello"
    assert len(upstream.calls) == 1


async def test_it_can_be_stopped_before_upstream_says_anything(api: Api, upstream: Sandbox) -> None:
    asked = asyncio.Event()
    upstream.script(Reply.stream(text("x")).after(Mark(asked), Hold()))
    attempt = asyncio.create_task(post(api))
    async with asyncio.timeout(10):
        await asked.wait()
        response, _ = await api.request("DELETE", f"/chat/{KEY}")
        assert response.status == 200
        _, body, _ = await attempt
    assert parse_events(body)[-1].data["finish_reason"] == "cancelled"


@pytest.mark.parametrize(("path", "status"), [("/chat", 422), ("/v1/chat/completions", 400)])
async def test_another_body_under_a_key_is_refused(api: Api, upstream: Sandbox, path: str, status: int) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    await post(api, path)
    refused, body, _ = await post(api, path, temperature=1)
    assert refused == status
    assert b"Idempotency-Key" in body
    assert len(upstream.calls) == 1


async def test_one_key_under_two_protocols_is_two_requests(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hello"), STOP, END))
    await post(api)
    assert (await post(api, "/v1/chat/completions"))[0] == 400


@pytest.mark.parametrize("key", ["", "short", "x" * 65, "a key with spaces in it 000", "é" * 30, "a/b" * 10])
async def test_a_key_that_is_none_is_refused(api: Api, upstream: Sandbox, key: str) -> None:
    status, body, _ = await post(api, key=key)
    assert status == 422
    assert b"22 to 64" in body
    assert not upstream.calls


async def test_keys_are_each_callers_own(config: Config, upstream: Sandbox) -> None:
    tokens = "a-token-of-alice-aaaaaaaa", "a-token-of-bob-bbbbbbbbbb"
    upstream.script(Reply.stream(text("for Alice"), STOP, END), Reply.stream(text("for Bob"), STOP, END))
    async with serving(with_tokens(config, *tokens)) as api:
        alice, bob = [await post(api, token=token) for token in tokens]
        assert b"for Alice" in alice[1]
        assert b"for Bob" in bob[1]
        response, body = await api.request("GET", f"/chat/{KEY}/result", Authorization=f"Bearer {tokens[1]}")
        assert json.loads(body)["content"] == "for Bob"
        await api.request("DELETE", f"/chat/{KEY}", Authorization=f"Bearer {tokens[1]}")
        assert (await post(api, token=tokens[0]))[1] == alice[1]
        response, _ = await api.request("GET", f"/chat/{OTHER}", Authorization=f"Bearer {tokens[0]}")
        assert response.status == 404


async def test_what_upstream_refused_leaves_the_key_free(config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.error(429, "Slow down"), Reply.stream(text("Hello"), STOP, END))
    async with serving(changed(config, "upstream", max_retries=0)) as api:
        assert (await post(api))[0] == 429
        status, body, stream_id = await post(api)
        assert (status, stream_id) == (200, KEY)
        assert b"Hello" in body
        _, listed = await api.request("GET", "/chat")
        assert [stream["stream_id"] for stream in json.loads(listed)["data"]] == [KEY]
    assert api.streams.total_bytes == 0


async def test_a_cut_answer_is_an_answer(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel")))
    first = await post(api)
    assert b"stream_interrupted" in first[1]
    assert (await post(api))[1] == first[1]
    assert len(upstream.calls) == 1

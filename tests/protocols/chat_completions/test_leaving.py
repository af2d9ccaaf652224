"""Whoever leaves stops the bill, unless a grace was asked for, in the body or in the head."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from client.sandbox import COMMENT, Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.completions import ASKED, MOUNTS, asking
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import parse_events, read_until, text_of

PATHS = ("/chat", *(f"{mount}/chat/completions" for mount in MOUNTS))


@pytest.fixture
async def patient(config: Config) -> AsyncIterator[Api]:
    """A server whose own streams go on for long, with nobody who reads."""
    async with serving(changed(config, "streams", grace_s=600, max_grace_s=600, retain_s=60)) as running:
        yield running


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("moment", ["before the head", "before the first token", "mid-stream", "whole"])
async def test_trap_9_leaving_closes_upstream(mount: str, moment: str, patient: Api, upstream: Sandbox) -> None:
    silence = Hold()
    reply = {
        "before the head": Reply.stream().after(silence),
        "before the first token": Reply.stream(COMMENT, silence),
    }.get(moment, Reply.stream(text("a"), text("b"), text("c"), silence))
    upstream.script(reply)
    body = ASKED if moment == "whole" else asking()
    asked = asyncio.create_task(patient.http.post(f"{patient.url}{mount}/chat/completions", json=body))
    call = await upstream.wait_call(0)
    if moment == "mid-stream":
        response = await asked
        await read_until(response, b'"c"')
        response.close()
    else:
        await call.started.wait()
        asked.cancel()
    async with asyncio.timeout(1):
        await call.closed.wait()
    assert call.cancelled


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("where", ["body", "head"])
async def test_an_answer_with_a_grace_goes_on(path: str, where: str, api: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    body = asking(grace_s=60) if where == "body" else asking()
    headers = {} if where == "body" else {"X-Stream-Grace": "60"}
    response = await api.http.post(api.url + path, json=body, headers=headers)
    await read_until(response, b"Hel")
    response.close()
    call = await upstream.wait_call(0)
    stream = api.streams.get(response.headers["X-Stream-Id"], "local")
    assert stream is not None
    while stream.readers:
        await api.request("GET", "/health")
    go_on.set()
    await stream.ended.wait()
    assert not call.cancelled
    _, events = await api.request("GET", f"/chat/{stream.id}")
    assert text_of(parse_events(events)) == "Hello"


@pytest.mark.parametrize("path", PATHS)
async def test_the_bodys_word_goes_before_the_heads(path: str, patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    headers = {"X-Stream-Grace": "60"}
    response = await patient.http.post(patient.url + path, json=asking(grace_s=0), headers=headers)
    await read_until(response, b"Hel")
    response.close()
    call = await upstream.wait_call(0)
    await call.closed.wait()
    assert call.cancelled

"""Lost connections: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio

import pytest

from client.sandbox import Hold, Reply, Sandbox
from openrouter_sse_client import (
    ChatError,
    Client,
    Content,
    Done,
)
from tests.sdk.python.cutting import cutting_proxy
from tests.sdk.python.scripted import events_reply, scripted
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api

HELLO = Reply.stream(text("Hel"), text("lo"), STOP, END)
MODEL = "acme/m"
KEY = "a-key-of-22-characters"


async def test_five_cuts_lose_nothing_and_double_nothing(api: Api, upstream: Sandbox, quick: None) -> None:
    words = [f"{number} " for number in range(400)]
    go_on = asyncio.Event()
    upstream.script(Reply.stream(*map(text, words[:200]), Hold(go_on), *map(text, words[200:]), STOP, END))
    async with (
        asyncio.timeout(20),
        cutting_proxy(api.port, 0, 700, 5000, 9000, 13_333) as proxy,
        Client(proxy.url) as client,
    ):
        chat = client.chat("Why?", model=MODEL, grace_s=30, idempotency_key=KEY)
        chat.on("reconnected", lambda _: go_on.set())
        events = [event async for event in chat]
    assert proxy.lives_bytes == []
    assert "".join(event.text for event in events if isinstance(event, Content)) == "".join(words)
    assert [event.event_id for event in events] == [f"{KEY}:{number}" for number in range(1, len(events) + 1)]
    assert isinstance(events[-1], Done)
    assert chat.reconnects == 5
    assert len(upstream.calls) == 1


async def test_another_process_goes_on_where_this_one_was(client: Client, upstream: Sandbox) -> None:
    """At every event: what is kept of text and place fits together, also where more has come already."""
    upstream.script(Reply.stream(*map(text, "abcdef"), STOP, END))
    chat = client.chat("Why?", model=MODEL)
    kept = [(chat.content, chat.last_event_id) async for _ in chat]
    for content, last_event_id in kept:
        rest = client.resume(chat.id, last_event_id=last_event_id)
        async for _ in rest:
            pass
        assert content + rest.content == "abcdef"
    again = client.chat("Why?", model=MODEL, idempotency_key=chat.id, last_event_id=kept[3][1])
    assert kept[3][0] + await again.text() == "abcdef"
    assert len(upstream.calls) == 1


async def test_silence_is_a_lost_connection(api: Api, upstream: Sandbox, quick: None) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    async with asyncio.timeout(20), Client(api.url, idle_timeout_s=0.2) as client:
        chat = client.chat("Why?", model=MODEL, grace_s=30)
        chat.on("reconnected", lambda _: go_on.set())
        assert await chat.text() == "Hello"
    assert chat.reconnects >= 1
    assert len(upstream.calls) == 1


async def test_a_connection_can_be_replaced_on_purpose(client: Client, upstream: Sandbox) -> None:
    """Before the head, and while it is read."""
    head, go_on = asyncio.Event(), asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END).after(Hold(head)))
    chat = client.chat("Why?", model=MODEL, grace_s=30)
    states: list[str] = []
    chat.on("state", states.append)
    reading = asyncio.create_task(chat.text())
    await upstream.wait_call()
    chat.reconnect()
    head.set()
    while "Hel" not in chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    chat.reconnect()
    go_on.set()
    assert await reading == "Hello"
    once = ["connecting", "open", "waiting"]
    assert states == ["connecting", "waiting", *once, "connecting", "open", "closed"]
    assert chat.reconnects == 2
    assert len(upstream.calls) == 1


async def test_what_the_server_no_longer_has_is_told_and_what_came_stays(client: Client, quick: None) -> None:
    start = {**events_reply(KEY, ("content", {"text": "Hel"})), "end": "cut"}
    gone = {"error": "There is no such stream.", "type": "not_found", "status": 404, "retryable": False}
    refused = {"status": 404, "headers": {"Content-Type": "application/json"}, "body": str(gone).replace("'", '"')}
    refused["body"] = refused["body"].replace("False", "false")  # type: ignore[attr-defined]
    async with scripted([start, {**refused, "end": "end"}]) as server, Client(server.url) as other:
        chat = other.chat("Why?")
        for _ in range(2):
            with pytest.raises(ChatError) as caught:
                await chat.text()
            assert caught.value.type == "not_found"
        assert chat.content == "Hel"

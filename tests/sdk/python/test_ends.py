"""Leaving and stopping, which are two things; and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

import pytest

from client.sandbox import Hold, Reply, Sandbox
from openrouter_sse_client import (
    Chat,
    ChatError,
    Client,
    Content,
)
from server.config import Config
from tests.support.chunks import END, STOP, chunk, text
from tests.support.serving import Api, changed, serving

HELLO = Reply.stream(text("Hel"), text("lo"), STOP, END)
MODEL = "acme/m"


def is_running(api: Api, chat: Chat) -> bool:
    found = api.streams.get(chat.id, "local")
    return found is not None and found.is_running


async def leave_by_break(chat: Chat) -> None:
    async for event in chat:
        if isinstance(event, Content):
            break


async def leave_by_context(chat: Chat) -> None:
    async with chat:
        events = aiter(chat)
        while not isinstance(await anext(events), Content):
            pass


async def leave_by_cancelling(chat: Chat) -> None:
    task = asyncio.create_task(chat.text())
    while not chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_by_aclose(chat: Chat) -> None:
    task = asyncio.create_task(chat.text())
    while not chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    await chat.aclose()
    assert await task == "Hel"


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_context, leave_by_cancelling, leave_by_aclose])
async def test_leaving_closes_the_connection_only_and_a_later_loop_goes_on(
    client: Client, api: Api, upstream: Sandbox, leave: Callable[[Chat], object]
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    chat = client.chat("Why?", model=MODEL, grace_s=30)
    await leave(chat)  # type: ignore[misc]
    while api.streams.readers:  # noqa: ASYNC110 - nobody tells of readers
        await asyncio.sleep(0)
    assert chat.state == "closed"
    assert is_running(api, chat)
    go_on.set()
    assert await chat.text() == "Hello"
    assert len(upstream.calls) == 1


async def test_leaving_before_the_head_closes_the_connection_too(client: Client, api: Api, upstream: Sandbox) -> None:
    upstream.script(HELLO.after(Hold()))
    chat = client.chat("Why?", model=MODEL, grace_s=0)
    reading = asyncio.create_task(chat.text())
    call = await upstream.wait_call()
    await chat.aclose()
    assert await reading == ""
    await call.closed.wait()
    assert call.cancelled


async def stop_from_outside(chat: Chat) -> None:
    reading = asyncio.create_task(chat.text())
    while not chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    await chat.stop()
    assert await reading == "Hel"


async def stop_within_the_loop(chat: Chat) -> None:
    names = []
    async for event in chat:
        names.append(event.event_name)
        if isinstance(event, Content):
            await chat.stop()
            assert chat.finish_reason == "cancelled"
    assert names == ["start", "content", "done"]


async def stop_after_leaving(chat: Chat) -> None:
    await leave_by_break(chat)
    await chat.stop()


@pytest.mark.parametrize("stop", [stop_from_outside, stop_within_the_loop, stop_after_leaving])
async def test_stopping_ends_the_answer_at_upstream(
    client: Client, upstream: Sandbox, stop: Callable[[Chat], object]
) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    chat = client.chat("Why?", model=MODEL, grace_s=30)
    began_s = time.monotonic()
    chat.on("state", lambda _: None)
    await stop(chat)  # type: ignore[misc]
    call = await upstream.wait_call()
    await call.closed.wait()
    assert call.cancelled
    assert call.closed_at_s is not None
    print(f"{(call.closed_at_s - began_s) * 1000:.1f} ms from the question to the stopped answer")
    assert chat.finish_reason == "cancelled"
    await chat.stop()
    assert (await chat.result()).finish_reason == "cancelled"


async def test_stopping_closes_upstream_at_once(client: Client, upstream: Sandbox) -> None:
    """Printed, since no time is asserted here: what upstream saw after `stop` was called."""
    waits_ms = []
    for number in range(10):
        upstream.script(Reply.stream(text("Hel"), Hold()))
        chat = client.chat("Why?", model=MODEL, grace_s=30)
        async for event in chat:
            if isinstance(event, Content):
                asked_s = time.monotonic()
                await chat.stop()
                call = await upstream.wait_call(number)
                await call.closed.wait()
                assert call.closed_at_s is not None
                waits_ms.append((call.closed_at_s - asked_s) * 1000)
    print(f"upstream was closed {min(waits_ms):.1f} to {max(waits_ms):.1f} ms after stop()")


async def test_stopping_before_upstream_says_anything(client: Client, upstream: Sandbox) -> None:
    upstream.script(HELLO.after(Hold()))
    chat = client.chat("Why?", model=MODEL, grace_s=30)
    reading = asyncio.create_task(chat.text())
    await asyncio.sleep(0)  # the request is not even on its way
    await chat.stop()
    assert await reading == ""
    assert chat.finish_reason == "cancelled"
    for call in upstream.calls:
        await call.closed.wait()
        assert call.cancelled


async def test_stopping_what_was_never_asked_asks_nothing(client: Client, upstream: Sandbox) -> None:
    chat = client.chat("Why?", model=MODEL)
    await chat.stop()
    assert [event async for event in chat] == []
    assert chat.finish_reason == "cancelled"
    assert not upstream.calls


async def test_stopping_while_the_connection_is_lost(api: Api, upstream: Sandbox) -> None:
    """It does not wait until the connection would be tried again."""
    upstream.script(Reply.stream(text("Hel"), Hold()))
    async with asyncio.timeout(20), Client(api.url) as client:
        chat = client.chat("Why?", model=MODEL, grace_s=30)
        lost = asyncio.Event()
        chat.on("reconnecting", lambda _: lost.set())
        reading = asyncio.create_task(chat.text())
        while not chat.content:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        chat.reconnect(delay_s=3600)
        await lost.wait()
        await chat.stop()
        assert await reading == "Hel"
        assert chat.finish_reason == "cancelled"


async def test_an_answer_of_somebody_else_s_can_be_stopped_by_its_id(client: Client, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    chat = client.chat("Why?", model=MODEL, grace_s=30)
    await leave_by_break(chat)
    assert (await client.stop(chat.id))["finish_reason"] == "cancelled"
    with pytest.raises(ChatError) as caught:
        await client.resume("never-begun").stop()
    assert caught.value.type == "not_found"


async def test_a_thousand_at_once_leave_nothing_behind(config: Config, upstream: Sandbox, quick: None) -> None:
    upstream.script_always(Reply.stream(text("Hel"), chunk({"content": "lo"}), Hold()))
    before = asyncio.all_tasks()
    async with (
        asyncio.timeout(60),
        serving(changed(config, "streams", max_active=2000)) as api,
        Client(api.url) as client,
    ):

        async def one(number: int) -> None:
            chat = client.chat("Why?", model=MODEL, grace_s=0)
            async for event in chat:
                if event == Content("lo", event_id=event.event_id, data={"text": "lo"}):
                    match number % 3:
                        case 0:
                            await chat.stop()
                        case 1:
                            break
                        case _:
                            chat.reconnect(3600)
                            await chat.aclose()

        await asyncio.gather(*map(one, range(1000)))
        while api.streams.active or api.streams.readers:  # noqa: ASYNC110 - nobody tells of them
            await asyncio.sleep(0)
    gc.collect()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left

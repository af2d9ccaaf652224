"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from client.sandbox import Hold, Reply, Sandbox
from openrouter_sse_client import ChatError, Content, SyncClient
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api

MODEL = "acme/m"
HELLO = Reply.stream(text("Hel"), text("lo"), STOP, END)


def threads() -> int:
    return sum(thread.name == "openrouter-sse-client" for thread in threading.enumerate())


async def test_an_answer_is_read_by_a_plain_loop(api: Api, upstream: Sandbox) -> None:
    upstream.script(*[HELLO] * 2)

    def work() -> None:
        with SyncClient(api.url) as client:
            chat = client.chat("Why?", model=MODEL)
            assert [event.event_name for event in chat] == ["start", "content", "content", "usage", "done"]
            assert (chat.content, chat.finish_reason, chat.completed, chat.state) == ("Hello", "stop", True, "closed")
            assert chat.usage is not None
            assert chat.result().content == "Hello"
            assert client.resume(chat.id, last_event_id=f"{chat.id}:2").text() == "lo"
            assert client.chat("Why?", model=MODEL).text() == "Hello"
            assert client.models.search("echo")["data"][0]["id"] == "sandbox/echo"
            assert client.usage()["total_cost_usd"] == 0.002
            assert len(client.chats()["data"]) == 2
            with pytest.raises(ChatError, match="no such stream"):
                client.resume("unknown").text()

    await asyncio.to_thread(work)
    assert threads() == 0


async def test_break_leaves_and_a_later_loop_goes_on(api: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    with SyncClient(api.url) as client:
        chat = client.chat("Why?", model=MODEL, grace_s=30)

        def leave() -> None:
            for event in chat:
                if isinstance(event, Content):
                    break

        await asyncio.to_thread(leave)
        while api.streams.readers:  # noqa: ASYNC110 - nobody tells of readers
            await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.to_thread(chat.text) == "Hello"
        await asyncio.to_thread(client.close)


async def test_another_thread_may_stop_it(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    client = SyncClient(api.url)
    chat = client.chat("Why?", model=MODEL, grace_s=30)
    reading = asyncio.create_task(asyncio.to_thread(chat.text))
    while not chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    await asyncio.to_thread(chat.stop)
    assert await reading == "Hel"
    assert chat.finish_reason == "cancelled"
    call = await upstream.wait_call()
    await call.closed.wait()
    assert call.cancelled
    await asyncio.to_thread(client.close)


async def test_closing_ends_what_other_threads_wait_for(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    client = SyncClient(api.url)
    chat = client.chat("Why?", model=MODEL, grace_s=0)
    reading = asyncio.create_task(asyncio.to_thread(lambda: list(chat)))
    while not chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    await asyncio.to_thread(client.close)
    with pytest.raises(RuntimeError, match="closed"):
        await reading
    assert threads() == 0
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.health()


async def test_an_interrupt_leaves_the_answer_and_the_client_usable(api: Api, upstream: Sandbox) -> None:
    """As Ctrl-C does in the middle of a loop."""
    upstream.script(Reply.stream(text("Hel"), Hold()), HELLO)
    client = SyncClient(api.url)

    def work() -> str:
        chat = client.chat("Why?", model=MODEL, grace_s=0)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            for event in chat:
                if isinstance(event, Content):
                    raise KeyboardInterrupt
        return client.chat("Why?", model=MODEL).text()

    assert await asyncio.to_thread(work) == "Hello"
    await (await upstream.wait_call()).closed.wait()
    await asyncio.to_thread(client.close)

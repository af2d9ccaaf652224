"""The client against a real server: what is read, what is resumed, and the three ends that differ."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from client.sandbox import HangUp, Hold, Reply, Sandbox
from client.streams.wire import EVENT_NAMES
from openrouter_sse_client import (
    Chat,
    ChatError,
    Client,
    Content,
    Done,
    Error,
    Event,
    Reconnecting,
    Start,
    Unknown,
    Usage,
)
from openrouter_sse_client.wire import backoff
from openrouter_sse_client.wire.events import event_of
from server.config import Config
from tests.sdk.python.cutting import cutting_proxy
from tests.sdk.python.scripted import events_reply, scripted
from tests.support.chunks import END, STOP, chunk, text
from tests.support.serving import Api, changed, serving, with_tokens

HELLO = Reply.stream(text("Hel"), text("lo"), STOP, END)
MODEL = "acme/m"
KEY = "a-key-of-22-characters"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.0)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    """Of the running server; not even a failed test waits for longer."""
    async with asyncio.timeout(20), Client(api.url) as made:
        yield made


def is_running(api: Api, chat: Chat) -> bool:
    found = api.streams.get(chat.id, "local")
    return found is not None and found.is_running


# -- reading --------------------------------------------------------------------------------------------------------


async def test_an_answer_is_typed_events_and_then_known_as_a_whole(client: Client, upstream: Sandbox) -> None:
    upstream.script(HELLO)
    chat = client.chat("Why?", model=MODEL, temperature=0.5)
    events = [event async for event in chat]
    assert [event.event_name for event in events] == ["start", "content", "content", "usage", "done"]
    assert [event.event_id for event in events] == [f"{chat.id}:{number}" for number in range(1, 6)]
    match events:
        case [Start(provider="Acme", stream_id=stream_id), Content("Hel"), Content("lo"), Usage() as usage, done]:
            assert stream_id == chat.id
            assert isinstance(done, Done)
            assert usage.total_cost == 0.001
        case _:
            pytest.fail(str(events))
    assert (chat.content, chat.finish_reason, chat.completed) == ("Hello", "stop", True)
    assert chat.usage == usage
    assert chat.last_event_id == events[-1].event_id
    result = await chat.result()
    assert (result.content, result.provider, result.running, result.is_settled) == ("Hello", "Acme", False, True)
    [call] = upstream.calls
    assert call.json["temperature"] == 0.5


async def test_everything_that_may_be_asked_goes_into_the_body(client: Client, upstream: Sandbox) -> None:
    upstream.script(*[HELLO] * 3)
    messages = [{"role": "user", "content": "Why?"}]
    assert await client.chat(messages, model=MODEL).text() == "Hello"
    assert await client.chat({"messages": messages, "model": MODEL, "stream": False}).text() == "Hello"
    assert await client.chat("Why?", model=MODEL, system="Be short.").text() == "Hello"
    bodies = [call.json["messages"] for call in upstream.calls]
    assert bodies == [messages, messages, [{"role": "system", "content": "Be short."}, *messages]]


def test_every_event_of_the_server_has_a_class() -> None:
    fields = '"text":"","index":0,"arguments":"","reasoning_details":[],"error":"","completed":true'
    assert not [name for name in EVENT_NAMES if isinstance(event_of(name, "{" + fields + "}"), Unknown)]


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("video", '{"a": 1}', {"a": 1}),
        ("content", '{"text": 1}', {"text": 1}),
        ("content", "[]", []),
        ("content", "half {", "half {"),
        ("tool_call", '{"index": "x", "arguments": ""}', {"index": "x", "arguments": ""}),
        ("done", "[" * 100_000, "[" * 100_000),
    ],
)
def test_what_is_not_known_is_no_exception(name: str, data: str, found: object) -> None:
    assert event_of(name, data, "a:1") == Unknown(name, found, event_id="a:1")


def test_numbers_that_are_none_are_unknown() -> None:
    usage = event_of("usage", '{"total_cost": NaN, "prompt_tokens": true, "completion_tokens": 1e300}')
    assert isinstance(usage, Usage)
    assert (usage.total_cost, usage.prompt_tokens, usage.completion_tokens) == (None, None, None)


async def test_a_second_loop_beside_the_first_is_refused_and_one_after_it_has_nothing_left(
    client: Client, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    chat = client.chat("Why?", model=MODEL)
    reading = asyncio.create_task(chat.text())
    while not chat.content:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="resume"):
        await chat.text()
    go_on.set()
    assert await reading == "Hello"
    assert [event async for event in chat] == []
    assert await chat.text() == "Hello"
    assert len(upstream.calls) == 1


async def test_a_loop_within_the_loop_takes_its_place(client: Client, upstream: Sandbox) -> None:
    upstream.script(HELLO)
    chat = client.chat("Why?", model=MODEL)
    with pytest.raises(RuntimeError, match="resume"):  # noqa: PT012
        async for _ in chat:
            assert await chat.text() == "Hello"


# -- failures -------------------------------------------------------------------------------------------------------


async def test_a_refusal_is_an_exception_with_every_field(client: Client, upstream: Sandbox) -> None:
    upstream.script(Reply.error(429, "Slow down", headers={"Retry-After": "40"}))
    with pytest.raises(ChatError) as caught:
        await client.chat("Why?", model=MODEL).text()
    error = caught.value
    assert (error.type, error.status, error.retryable, error.retry_after_s) == ("rate_limited", 429, True, 40.0)
    assert error.upstream is not None
    with pytest.raises(ChatError) as caught:
        await client.chat("Why?", model=7).text()
    assert caught.value.details[0]["where"] == "model"
    with pytest.raises(ChatError) as caught:
        await client.chat({}).text()
    assert (caught.value.type, caught.value.status) == ("invalid_request", 422)


async def test_a_failure_in_the_middle_is_an_event_and_keeps_what_came(client: Client, upstream: Sandbox) -> None:
    upstream.script(*[Reply.stream(text("Hel"), HangUp())] * 2)
    chat = client.chat("Why?", model=MODEL)
    *_, error, done = [event async for event in chat]
    assert isinstance(error, Error)
    assert error == chat.error
    assert error.type == "stream_interrupted"
    assert done == Done(False, "interrupted", None, event_id=done.event_id, data=done.data)
    assert chat.content == "Hel"
    with pytest.raises(ChatError, match="connection"):
        await chat.text()
    assert (await chat.result()).error is not None


async def test_an_answer_that_was_given_up_is_not_taken_for_whole(
    client: Client, api: Api, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text("Hel"), Hold()))
    chat = client.chat("Why?", model=MODEL, grace_s=0)
    async for event in chat:
        if isinstance(event, Content):
            break
    while is_running(api, chat):  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    with pytest.raises(ChatError) as caught:
        await chat.text()
    assert caught.value.type == "abandoned"
    assert chat.content == "Hel"


async def test_a_server_that_is_not_there_is_said_to_be_away(quick: None) -> None:
    attempts: list[Reconnecting] = []
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(ChatError, match=r"does not answer at http://127.0.0.1:9") as caught:
            await client.chat("Why?").on("reconnecting", attempts.append).text()
        assert [attempt.attempt for attempt in attempts] == [1, 2]
        assert (caught.value.type, caught.value.status, caught.value.retryable) == ("connection_lost", None, True)
        with pytest.raises(ChatError, match="does not answer"):
            await client.usage()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Client(url)


def test_a_request_has_one_authorization() -> None:
    with pytest.raises(ValueError, match="Authorization"):
        Client("http://name:word@localhost", token="t")


def test_names_that_are_none_are_refused_at_once() -> None:
    client = Client()
    with pytest.raises(ValueError, match="22 to 64"):
        client.chat("Why?", idempotency_key="short")
    with pytest.raises(ValueError, match="no answer"):
        client.resume("../health")


async def test_what_is_another_server_is_said_to_be() -> None:
    page = {"status": 200, "headers": {"Content-Type": "text/html"}, "body": "<h1>Wi-Fi</h1>", "end": "end"}
    moved = {"status": 301, "headers": {"Location": "https://example.org/"}, "body": "", "end": "end"}
    async with scripted([page, moved]) as server, Client(server.url) as client:
        with pytest.raises(ChatError, match="Wi-Fi") as caught:
            await client.chat("Why?").text()
        assert caught.value.type == "http_error"
        with pytest.raises(ChatError, match=r"https://example\.org/"):
            await client.chat("Why?").text()
    assert len(server.requests) == 2


# -- the way there --------------------------------------------------------------------------------------------------


async def test_a_token_may_be_a_text_or_be_asked_for_each_time(config: Config, upstream: Sandbox) -> None:
    token = "a-token-of-alice-aaaaaaaa"
    upstream.script(*[HELLO] * 3)

    async def asked() -> str:
        return token

    async with serving(with_tokens(config, token)) as api:
        for given in (token, lambda: token, asked):
            async with Client(api.url, token=given) as client:
                assert await client.chat("Why?", model=MODEL).text() == "Hello"
        async with Client(api.url) as client:
            with pytest.raises(ChatError) as caught:
                await client.chat("Why?", model=MODEL).text()
    assert (caught.value.type, caught.value.status) == ("unauthorized", 401)


async def test_the_path_of_a_proxy_stands_before_every_route() -> None:
    done = ("done", {"completed": True, "finish_reason": "stop", "native_finish_reason": "stop"})
    cut = {**events_reply("s", ("content", {"text": "x"})), "end": "cut"}
    async with (
        scripted([cut, events_reply("s", done, first=2)]) as server,
        Client(f"{server.url}/below/") as client,
    ):
        await client.chat("Why?").text()
    assert [asked.path for asked in server.requests] == ["/below/chat", "/below/chat/s"]


async def test_a_session_of_the_caller_s_stays_open(api: Api, upstream: Sandbox) -> None:
    upstream.script(HELLO)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with Client(api.url, session=session) as client:
            assert await client.chat("Why?", model=MODEL).text() == "Hello"
            with pytest.raises(ChatError):
                await client.result("unknown")
        assert not session.closed


async def test_models_usage_and_answers_can_be_read(client: Client, upstream: Sandbox) -> None:
    upstream.script(HELLO)
    chat = client.chat("Why?", model=MODEL)
    await chat.text()
    found = await client.models.search("reasoner", free_only=False, input_modalities=["text"], min_price=None)
    assert found["data"][0]["id"] == "sandbox/reasoner"
    assert (await client.models.get("sandbox/echo"))["data"]["id"] == "sandbox/echo"
    assert (await client.models.families())["data"]
    assert (await client.usage())["total_cost_usd"] == 0.001
    assert [each["stream_id"] for each in (await client.chats(limit=1))["data"]] == [chat.id]
    assert (await client.result(chat.id)).content == "Hello"
    assert (await client.health())["status"] == "ok"
    with pytest.raises(ChatError) as caught:
        await client.models.get("sandbox/ech")
    assert "sandbox/echo" in caught.value.data["suggestions"]


# -- lost connections -----------------------------------------------------------------------------------------------


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


# -- leaving and stopping -------------------------------------------------------------------------------------------


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


def type_of(event: Event) -> str:
    """The union is whole for whoever asks a type checker."""
    match event:
        case Content(text) | Start(model=text):
            return text or ""
        case Unknown(name, _):
            return name
        case _:
            return event.event_name

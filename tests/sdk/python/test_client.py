"""The client against a real server: what is asked, read, refused."""

from __future__ import annotations

import asyncio

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
from openrouter_sse_client.wire.events import event_of
from server.config import Config
from tests.sdk.python.scripted import events_reply, scripted
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, serving, with_tokens

HELLO = Reply.stream(text("Hel"), text("lo"), STOP, END)
MODEL = "acme/m"


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


def type_of(event: Event) -> str:
    """The union is whole for whoever asks a type checker."""
    match event:
        case Content(text) | Start(model=text):
            return text or ""
        case Unknown(name, _):
            return name
        case _:
            return event.event_name

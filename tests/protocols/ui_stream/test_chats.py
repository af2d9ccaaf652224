"""A chat's answer by the chat's id: read again, stopped, replaced; and who may do what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client.sandbox import HangUp, Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import DONE, END, STOP, chunk, text
from tests.support.serving import Api, changed, serving, with_tokens
from tests.support.sse_reader import parse_events, read_until
from tests.support.ui_parts import ask, parts_in, posting, text_in, user

ONE, TWO = {"Authorization": f"Bearer {'one' * 11}"}, {"x-api-key": "two" * 11}
STREAM, STOPPING = "/api/chat/chat-1/stream", "/api/chat/chat-1/stop"
PLAIN = {"Accept": "text/plain"}
FETCHED = {"Sec-Fetch-Mode": "cors"}
"""What every `fetch` sends: by that a client is told from Ollama's, before it has said anything."""


@pytest.fixture
async def patient(config: Config) -> AsyncIterator[Api]:
    """A server whose answers go on for long with nobody who reads."""
    config = changed(config, "streams", grace_s=600, max_grace_s=600, retain_s=60)
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


async def _begin(api: Api, until: bytes, headers: dict[str, str] | None = None, **more: object) -> bytes:
    """Asks, reads up to there, and closes the connection, as a page that is loaded anew does."""
    response = await api.http.post(f"{api.url}/api/chat", json=posting(**more), headers=headers)  # type: ignore[arg-type]
    assert response.status == 200
    body = await read_until(response, until)
    response.close()
    return body


async def test_trap_11_a_reload_gets_the_whole_message(patient: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    begun = await _begin(patient, b'"Hel"')
    async with patient.http.get(patient.url + STREAM) as response, patient.http.get(patient.url + STREAM) as other:
        assert response.headers["X-Vercel-AI-UI-Message-Stream"] == "v1"
        body = await read_until(response, b'"Hel"')
        assert body.startswith(begun.partition(b"\n\n")[0])
        go_on.set()
        body += await response.read()
        assert body == await other.read()
    assert text_in(parts_in(body)) == "Hello"
    ended, nothing = await patient.request("GET", STREAM)
    assert (ended.status, nothing) == (204, b"")
    assert (await patient.request("GET", "/api/chat/other/stream"))[0].status == 204
    assert len(upstream.calls) == 1


async def test_trap_11_a_chat_is_its_callers_own(config: Config, upstream: Sandbox) -> None:
    silence = asyncio.Event()
    upstream.script(
        Reply.stream(text("one"), Hold(silence), STOP, END), Reply.stream(text("two"), Hold(silence), STOP, END)
    )
    config = changed(config, "streams", grace_s=600, max_grace_s=600)
    async with serving(with_tokens(config, "one" * 11, "two" * 11)) as api:
        await _begin(api, b'"one"', ONE)
        assert (await api.request("GET", STREAM, **TWO))[0].status == 204
        assert (await api.request("POST", STOPPING, **TWO))[0].status == 204
        await _begin(api, b'"two"', TWO)
        async with (
            api.http.get(api.url + STREAM, headers=ONE) as first,
            api.http.get(api.url + STREAM, headers=TWO) as second,
        ):
            await read_until(first, b"text-delta")
            await read_until(second, b"text-delta")
            silence.set()
            assert (b'"two"' in await first.read(), b'"one"' in await second.read()) == (False, False)
        refused, told = await api.request("GET", STREAM)
        assert refused.status == 401
        assert told.decode().startswith("Send a token of this server")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_stopping_ends_the_message_and_the_bill(method: str, patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"reasoning": "hm"}), text("Hi"), Hold()))
    async with patient.http.post(f"{patient.url}/api/chat", json=posting()) as response:
        body = await read_until(response, b'"Hi"')
        for _ in range(2):
            stopped, nothing = await patient.request(method, STOPPING, b'{"why": "x"}')
            assert (stopped.status, nothing) == (204, b"")
        body += await response.read()
    assert [part["type"] for part in parts_in(body)[-2:]] == ["text-end", "abort"]
    await upstream.calls[0].closed.wait()
    assert upstream.calls[0].cancelled
    assert (await patient.request(method, "/api/chat/none/stop"))[0].status == 204


async def test_a_chat_that_is_asked_again_starts_anew(patient: Api, upstream: Sandbox) -> None:
    """What nobody can come back to is not paid for; what somebody still reads goes on until it is left."""
    silence = Hold()
    upstream.script(*(Reply.stream(text(name), silence) for name in ("first", "second", "third")))
    await _begin(patient, b'"first"')
    reading = await patient.http.post(f"{patient.url}/api/chat", json=posting())
    await read_until(reading, b'"second"')
    await upstream.calls[0].closed.wait()
    await _begin(patient, b'"third"')
    async with patient.http.get(patient.url + STREAM) as response:
        assert b"second" not in await read_until(response, b'"third"')
    assert [call.closed.is_set() for call in upstream.calls] == [True, False, False]
    reading.close()
    await upstream.calls[1].closed.wait()
    assert (await patient.request("DELETE", STOPPING))[0].status == 204
    await upstream.calls[2].closed.wait()
    assert len(patient.streams.names) == 1


async def test_names_are_forgotten_with_their_streams(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    async with serving(changed(config, "streams", retain_s=60)) as api:
        for number in range(20):
            await ask(api, id=f"chat-{number}")
        assert len(api.streams.names) == api.streams.kept <= 20
        api.streams.configure(config.streams.model_copy(update={"retain_s": 0}))
        assert len(api.streams.names) == api.streams.kept == 0


async def test_grace_is_the_settings_unless_nobody_could_come_back(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), Hold()))
    async with serving(changed(config, "streams", grace_s=600, max_grace_s=600)) as api:
        for more, headers, grace_s in (
            ({}, {}, 600),
            ({"id": None}, {}, 0),
            ({"id": None}, {"X-Stream-Grace": "5"}, 5),
            ({"grace_s": 7}, {"X-Stream-Grace": "5"}, 7),
        ):
            await _begin(api, b'"Hi"', headers, **more)
            (newest, *_) = api.streams.kept_of("local")
            assert newest.grace_s == grace_s
            newest.stop("cancelled")


async def test_a_continued_message_keeps_its_id_for_whoever_reads(patient: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("High"), Hold(go_on), STOP, END))
    called = {"type": "tool-tide", "toolCallId": "c", "state": "output-available", "input": {}, "output": 3}
    async with patient.http.post(
        f"{patient.url}/api/chat", json=posting(user("x"), {"id": "a1", "role": "assistant", "parts": [called]})
    ) as response:
        await read_until(response, b'"High"')
        async with patient.http.get(patient.url + STREAM) as again:
            go_on.set()
            body = await again.read()
            assert parts_in(body)[0]["messageId"] == "a1"
            assert (await response.read())[-20:] == body[-20:]


async def test_the_stream_is_one_of_chat_too(patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    response, _ = await ask(patient)
    path = response.headers["Location"]
    _, events = await patient.request("GET", path)
    assert [each.name for each in parse_events(events)] == ["start", "content", "usage", "done"]


async def test_a_slash_in_a_chats_id(patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), Hold()))
    await _begin(patient, b'"Hi"', id="a/b é")
    async with patient.http.get(f"{patient.url}/api/chat/a/b é/stream") as response:
        await read_until(response, b'"Hi"')
        await patient.request("POST", "/api/chat/a/b%20%C3%A9/stop")
        assert b'"abort"' in await response.read()


# -- plain text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "headers"), [("/api/chat", PLAIN), ("/api/chat/text", {})])
async def test_text_is_the_answer_and_nothing_else(
    path: str, headers: dict[str, str], patient: Api, upstream: Sandbox
) -> None:
    """trap 5"""
    go_on = asyncio.Event()
    rocket = [text("\ud83d"), text("\ude80\u2028"), text("x\ud83d"), text("y\ud83d")]
    upstream.script(Reply.stream(chunk({"reasoning": "hm"}), *rocket, Hold(go_on), STOP, END))
    async with patient.http.post(patient.url + path, json=posting(), headers=headers) as response:
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        body = await read_until(response, b"x")
        async with patient.http.get(f"{patient.url}{path}/chat-1/stream", headers=headers) as again:
            go_on.set()
            assert (body + await response.read()).decode() == await again.text() == "🚀\u2028x\ufffdy\ufffd"


async def test_whoever_leaves_a_text_is_noticed_though_nothing_can_be_said_in_it(
    patient: Api, upstream: Sandbox
) -> None:
    """trap 9"""
    upstream.script(Reply.stream(text("Hi"), Hold()))
    body = posting(grace_s=0)
    response = await patient.http.post(f"{patient.url}/api/chat/text", json=body)
    await read_until(response, b"Hi")
    response.close()
    await upstream.calls[0].closed.wait()
    assert upstream.calls[0].cancelled


@pytest.mark.parametrize("moment", ["amid", "at once"])
async def test_a_text_that_breaks_off_does_not_look_whole(moment: str, patient: Api, upstream: Sandbox) -> None:
    """trap 2"""
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), *([Hold(go_on)] if moment == "amid" else []), HangUp()))
    async with patient.http.post(f"{patient.url}/api/chat/text", json=posting()) as response:
        if moment == "amid":
            assert await read_until(response, b"Hel") == b"Hel"
        go_on.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


# -- refusals -------------------------------------------------------------------------------------------------------


async def test_refusals_are_one_plain_sentence(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.error(402, "No credit"))
    async with serving(with_tokens(config, "one" * 11)) as api:
        for path, sent, headers, status, told in (
            ("/api/chat", posting(), {}, 401, "Send a token"),
            ("/api/chat", posting(), ONE, 402, "No credit"),
            ("/api/chat/text", posting(), ONE, 402, "No credit"),
            ("/api/chat", posting(model=5), ONE, 400, "model"),
            ("/api/chat", posting(user("x" * 3000)), ONE, 413, "2000"),
            ("/api/chat/a/b/c", {}, ONE, 404, "nothing at /api/chat/a/b/c"),
        ):
            async with api.http.post(api.url + path, json=sent, headers={**FETCHED, **headers}) as response:
                body = await response.text()
            assert (response.status, response.content_type) == (status, "text/plain")
            assert told in body
            assert not body.startswith("{")
            assert "\n" not in body


async def test_a_wait_is_told(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.error(429, "Slow down", headers={"Retry-After": "40"}))
    async with serving(changed(config, "upstream", max_retries=0)) as api:
        response, _ = await ask(api)
    assert (response.status, response.headers["Retry-After"]) == (429, "40")
    assert response.headers["x-should-retry"] == "false"


async def test_pages_may_read_what_says_which_protocol_it_is(config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, DONE))
    origin = "https://app.example"
    async with (
        serving(changed(config, "server", cors_origins=(origin,))) as api,
        api.http.post(f"{api.url}/api/chat", json=posting(), headers={"Origin": origin}) as response,
    ):
        assert "x-vercel-ai-ui-message-stream" in response.headers["Access-Control-Expose-Headers"].lower()
        await response.read()

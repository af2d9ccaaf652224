"""Headers of every reply: nobody guesses its type or keeps it, and pages may read what they need."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from server.routes.whole_reply import WholeReply
from tests.support.chunks import END, STOP, text
from tests.support.raw_http import exchange
from tests.support.serving import Api, changed, question, serving, with_tokens

KEPT = {
    "/models",
    "/models/search",
    "/models/families",
    "/docs",
    "/openapi.json",
    "/schemas/events/done",
    "/",
    "/client.js",
}
PATHS = [
    *KEPT,
    "/health",
    "/ready",
    "/usage",
    "/chat",
    "/metrics",
    "/nowhere",
    "/chat/x",
    "/chat/x/result",
    "/mcp",
    "/models/x/y",
]


@pytest.mark.parametrize("path", sorted(PATHS))
async def test_every_reply_has_them(api: Api, path: str) -> None:
    response, _ = await api.request("GET", path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    cache = response.headers["Cache-Control"]
    assert cache == "no-cache" if path in KEPT else cache.startswith("no-store")


async def test_answers_are_kept_by_nobody(upstream: Sandbox, api: Api) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    streamed, _ = await api.chat()
    whole, _ = await api.chat_whole()
    read_again, _ = await api.request("GET", streamed.headers["Location"])
    result, _ = await api.request("GET", f"{streamed.headers['Location']}/result")
    stopped, _ = await api.request("DELETE", streamed.headers["Location"])
    for response, cache in (
        (streamed, "no-cache"),  # as aiohttp-sse and the standard's examples have it
        (read_again, "no-cache"),
        (whole, "no-store"),
        (result, "no-store"),
        (stopped, "no-store"),
    ):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == cache


async def test_a_stream_that_is_under_way_has_them(upstream: Sandbox, api: Api) -> None:
    silence = Hold()
    upstream.script(Reply.stream(text("x"), silence, STOP, END))
    async with api.http.post(f"{api.url}/chat", json=question()) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        silence.until.set()
        await response.read()


@pytest.mark.parametrize("asked", [{}, {"Connection": "close"}])
async def test_an_answer_in_one_write_is_as_one_that_a_page_asks_for(
    upstream: Sandbox, api: Api, asked: dict[str, str]
) -> None:
    """A page's goes out as any response does: its head depends on who asks."""
    upstream.script(Reply.stream(text("x"), STOP, END))
    streamed, _ = await api.chat()
    url = f"{api.url}{streamed.headers['Location']}"
    replies = []
    for more in ({}, {"Origin": api.url}):
        async with api.http.get(url, headers={**asked, **more}) as response:
            headers = {name: value for name, value in response.headers.items() if name != "Date"}
            replies.append((response.status, response.reason, headers, await response.read()))
            assert "GMT" in response.headers["Date"]
    assert replies[0] == replies[1]
    assert replies[0][2]["Connection"] == asked.get("Connection", "keep-alive")


async def test_the_connection_of_an_answer_in_one_write_is_used_again(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    streamed, _ = await api.chat()
    head = f"GET {streamed.headers['Location']} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    replies = await exchange(api.port, (head + b"\r\n") * 2 + head + b"Connection: close\r\n\r\n")
    assert [reply.status for reply in replies] == [200] * 3
    assert [reply.headers["connection"] for reply in replies] == ["keep-alive", "keep-alive", "close"]
    assert len({reply.body for reply in replies}) == 1
    [last] = await exchange(api.port, head + b"\r\n", half_close=True)  # and then the connection ends
    assert last.body == replies[0].body


@pytest.mark.parametrize("is_forced", [False, True])
async def test_an_answer_in_one_write_says_whether_its_connection_stays(is_forced: bool) -> None:
    reply, request = WholeReply([], b"x"), make_mocked_request("GET", "/")
    if is_forced:
        reply.force_close()
    await reply.prepare(request)
    [sent] = request.writer.write.call_args.args  # type: ignore[attr-defined]
    assert (b"\r\nConnection: close\r\n" in sent, b"\r\nConnection: keep-alive\r\n" in sent) == (
        is_forced,
        not is_forced,
    )
    assert reply.keep_alive is not is_forced


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b"])
async def test_no_header_of_an_answer_in_one_write_is_more_than_one(value: str) -> None:
    reply = WholeReply([("X-Stream-Id", value)], b"")
    with pytest.raises(ValueError, match="header"):
        await reply.prepare(make_mocked_request("GET", "/"))


async def test_refusals_have_them(upstream: Sandbox, config: Config, api: Api) -> None:
    upstream.script(Reply.error(402, "No"))
    refused = [await api.chat(), await api.chat_whole(stream=5), await api.request("PUT", "/chat")]
    async with serving(with_tokens(config, "0123456789abcdef")) as guarded:
        refused.append(await guarded.request("GET", "/chat"))
    for response, _ in refused:
        assert response.status >= 400
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] in ("no-store", "no-cache")
    [reply] = await exchange(api.port, b"BAD\r\n\r\n")
    assert (reply.headers["x-content-type-options"], reply.headers["cache-control"]) == ("nosniff", "no-store")


async def test_a_page_may_read_what_it_needs(upstream: Sandbox, config: Config) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    page = {"Origin": "https://app.example.org"}
    async with serving(changed(config, "server", cors_origins=(page["Origin"],))) as api, asyncio.timeout(10):
        async with api.http.post(f"{api.url}/chat", json=question(), headers=page) as response:
            exposed = _listed(response, "Access-Control-Expose-Headers")
        asking = {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, if-none-match, x-anything",
        }
        async with api.http.options(f"{api.url}/models", headers=page | asking) as response:
            allowed = _listed(response, "Access-Control-Allow-Headers")
    assert {"x-stream-id", "x-generation-id", "location", "retry-after", "etag", "allow"} <= exposed
    assert {"authorization", "if-none-match", "x-anything"} <= allowed


def _listed(response: aiohttp.ClientResponse, name: str) -> set[str]:
    return {word.strip().lower() for word in response.headers[name].split(",")}

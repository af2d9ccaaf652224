"""What a request to MCP's endpoint may look like, and who gets a session."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from client.sandbox import Hold, Reply, Sandbox, chunk
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from server.mcp_http.accept import accepted
from tests.mcp.test_http import INITIALIZE, LIST_TOOLS, call_message, open_session
from tests.support.mcp.clients import ACCEPT, answer, modern
from tests.support.serving import Api, changed, serving

Json = dict[str, Any]
CHAT = {"prompt": "hi", "model": "acme/m"}


async def post(
    api: Api, message: Any, headers: dict[str, str], path: str = "/mcp"
) -> tuple[aiohttp.ClientResponse, bytes]:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    async with api.http.post(f"{api.url}{path}", data=body, headers=headers) as response:
        return response, await response.read()


def answer_in(body: bytes) -> Json:
    """The last message, of JSON or of an event stream."""
    lines = [line for line in body.decode().splitlines() if line.startswith(("{", "data: {"))]
    return dict(json.loads(lines[-1].removeprefix("data: ")))


# -- addresses and headers ----------------------------------------------------------------------------------------


async def test_a_slash_at_the_end_makes_no_difference(api: Api) -> None:
    """Mcp F8: a redirect would make a GET of a POST, and a 404 is told as a missing server."""
    response, body = await post(api, INITIALIZE, ACCEPT, "/mcp/")
    assert response.status == 200
    assert answer_in(body)["result"]["serverInfo"]["name"] == "openrouter"
    async with api.http.post(f"{api.url}/mcp/", json=INITIALIZE, headers={"Host": "evil.example"}) as refused:
        assert (await refused.json())["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("APPLICATION/JSON, Text/Event-Stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("application/*;q=0.5", "application/json"),
        ("application/json, text/event-stream;q=0", "application/json"),
        ("text/event-stream", "text/event-stream"),
    ],
)
async def test_the_reply_has_a_form_that_is_accepted(
    api: Api, upstream: Sandbox, accept: str | None, content_type: str
) -> None:
    """Mcp F8."""
    upstream.script(answer("Hello"), answer("Hello"))
    plain = {"Content-Type": "Application/JSON; charset=utf-8", **({"Accept": accept} if accept else {})}
    async with aiohttp.ClientSession(skip_auto_headers=["Accept"]) as http:
        caller = Api(api.url, http, api.app)
        opened, body = await post(caller, INITIALIZE, plain)
        assert (opened.status, opened.content_type) == (200, content_type)
        assert "result" in answer_in(body)
        session = {**plain, "Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
        noted, _ = await post(caller, {"jsonrpc": "2.0", "method": "notifications/initialized"}, session)
        assert noted.status == 202
        called, body = await post(caller, call_message("llm_chat", CHAT), session)
        assert (called.status, called.content_type) == (200, content_type)
        assert answer_in(body)["result"]["structuredContent"]["text"] == "Hello"
        message, headers = modern(call_message("llm_chat", CHAT))
        del headers["Accept"]
        newer, body = await post(caller, message, {**headers, **plain})
        assert newer.status == 200
        assert answer_in(body)["result"]["structuredContent"]["text"] == "Hello"
        if content_type == "application/json":
            assert newer.content_type == content_type
            assert body.startswith(b"{")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "text/html"}, 406),
        ({"Accept": "application/json;q=0"}, 406),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/jsonp"}, 415),
    ],
)
async def test_another_form_is_refused_in_the_protocols_words(api: Api, headers: dict[str, str], status: int) -> None:
    response, body = await post(api, INITIALIZE, {**ACCEPT, **headers})
    assert response.status == status
    assert json.loads(body)["error"]["code"] == -32600


async def test_a_body_of_no_stated_type_is_refused_in_the_protocols_words(api: Api) -> None:
    async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http:
        response, body = await post(Api(api.url, http, api.app), INITIALIZE, {})
    assert response.status == 415
    assert json.loads(body)["jsonrpc"] == "2.0"


def test_the_most_exact_range_decides() -> None:
    assert accepted(["application/json;q=0, */*"]) == (False, True)
    assert accepted(["text/*;q=0, */*;q=0.1"]) == (True, False)
    assert accepted(["text/html", "text/event-stream;q=x"]) == (False, True)
    assert accepted([""]) == (True, True)


@pytest.mark.parametrize("version", ["2099-01-01", "2026-07-28", "x"])
async def test_in_the_handshake_the_body_decides_the_revision(api: Api, version: str) -> None:
    """Mcp F11: SDKs send their newest revision in the header of the handshake."""
    response, body = await post(api, INITIALIZE, {**ACCEPT, "MCP-Protocol-Version": version})
    assert response.status == 200
    assert answer_in(body)["result"]["protocolVersion"] == "2025-11-25"


async def test_an_unknown_revision_is_told_which_there_are(api: Api) -> None:
    """Mcp F11."""
    session = await open_session(api.http, api.url)
    response, body = await post(api, LIST_TOOLS, {**session, "MCP-Protocol-Version": "2099-01-01"})
    error = json.loads(body)
    assert response.status == 400
    assert error["id"] == 1
    assert error["error"]["code"] == -32022
    assert "2025-11-25" in error["error"]["data"]["supported"]


async def test_a_get_without_a_session_has_no_stream(api: Api) -> None:
    """Mcp F18: some clients ask so at every connect, and report anything but a 405."""
    response, body = await api.request("GET", "/mcp", Accept="text/event-stream")
    assert response.status == 405
    assert response.headers["Allow"] == "POST"
    assert json.loads(body)["jsonrpc"] == "2.0"


async def test_characters_at_which_some_readers_cut_lines_go_out_escaped(api: Api, upstream: Sandbox) -> None:
    """Mcp F12."""
    text = "one\u2028two\u2029three\u0085four"
    upstream.script(answer(text), answer(text))
    session = await open_session(api.http, api.url)
    for message, headers in (
        (call_message("llm_chat", CHAT), session),
        modern(call_message("llm_chat", CHAT)),
    ):
        _, body = await post(api, message, headers)
        assert body.isascii()
        assert answer_in(body)["result"]["structuredContent"]["text"] == text


async def test_a_cancelled_request_gets_no_answer(api: Api, upstream: Sandbox) -> None:
    """Mcp F16: clients have forgotten its id by then."""
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    session = await open_session(api.http, api.url)
    calling = asyncio.create_task(post(api, call_message("llm_chat", CHAT), session))
    await upstream.wait_call(0)
    response, _ = await post(api, cancel, session)
    assert response.status == 202
    response, body = await calling
    assert response.status == 200
    assert b'"id":1' not in body
    assert b"error" not in body
    response, body = await post(api, LIST_TOOLS, session)
    assert "result" in answer_in(body)


async def test_an_id_that_is_in_use_is_refused(api: Api, upstream: Sandbox) -> None:
    """The first of two requests with one id would never be answered."""
    go_on = asyncio.Event()
    upstream.script(answer("Hello", ahead=(Hold(go_on),)))
    session = await open_session(api.http, api.url)
    calling = asyncio.create_task(post(api, call_message("llm_chat", CHAT), session))
    await upstream.wait_call(0)
    for message in (LIST_TOOLS, {**LIST_TOOLS, "id": "1"}):
        response, body = await post(api, message, session)
        assert response.status == 400
        assert json.loads(body)["error"]["code"] == -32600
    other = await open_session(api.http, api.url)
    assert "result" in answer_in((await post(api, LIST_TOOLS, other))[1])
    go_on.set()
    _, body = await calling
    assert answer_in(body)["result"]["structuredContent"]["text"] == "Hello"
    assert "result" in answer_in((await post(api, LIST_TOOLS, session))[1])


# -- batches ------------------------------------------------------------------------------------------------------


async def session_of(api: Api, revision: str) -> dict[str, str]:
    opening = {**INITIALIZE, "params": {**INITIALIZE["params"], "protocolVersion": revision}}  # type: ignore[dict-item]
    response, _ = await post(api, opening, ACCEPT)
    return {**ACCEPT, "Mcp-Session-Id": response.headers["Mcp-Session-Id"]}


async def test_a_batch_gets_a_batch_of_answers(api: Api, upstream: Sandbox) -> None:
    """Faults D1 over HTTP."""
    upstream.script(answer("Hello"))
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    ping = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    session = await session_of(api, "2025-03-26")
    response, body = await post(api, [ping, initialized, 3, ping, call_message("llm_chat", CHAT, 8)], session)
    assert (response.status, response.content_type) == (200, "application/json")
    found = json.loads(body)
    by_id = {each["id"]: each for each in found}
    assert by_id[7]["result"] == {}
    assert by_id[8]["result"]["structuredContent"]["text"] == "Hello"
    assert [each["error"]["code"] for each in found if each["id"] is None] == [-32600, -32600]
    response, body = await post(api, [initialized], session)
    assert (response.status, body) == (202, b"")


async def test_a_batch_is_refused_where_the_revision_has_none(api: Api) -> None:
    ping = [{"jsonrpc": "2.0", "id": 7, "method": "ping"}]
    gone = {**ACCEPT, "Mcp-Session-Id": "gone"}
    for headers in (await session_of(api, "2025-06-18"), gone, ACCEPT, modern(LIST_TOOLS)[1]):
        response, body = await post(api, ping, headers)
        assert response.status == 400
        assert json.loads(body)["error"]["code"] == -32600


# -- room for sessions --------------------------------------------------------------------------------------------


async def is_open(api: Api, session: dict[str, str]) -> bool:
    response, _ = await post(api, LIST_TOOLS, session)
    return response.status == 200


async def test_the_longest_idle_session_makes_room(config: Config) -> None:
    """Mcp F7: clients that end without a word shut nobody out."""
    async with serving(changed(config, "mcp", max_sessions=2)) as api:
        first, second = await open_session(api.http, api.url), await open_session(api.http, api.url)
        assert await is_open(api, first)
        third = await open_session(api.http, api.url)
        assert [await is_open(api, each) for each in (first, second, third)] == [True, False, True]


async def test_a_session_with_a_stream_open_stays(config: Config) -> None:
    """Mcp F7."""
    async with serving(changed(config, "mcp", max_sessions=1)) as api:
        session = await open_session(api.http, api.url)
        async with api.http.get(f"{api.url}/mcp", headers=session) as standing:
            assert standing.status == 200
            response, body = await post(api, INITIALIZE, ACCEPT)
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert json.loads(body)["jsonrpc"] == "2.0"
        assert await is_open(api, session)


async def test_what_opens_nothing_takes_nobodys_session(config: Config) -> None:
    async with serving(changed(config, "mcp", max_sessions=1)) as api:
        session = await open_session(api.http, api.url)
        for message in (LIST_TOOLS, {"jsonrpc": "2.0", "method": "notifications/initialized"}, b"{"):
            response, _ = await post(api, message, ACCEPT)
            assert response.status == 400
        response, _ = await api.request("DELETE", "/mcp")
        assert response.status == 400
        assert await is_open(api, session)


async def test_a_callers_sessions_make_room_for_its_own_first(config: Config) -> None:
    """Break-it 24: one caller takes nobody else's."""
    callers = tuple(Caller(name, hash_token(f"token-of-{name}")) for name in ("ann", "eve"))
    limited = changed(config, "mcp", max_sessions=4).model_copy(update={"callers": callers})
    eve, ann = ({"Authorization": f"Bearer token-of-{name}"} for name in ("eve", "ann"))
    async with serving(limited) as api:
        of_ann = await open_session(api.http, api.url, **ann)
        of_eve = [await open_session(api.http, api.url, **eve) for _ in range(6)]
        assert await is_open(api, of_ann)
        assert [await is_open(api, each) for each in of_eve] == [False] * 4 + [True] * 2
        standing = [await api.http.get(f"{api.url}/mcp", headers=each) for each in of_eve[4:]]
        response, _ = await post(api, INITIALIZE, {**ACCEPT, **eve})
        assert response.status == 503
        assert "Retry-After" in response.headers
        await open_session(api.http, api.url, **ann)
        for each in standing:
            each.close()

"""Who may call, and what everybody else is told."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from client.sandbox import Reply, Sandbox
from server.access.forwarded import is_loopback
from server.config import Config
from tests.server.http.test_errors import assert_refused
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, serving, with_tokens

PAGE = "https://app.example"


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        (None, True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_only_loopback_addresses_are_this_machine(address: str | None, local: bool) -> None:
    assert is_loopback(address) is local


async def test_without_tokens_another_machine_is_told_how_to_be_let_in(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.BaseRequest, "remote", "10.0.0.1")
    for path, status in (("/chat", 401), ("/models", 401), ("/nowhere", 401), ("/health", 200), ("/ready", 200)):
        response, found = await api.request("GET", path)
        assert response.status == status
        if status == 401:
            assert "SERVER_TOKENS" in assert_refused(found, "unauthorized", 401)["error"]
            assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "[::1", "a b", "@", "::1", "localhost:"),
        *("evil.com:80@localhost", "localhost#evil", "localhost/evil", "localhost?x", "0.0.0.1", "00.0.0.0", "0"),
        *(
            socket.gethostname(),
            "host.docker.internal:8000",
            "localhost.evil.example",
            "0.0.0.0.evil.example",
            "10.0.0.1",
        ),
    ],
)
async def test_mcp_f21_a_host_that_is_not_this_machine_is_refused_with_the_way_out(api: Api, host: str) -> None:
    """The machine's own name too: the network that gave it may answer for it, with a page first."""
    response, found = await api.request("GET", "/chat", Host=host)
    assert response.status == 403
    error = assert_refused(found, "forbidden", 403)["error"]
    assert "SERVER_TOKENS" in error
    assert "Authorization: Bearer" in error


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "127.9.9.9:1", "0.0.0.0:8000", "0.0.0.0", "[::]:8000"],
)
async def test_every_name_of_this_machine_is_taken(api: Api, host: str) -> None:
    response, _ = await api.request("GET", "/chat", Host=host)
    assert response.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "file://", "http://localhost:1"])
@pytest.mark.parametrize("path", ["/chat", "/models", "/health"])
async def test_a_page_of_another_origin_is_refused(api: Api, origin: str, path: str) -> None:
    response, found = await api.request("GET", path, Origin=origin)
    assert response.status == 403
    assert "cors_origins" in assert_refused(found, "forbidden", 403)["error"]
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_page_of_the_servers_own_origin_may_call(api: Api) -> None:
    response, _ = await api.request("GET", "/chat", Origin=api.url)
    assert response.status == 200


async def test_a_listed_page_may_call_and_read_streams_and_errors(upstream: Sandbox, config: Config) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with serving(changed(config, "server", cors_origins=(PAGE,))) as api:
        asking = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
        preflight, body = await api.request("OPTIONS", "/chat", Origin=PAGE, **asking)
        assert (preflight.status, body) == (204, b"")
        assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert "content-type" in preflight.headers["Access-Control-Allow-Headers"]
        streamed, _ = await api.request(
            "POST", "/chat", b'{"message": "x"}', Content_Type="application/json", Origin=PAGE
        )
        refused, _ = await api.request("POST", "/chat", b"{", Content_Type="application/json", Origin=PAGE)
        assert (streamed.status, refused.status) == (200, 400)
        for response in (streamed, refused):
            assert response.headers["Access-Control-Allow-Origin"] == PAGE
            assert "X-Stream-Id" in response.headers["Access-Control-Expose-Headers"]
            assert "Origin" in response.headers["Vary"]
        foreign, _ = await api.request("OPTIONS", "/chat", Origin="https://evil.example", **asking)
        assert foreign.status == 403


@pytest.mark.parametrize("origin", ["null", "file://", "tauri://localhost", "capacitor://localhost", "app://x.y"])
async def test_the_origins_of_programs_with_pages_inside_can_be_listed(origin: str, config: Config) -> None:
    (listed,) = Config.model_validate({"server": {"cors_origins": [origin]}}).server.cors_origins
    async with serving(changed(config, "server", cors_origins=(listed,))) as api:
        response, _ = await api.request("GET", "/chat", Origin=origin)
        foreign, _ = await api.request("GET", "/chat", Origin="https://evil.example")
    assert (response.status, foreign.status) == (200, 403)
    assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer three",
        "Basic one",
        "one",
        "Bearer one two",
        "Bearer \xfc",
    ],
)
async def test_with_tokens_everybody_needs_one(config: Config, given: str | None) -> None:
    async with serving(with_tokens(config, "one", "two")) as api:
        headers = {} if given is None else {"Authorization": given}
        response, found = await api.request("GET", "/chat", **headers)
        assert response.status == 401
        assert_refused(found, "unauthorized", 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/health", "/ready"):
            response, _ = await api.request("GET", path, **headers)
            assert response.status == 200


async def test_a_token_lets_in_under_any_host_and_sees_only_its_own_streams(
    upstream: Sandbox, config: Config
) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with serving(with_tokens(config, "one", "two")) as api:
        one, two = {"Authorization": "bearer one"}, {"Authorization": "Bearer two"}
        started, _ = await api.request(
            "POST", "/chat", b'{"message": "x"}', Content_Type="application/json", Host="ai.example", **one
        )
        assert started.status == 200
        path = started.headers["Location"]
        for method in ("GET", "DELETE"):
            response, found = await api.request(method, path, **two)
            assert response.status == 404
            assert_refused(found, "not_found", 404)
        response, _ = await api.request("GET", path, **one)
        assert response.status == 200


async def test_a_token_of_any_bytes_is_refused_like_any_other(config: Config) -> None:
    async with serving(with_tokens(config, "one")) as api, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"GET /chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()

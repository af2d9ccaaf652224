"""Below a path of a proxy: every path of ours that is printed is one that works there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from client.sandbox import Reply, Sandbox, chunk
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.mcp.clients import modern
from tests.support.proxies.reverse import proxied, trusting
from tests.support.serving import Api, changed, question, serving


@asynccontextmanager
async def below(config: Config, **values: object) -> AsyncIterator[Api]:
    async with serving(changed(config, "server", **values)) as running:
        yield running


@pytest.mark.parametrize(
    ("values", "told", "prefix"),
    [
        ({}, None, ""),
        ({"root_path": "/llm"}, None, "/llm"),
        ({"root_path": "/llm/"}, None, "/llm"),
        ({"root_path": "/a/b"}, None, "/a/b"),
        ({}, "/llm", ""),  # of nobody who is trusted
        ({"trusted_proxies": ("127.0.0.1",)}, "/llm", "/llm"),
        ({"trusted_proxies": ("127.0.0.1",)}, "/llm/", "/llm"),
        ({"trusted_proxies": ("127.0.0.1",)}, "/outer, /inner", "/outer/inner"),
        ({"trusted_proxies": ("127.0.0.1",)}, "", ""),
        ({"trusted_proxies": ("127.0.0.1",), "root_path": "/set"}, "/told", "/told"),
        ({"trusted_proxies": ("127.0.0.1",), "root_path": "/set"}, None, "/set"),
        ({"trusted_proxies": ("127.0.0.1",), "root_path": "/set"}, "//evil.example", "/set"),
        ({"trusted_proxies": ("127.0.0.1",)}, "//evil.example", ""),
        ({"trusted_proxies": ("127.0.0.1",)}, "https://evil.example", ""),
        ({"trusted_proxies": ("127.0.0.1",)}, "/a/../b", ""),
        ({"trusted_proxies": ("127.0.0.1",)}, "/a b", ""),
        ({"trusted_proxies": ("127.0.0.1",)}, "/" + "a" * 5000, "/" + "a" * 199),
    ],
)
async def test_faults_n1_what_stands_before_our_paths(
    upstream: Sandbox, config: Config, values: dict[str, object], told: str | None, prefix: str
) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    headers = {} if told is None else {"X-Forwarded-Prefix": told}
    headers["X-Forwarded-For"] = "127.0.0.1"
    if "trusted_proxies" not in values:
        del headers["X-Forwarded-For"]
    checked = config.server.model_validate({**config.server.model_dump(), **values})
    async with serving(config.model_copy(update={"server": checked})) as api:
        async with api.http.post(f"{api.url}/chat", json=question(), headers=headers) as response:
            stream_id = response.headers["X-Stream-Id"]
            assert response.headers["Location"] == f"{prefix}/chat/{stream_id}"
        async with api.http.get(f"{api.url}/openapi.json", headers=headers) as response:
            document = await response.json()
        assert document["servers"][0]["url"] == (prefix or "/")


async def test_faults_n1_errors_name_paths_that_work(upstream: Sandbox, config: Config) -> None:
    async with below(config, root_path="/llm") as api:
        for method, path, said in (
            ("GET", "/nowhere", "There is nothing at /llm/nowhere; GET /llm/docs shows"),
            ("PUT", "/chat", "PUT is not possible on /llm/chat; use"),
            ("GET", "/models?x=1", "GET /llm/models/search filters and sorts"),
            ("GET", "/chat/x", "There is no such stream"),
        ):
            _, found = await api.request(method, path)
            assert said in json.loads(found)["error"], found


async def test_faults_n1_documents_differ_by_tag(config: Config) -> None:
    tags = set()
    for path in ("", "/llm", "/other"):
        async with below(config, root_path=path) as api:
            response, _ = await api.request("GET", "/openapi.json")
            tags.add(response.headers["ETag"])
            again, _ = await api.request("GET", "/openapi.json", If_None_Match=response.headers["ETag"])
            assert again.status == 304
    assert len(tags) == 3


async def test_faults_n1_a_tool_says_where_its_picture_can_be_read(upstream: Sandbox, config: Config) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    upstream.script(Reply.stream(chunk({"images": [image]}), STOP, END))
    call = {"name": "llm_chat", "arguments": {"prompt": "x"}}
    message, headers = modern({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    async with (
        below(config, root_path="/llm") as api,
        api.http.post(f"{api.url}/mcp", json=message, headers=headers) as response,
    ):
        found = await response.text()
    assert "/llm/chat/" in found
    assert '"/chat/' not in found


@pytest.mark.parametrize("path", ["llm", "/a//b", "/a b", "/a/../b", "http://x", "/a?b", "/a#b", "/é"])
def test_a_root_path_that_is_none_is_refused(config: Config, path: str) -> None:
    with pytest.raises(ValueError, match="must be a path such as /llm"):
        config.server.model_validate({"root_path": path})


async def test_faults_n1_below_a_path_of_nginx_everything_that_is_named_is_there(
    upstream: Sandbox, config: Config, tmp_path: Path
) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    places = {
        "    location / {\n": "    location /llm/ {\n",
        "proxy_pass http://openrouter_sse;": "proxy_pass http://openrouter_sse/;\n"
        "        proxy_set_header X-Forwarded-Prefix /llm;",
    }
    config = config.model_copy(update={"callers": ()})
    told = changed(config, "server", trusted_proxies=("127.0.0.1",))
    async with serving(told) as api, proxied("nginx", tmp_path, api.port, places) as url:
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.1", 0), ssl=trusting(tmp_path))
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.timeout(20):
            host = {"Host": "localhost"}
            async with http.post(f"{url}/llm/chat", json=question(), headers=host) as response:
                location = response.headers["Location"]
                assert b"event: done" in await response.read()
            async with http.get(url + location, headers=host) as response:
                assert (response.status, b"event: done" in await response.read()) == (200, True)
            async with http.get(f"{url}/llm/openapi.json", headers=host) as response:
                server = (await response.json())["servers"][0]["url"]
            async with http.get(f"{url}{server}/health", headers=host) as response:
                assert response.status == 200
            async with http.get(f"{url}/llm/nowhere", headers=host) as response:
                assert "GET /llm/docs" in (await response.json())["error"]

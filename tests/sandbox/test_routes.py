"""The sandbox's catalogue and account routes, and the command that serves it."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import aiohttp
import pytest

from client.sandbox import open_sandbox
from client.sandbox.models.catalogue import MODELS


async def get(http: aiohttp.ClientSession, path: str, status: int = 200, **query: Any) -> Any:
    async with http.get(path, params=query) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        return await response.json()


async def test_the_catalogue_describes_every_model(http: aiohttp.ClientSession) -> None:
    listed = await get(http, "models")
    assert listed["total_count"] == len(MODELS) == 13
    assert listed["links"] == {"next": None}
    assert all(model["description"] and isinstance(model["pricing"]["prompt"], str) for model in listed["data"])


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"q": "REASON"}, ["reasoner"]),
        ({"output_modalities": "image"}, ["painter"]),
        ({"input_modalities": "audio"}, ["echo"]),
        ({"supported_parameters": "reasoning,include_reasoning"}, ["reasoner"]),
        ({"context": "500000"}, ["echo", "long"]),
        ({"max_price": "0"}, ["rate-limited"]),
        ({"min_price": "3", "sort": "pricing-high-to-low"}, ["no-credits", "reasoner"]),
        ({"sort": "newest", "limit": "2"}, ["stalls", "hangs-up"]),
        ({"sort": "context-high-to-low", "limit": "1", "offset": "1"}, ["long"]),
    ],
)
async def test_the_list_can_be_searched_and_sorted(
    http: aiohttp.ClientSession, query: dict[str, Any], ids: list[str]
) -> None:
    listed = await get(http, "models", **query)
    assert [model["id"] for model in listed["data"]] == [f"sandbox/{slug}" for slug in ids]


async def test_pages_follow_their_links_to_the_whole_list(http: aiohttp.ClientSession) -> None:
    seen, page = [], await get(http, "models", limit="5", sort="newest")
    while True:
        seen += [model["id"] for model in page["data"]]
        assert page["total_count"] == 13
        if (following := page["links"]["next"]) is None:
            break
        async with http.get(following) as response:
            page = await response.json()
    assert len(seen) == len(set(seen)) == 13


@pytest.mark.parametrize("query", [{"sort": "odd"}, {"limit": "0"}, {"offset": "x"}, {"max_price": "x"}])
async def test_a_bad_query_is_refused(http: aiohttp.ClientSession, query: dict[str, Any]) -> None:
    assert (await get(http, "models", status=400, **query))["error"]["code"] == 400


async def test_one_model_is_found_by_id_variant_and_permanent_slug(http: aiohttp.ClientSession) -> None:
    for path in ("sandbox/echo", "sandbox/echo:nitro", "sandbox/echo-20260101"):
        assert (await get(http, f"model/{path}"))["data"]["id"] == "sandbox/echo"
    endpoints = (await get(http, "models/sandbox/echo/endpoints"))["data"]["endpoints"]
    assert [endpoint["tag"] for endpoint in endpoints] == ["sandbox"]


@pytest.mark.parametrize(
    "path", ["model/a/b", "models/a/b/endpoints", "model/a", "generation?id=gen-1", "nothing/here"]
)
async def test_what_does_not_exist_is_a_404_in_the_error_shape(http: aiohttp.ClientSession, path: str) -> None:
    assert (await get(http, path, status=404))["error"]["code"] == 404


async def test_a_wrong_method_is_a_405_in_the_error_shape(http: aiohttp.ClientSession) -> None:
    assert (await get(http, "chat/completions", status=405))["error"]["code"] == 405


async def test_the_account_routes_need_no_key_and_add_up(http: aiohttp.ClientSession) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "sandbox": {"tokens_per_s": 0}}
    async with http.post("chat/completions", json=body) as response:
        cost = (await response.json())["usage"]["cost"]
    assert (await get(http, "key"))["data"]["usage"] == pytest.approx(cost)
    assert (await get(http, "credits"))["data"]["total_usage"] == pytest.approx(cost)
    assert (await get(http, "models/count"))["data"]["count"] == 13
    assert (await get(http, "providers"))["data"][0]["slug"] == "sandbox"


async def test_requests_are_forgotten_past_the_number_kept() -> None:
    async with open_sandbox(record=2) as sandbox, aiohttp.ClientSession(sandbox.base_url + "/") as http:
        for _ in range(3):
            await get(http, "key")
        assert len(sandbox.requests) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to send")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_says_where_it_serves_and_ends_on_a_signal(signum: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "client.sandbox", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        base_url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as http, http.get(f"{base_url}/key") as response:
            assert response.status == 200
        process.send_signal(signum)
        assert await process.wait() == 0
        assert await process.stdout.read() == b""

"""Model discovery over HTTP: a real server, a real client, a real upstream that the test scripts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from client.config import UpstreamConfig
from client.models.catalogue import MAX_PAGES, Catalogue
from client.models.single_flight import RETRY_AFTER_S
from client.upstream.openrouter import OpenRouterClient, create_session
from server.access.callers import LOCAL, Caller
from server.errors import Handler
from server.http.failures import error_middleware
from server.keys import CALLER, CATALOGUE
from server.routes import models

GPT = {
    "id": "openai/gpt-4o",
    "name": "OpenAI: GPT-4o",
    "description": "Omni.",
    "created": 2,
    "context_length": 128_000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.0000025", "completion": "0.00001"},
    "supported_parameters": ["tools"],
}
LLAMA = {
    "id": "meta-llama/llama-3:free",
    "name": "Llama 3",
    "created": 3,
    "context_length": 8_000,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0", "completion": "0"},
    "reasoning": {"mandatory": False},
}
LATEST = {"id": "~x/y-latest", "created": 1, "reasoning": {"mandatory": True}}
EMBEDDER = {"id": "e/embed", "architecture": {"output_modalities": ["embeddings"]}}
LISTED = [GPT, LLAMA, LATEST]
ENDPOINTS = [{"name": "Azure | openai/gpt-4o", "provider_name": "Azure", "latency_last_30m": None}]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse] | web.StreamResponse]


class Upstream:
    """A server whose answer to any path a test may replace; `asked` holds raw path and query of every request."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {
            "/models": {"data": LISTED, "total_count": 3, "links": {"next": None}},
            "/models?output_modalities=all": {"data": [*LISTED, EMBEDDER]},
            "/models?sort=top-weekly": {"data": [LATEST, GPT, LLAMA]},
            "/models?sort=throughput-high-to-low": {"data": [LLAMA, LATEST, GPT]},
            "/models?sort=latency-low-to-high": {"data": [LATEST, LLAMA]},
            "/models/openai/gpt-4o/endpoints": {"data": {"id": "openai/gpt-4o", "endpoints": ENDPOINTS}},
            "/model/openai/gpt-4o:nitro": {"data": GPT},
        }
        self.status: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        target = request.raw_path.removeprefix("/api/v1")
        self.asked.append(target)
        self.arrived.set()
        await self.gate.wait()
        if self.status is not None:
            return web.json_response({"error": {"message": "busy", "code": self.status}}, status=self.status)
        answer = self.answers.get(target, 404)
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "No such model", "code": answer}}, status=answer)
        return web.Response(body=json.dumps(answer).encode(), content_type="application/json")


class World:
    """Everything a test holds: the upstream, a clock, and a way to call the server."""

    def __init__(self, upstream: Upstream, host: TestServer) -> None:
        self.upstream = upstream
        self.host = host
        self.now_s = 1_000.0
        self.caller = LOCAL
        self.api: TestClient[web.Request, web.Application]
        self.catalogue: Catalogue

    async def get(self, path: str, **params: str) -> Any:
        async with self.api.get(path, params=params or None) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "application/json"
            return await response.json()

    async def found(self, **params: str) -> list[str]:
        return [model["id"] for model in (await self.get("/models/search", **params))["data"]]

    async def refused(self, path: str, status: int, **params: str) -> Any:
        async with self.api.get(path, params=params or None) as response:
            body = await response.json()
            assert (response.status, body["status"]) == (status, status)
            return body


@pytest.fixture
async def upstream() -> AsyncIterator[TestServer]:
    app = web.Application()
    app[UPSTREAM] = Upstream()
    app.router.add_get("/api/v1/{path:.*}", app[UPSTREAM].handle)
    host = TestServer(app)
    async with host:
        yield host


UPSTREAM = web.AppKey("UPSTREAM", Upstream)


@pytest.fixture
async def world(upstream: TestServer) -> AsyncIterator[World]:
    world = World(upstream.app[UPSTREAM], upstream)
    config = UpstreamConfig(base_url=f"{upstream.make_url('/api/v1')}", max_retries=0)

    @web.middleware
    async def name_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CALLER] = world.caller
        return await handler(request)

    app = web.Application(middlewares=[error_middleware, name_caller])
    app.add_routes(models.routes)
    async with create_session(config) as session:
        world.catalogue = app[CATALOGUE] = Catalogue(
            OpenRouterClient(session, config),
            ttl_s=300,
            clock=lambda: world.now_s,
            wall_clock=lambda: 1_700_000_000.9,
        )
        async with TestClient(TestServer(app)) as world.api:
            yield world
        await world.catalogue.aclose()


FETCHED = "2023-11-14T22:13:20+00:00"


async def test_the_list_is_upstreams_models_whole(world: World) -> None:
    assert await world.get("/models") == {"data": LISTED, "total": 3, "fetched_at": FETCHED, "stale": False}
    assert (world.catalogue.size, world.catalogue.age_s) == (3, 0)


async def test_nothing_is_asked_before_somebody_calls(world: World) -> None:
    assert (world.catalogue.size, world.catalogue.age_s, world.upstream.asked) == (0, None, [])
    assert world.catalogue.suggestions("gpt-4o") == []


async def test_fifty_callers_at_once_cost_one_fetch(world: World) -> None:
    world.upstream.gate.clear()
    calls = [asyncio.create_task(world.get("/models")) for _ in range(50)]
    await world.upstream.arrived.wait()
    world.upstream.gate.set()
    bodies = await asyncio.gather(*calls)
    assert all(body == bodies[0] for body in bodies)
    assert world.upstream.asked == ["/models"]


async def test_the_list_is_kept_for_its_ttl(world: World) -> None:
    await world.get("/models")
    world.now_s += 299
    await world.get("/models/families")
    assert world.upstream.asked == ["/models"]
    world.upstream.answers["/models"] = {"data": [GPT]}
    world.now_s += 1
    body = await world.get("/models")
    assert (body["data"], body["stale"]) == ([GPT], False)


async def test_q107_the_list_is_served_stale_while_upstream_fails_and_fresh_again_after(world: World) -> None:
    await world.get("/models")
    world.upstream.status = 503
    world.now_s += 301
    assert await world.get("/models") == {"data": LISTED, "total": 3, "fetched_at": FETCHED, "stale": True}
    assert (await world.get("/models/search", q="gpt"))["stale"] is True
    assert await world.get("/models/openai/gpt-4o") == {"data": GPT, "endpoints": [], "stale": True}
    world.upstream.status = None
    world.now_s += RETRY_AFTER_S
    assert (await world.get("/models"))["stale"] is False


async def test_q107_the_list_is_served_stale_when_upstream_is_gone(world: World) -> None:
    await world.get("/models")
    await world.host.close()
    world.now_s += 301
    assert (await world.get("/models"))["stale"] is True


async def test_without_any_list_upstreams_failure_is_the_answer(world: World) -> None:
    world.upstream.status = 503
    body = await world.refused("/models", 503)
    assert body["type"] == "upstream_unavailable"
    world.upstream.status = None
    assert (await world.get("/models"))["total"] == 3


async def test_an_unchanged_list_is_not_sent_again(world: World) -> None:
    async with world.api.get("/models") as response:
        etag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    assert etag.startswith('W/"')
    for known in (etag, etag.removeprefix("W/"), "*", f'"other", {etag}'):
        async with world.api.get("/models", headers={"If-None-Match": known}) as response:
            assert (response.status, response.headers["ETag"], await response.read()) == (304, etag, b"")
    async with world.api.get("/models", headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


async def test_the_tag_stays_while_the_models_do_and_changes_with_them_or_with_staleness(world: World) -> None:
    async def tag() -> str:
        async with world.api.get("/models") as response:
            return response.headers["ETag"]

    first = await tag()
    world.now_s += 301
    assert await tag() == first
    world.upstream.status = 500
    world.now_s += 301
    stale = await tag()
    world.upstream.status, world.upstream.answers["/models"] = None, {"data": [GPT]}
    world.now_s += 301
    assert len({first, stale, await tag()}) == 3


@pytest.mark.parametrize("path", ["/models/search?q=gpt", "/models/families", "/models/openai/gpt-4o"])
async def test_every_answer_has_a_tag_and_head_works(world: World, path: str) -> None:
    async with world.api.get(path) as response:
        etag, length = response.headers["ETag"], response.headers["Content-Length"]
    async with world.api.get(path, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    async with world.api.head(path) as response:
        assert (response.status, response.headers["ETag"], response.headers["Content-Length"]) == (200, etag, length)


async def test_a_list_of_more_than_a_megabyte_goes_out_whole(world: World) -> None:
    large = [{"id": f"a/{n}", "description": "x" * 5_000} for n in range(400)]
    world.upstream.answers["/models"] = {"data": large}
    assert (await world.get("/models"))["data"] == large


async def test_odd_json_of_upstream_is_passed_on(world: World) -> None:
    odd = {"id": "a/b", "name": "half \ud800", "big": 10**30}
    world.upstream.answers["/models"] = {"data": [odd]}
    assert (await world.get("/models"))["data"] == [odd]
    assert (await world.get("/models/search", q="a/b"))["data"] == [odd]


async def test_a_search_says_what_it_counted_and_paged(world: World) -> None:
    assert await world.get("/models/search", limit="1", offset="1") == {
        "data": [LLAMA],
        "total": 3,
        "limit": 1,
        "offset": 1,
        "fetched_at": FETCHED,
        "stale": False,
    }


async def test_nothing_found_is_an_empty_page(world: World) -> None:
    body = await world.get("/models/search", search_term="zebra")
    assert (body["data"], body["total"], body["limit"], body["offset"]) == ([], 0, 50, 0)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"q": "OMNI"}, ["openai/gpt-4o"]),
        ({"search_term": "llama"}, ["meta-llama/llama-3:free"]),
        ({"families": "chatgpt,llama"}, ["openai/gpt-4o", "meta-llama/llama-3:free"]),
        ({"input_modalities": "text,image"}, ["openai/gpt-4o"]),
        ({"output_modalities": "text"}, ["openai/gpt-4o", "meta-llama/llama-3:free"]),
        ({"supported_parameters": "tools"}, ["openai/gpt-4o"]),
        ({"min_context_length": "8001"}, ["openai/gpt-4o"]),
        ({"max_context_length": "8000"}, ["meta-llama/llama-3:free"]),
        ({"min_price": "2.5"}, ["openai/gpt-4o"]),
        ({"max_price": "2.4"}, ["meta-llama/llama-3:free"]),
        ({"free_only": "true"}, ["meta-llama/llama-3:free"]),
        ({"reasoning": "false"}, ["openai/gpt-4o"]),
        ({"toggleable_reasoning": "true"}, ["meta-llama/llama-3:free"]),
        ({"sort": "newest"}, ["meta-llama/llama-3:free", "openai/gpt-4o", "~x/y-latest"]),
        ({"sort": "name"}, ["meta-llama/llama-3:free", "openai/gpt-4o", "~x/y-latest"]),
        ({"sort": "pricing_low_to_high"}, ["meta-llama/llama-3:free", "openai/gpt-4o", "~x/y-latest"]),
        ({"sort": "pricing_high_to_low"}, ["openai/gpt-4o", "meta-llama/llama-3:free", "~x/y-latest"]),
        ({"sort": "context_high_to_low"}, ["openai/gpt-4o", "meta-llama/llama-3:free", "~x/y-latest"]),
        ({"sort": "context_low_to_high"}, ["meta-llama/llama-3:free", "openai/gpt-4o", "~x/y-latest"]),
        ({"sort": "top_weekly"}, ["~x/y-latest", "openai/gpt-4o", "meta-llama/llama-3:free"]),
        ({"sort": "throughput_high_to_low"}, ["meta-llama/llama-3:free", "~x/y-latest", "openai/gpt-4o"]),
        ({"sort": "latency_low_to_high"}, ["~x/y-latest", "meta-llama/llama-3:free", "openai/gpt-4o"]),
        ({"limit": "1"}, ["openai/gpt-4o"]),
        ({"offset": "2"}, ["~x/y-latest"]),
    ],
)
async def test_every_search_parameter_works(world: World, params: dict[str, str], expected: list[str]) -> None:
    assert await world.found(**params) == expected


async def test_an_order_of_upstream_is_kept_as_long_as_the_list(world: World) -> None:
    for _ in range(3):
        await world.found(sort="top_weekly")
    assert world.upstream.asked == ["/models", "/models?sort=top-weekly"]
    world.upstream.status = 500
    world.now_s += 301
    body = await world.get("/models/search", sort="top_weekly")
    assert (body["data"][0]["id"], body["stale"]) == ("~x/y-latest", True)


async def test_an_order_that_upstream_refuses_is_upstreams_failure(world: World) -> None:
    world.upstream.answers["/models?sort=top-weekly"] = 429
    assert (await world.refused("/models/search", 429, sort="top_weekly"))["type"] == "rate_limited"


async def test_models_without_text_are_found_when_asked_for(world: World) -> None:
    assert await world.found(output_modalities="embeddings") == ["e/embed"]
    world.upstream.answers["/models?sort=newest&output_modalities=all"] = {"data": []}
    world.upstream.answers["/models?sort=top-weekly&output_modalities=all"] = {"data": [EMBEDDER]}
    assert await world.found(output_modalities="embeddings", sort="top_weekly") == ["e/embed"]
    assert (await world.get("/models"))["total"] == 3


@pytest.mark.parametrize(
    ("params", "where", "known"),
    [
        ({"family": "gpt"}, "query.family", "families, input_modalities"),
        ({"sort": "best"}, "query.sort", "newest, name, pricing_low_to_high"),
        ({"families": "opnai"}, "query.families", "did you mean 'openai'?"),
        ({"input_modalities": "smell"}, "query.input_modalities", "known: audio, file, image, text, video"),
        ({"output_modalities": "smell"}, "query.output_modalities", "embeddings"),
        ({"supported_parameters": "toolz"}, "query.supported_parameters", "did you mean 'tools'?"),
        ({"limit": "201"}, "query.limit", "1 to 200"),
        ({"offset": "x"}, "query.offset", "integer"),
        ({"free_only": "perhaps"}, "query.free_only", "true, false"),
        ({"max_price": "-1"}, "query.max_price", "greater than or equal to 0"),
        ({"q": "a", "search_term": "b"}, "query.search_term", "q"),
    ],
)
async def test_a_wrong_parameter_is_a_422_that_names_the_known_ones(
    world: World, params: dict[str, str], where: str, known: str
) -> None:
    body = await world.refused("/models/search", 422, **params)
    assert (body["type"], body["retryable"]) == ("invalid_request", False)
    assert [detail["where"] for detail in body["details"]] == [where]
    assert known in body["details"][0]["what"]


async def test_a_repeated_parameter_is_a_422(world: World) -> None:
    body = await world.refused("/models/search?q=a&q=b", 422)
    assert body["details"] == [{"where": "query.q", "what": "given 2 times; give it once, lists with commas"}]


@pytest.mark.parametrize("path", ["/models", "/models/families", "/models/openai/gpt-4o"])
async def test_routes_without_parameters_refuse_them(world: World, path: str) -> None:
    body = await world.refused(path, 422, q="x", limit="1")
    assert body["details"] == [
        {"where": f"query.{name}", "what": "unknown parameter; known: none; GET /models/search filters and sorts"}
        for name in ("q", "limit")
    ]


async def test_families_are_counted(world: World) -> None:
    assert await world.get("/models/families") == {
        "data": [
            {"family": "meta-llama", "count": 1},
            {"family": "openai", "count": 1},
            {"family": "x", "count": 1},
        ]
    }


@pytest.mark.parametrize("path", ["openai/gpt-4o", "openai%2Fgpt-4o", "openai%2fgpt%2D4o"])
async def test_a_model_comes_with_its_endpoints(world: World, path: str) -> None:
    url = URL(f"{world.api.make_url('/models/')}{path}", encoded=True)
    async with world.api.session.get(url) as response:
        assert await response.json() == {"data": GPT, "endpoints": ENDPOINTS}
    assert world.upstream.asked == ["/models", "/models/openai/gpt-4o/endpoints"]


@pytest.mark.parametrize("path", ["~x/y-latest", "%7Ex/y-latest", "%7Ex%2Fy-latest"])
async def test_q104_tilde_and_variant_reach_upstream_as_they_are(world: World, path: str) -> None:
    url = URL(f"{world.api.make_url('/models/')}{path}", encoded=True)
    async with world.api.session.get(url) as response:
        assert await response.json() == {"data": LATEST, "endpoints": []}
    assert world.upstream.asked[-1] == "/models/~x/y-latest/endpoints"
    assert await world.get("/models/meta-llama/llama-3:free") == {"data": LLAMA, "endpoints": []}
    assert world.upstream.asked[-1] == "/models/meta-llama/llama-3:free/endpoints"


async def test_a_model_that_is_not_listed_is_asked_for_by_its_own_path(world: World) -> None:
    assert await world.get("/models/openai/gpt-4o:nitro") == {"data": GPT, "endpoints": []}
    assert world.upstream.asked[1:] == ["/model/openai/gpt-4o:nitro", "/models/openai/gpt-4o:nitro/endpoints"]


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_q108_an_unknown_model_is_a_404_with_near_ones(world: World, status: int) -> None:
    world.upstream.answers["/model/OpenAI/GPT4o"] = status
    assert await world.refused("/models/OpenAI/GPT4o", 404) == {
        "error": "There is no model OpenAI/GPT4o; did you mean openai/gpt-4o?",
        "type": "not_found",
        "status": 404,
        "retryable": False,
        "suggestions": ["openai/gpt-4o"],
    }
    assert world.catalogue.suggestions("gpt-4") == ["openai/gpt-4o"]


async def test_q108_nothing_near_suggests_nothing(world: World) -> None:
    body = await world.refused("/models/zzzzzzz/qqqqqqqq", 404)
    assert (body["type"], body.get("suggestions", [])) == ("not_found", [])


@pytest.mark.parametrize(
    "path",
    [
        "..%2Fkey",
        "%2E%2E%2Fkey",
        "a%2F..%2F..%2Fkey",
        "a%3Fb=c",
        "a%23b",
        "a%252Fb",
        "a%2F%2Fb",
        "a b",
        "a/",
        "%0d%0a",
    ],
)
async def test_an_id_that_would_change_the_path_is_never_sent_upstream(world: World, path: str) -> None:
    url = URL(f"{world.api.make_url('/models/')}{path.replace(' ', '%20')}", encoded=True)
    async with world.api.session.get(url) as response:
        assert (response.status, (await response.json())["type"]) == (404, "not_found")
    assert world.upstream.asked in (["/models"], [])


async def test_a_model_nobody_lists_is_upstreams_failure_while_upstream_fails(world: World) -> None:
    await world.get("/models")
    world.upstream.answers["/model/a/b"] = 500
    assert (await world.refused("/models/a/b", 502))["type"] == "upstream_unavailable"


async def test_endpoints_that_take_too_long_do_not_hide_the_model(world: World) -> None:
    await world.get("/models")
    impatient = Catalogue(world.catalogue._openrouter, patience_s=0)
    details = await impatient.get("openai/gpt-4o")
    assert (details.model, details.endpoints, details.stale) == (GPT, [], True)
    await impatient.aclose()


PAGE_2 = "/models?offset=1&limit=1"


async def test_q105_further_pages_are_fetched_and_joined(world: World) -> None:
    base_url = f"{world.host.make_url('/api/v1')}"
    world.upstream.answers["/models"] = {"data": [GPT], "links": {"next": f"{base_url}{PAGE_2}"}}
    world.upstream.answers[PAGE_2] = {"data": [GPT, LLAMA], "links": {"next": "/api/v1/models?offset=2"}}
    world.upstream.answers["/models?offset=2"] = {"data": [LATEST], "links": {"next": None}}
    assert (await world.get("/models"))["data"] == LISTED
    assert world.upstream.asked == ["/models", PAGE_2, "/models?offset=2"]


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:9/api/v1/models?offset=1", "https://evil.example/", "/api/v1/key"]
)
async def test_q105_a_next_page_elsewhere_is_not_fetched(world: World, link: str) -> None:
    world.upstream.answers["/models"] = {"data": [GPT], "links": {"next": link}}
    assert (await world.get("/models"))["data"] == [GPT]
    assert world.upstream.asked == ["/models"]


async def test_q105_pages_in_a_circle_end(world: World) -> None:
    world.upstream.answers["/models"] = {"data": [GPT], "links": {"next": PAGE_2}}
    world.upstream.answers[PAGE_2] = {"data": [LLAMA], "links": {"next": PAGE_2}}
    assert (await world.get("/models"))["data"] == [GPT, LLAMA]
    assert world.upstream.asked == ["/models", PAGE_2]


async def test_q105_pages_without_end_are_bounded(world: World) -> None:
    world.upstream.answers["/models"] = {"data": [GPT], "links": {"next": "/models?offset=1"}}
    for n in range(1, MAX_PAGES + 5):
        world.upstream.answers[f"/models?offset={n}"] = {"data": [], "links": {"next": f"/models?offset={n + 1}"}}
    await world.get("/models")
    assert len(world.upstream.asked) == MAX_PAGES


async def test_q106_a_plain_openai_compatible_server_works_everywhere(world: World) -> None:
    plain = [{"id": "qwen3:8b", "object": "model", "owned_by": "library"}, {"id": "org/model", "object": "model"}]
    world.upstream.answers = {"/models": {"object": "list", "data": plain}}
    assert (await world.get("/models"))["data"] == plain
    assert await world.get("/models/qwen3:8b") == {"data": plain[0], "endpoints": []}
    assert await world.get("/models/org/model") == {"data": plain[1], "endpoints": []}
    assert await world.found(sort="pricing_low_to_high", q="8B") == ["qwen3:8b"]
    assert await world.found(free_only="true") == []
    families = await world.get("/models/families")
    assert families["data"] == [{"family": "library", "count": 1}, {"family": "org", "count": 1}]
    assert (await world.refused("/models/qwen3", 404))["suggestions"] == ["qwen3:8b"]


async def test_what_is_no_list_is_a_protocol_error(world: World) -> None:
    world.upstream.answers["/models"] = {"hello": "world"}
    assert (await world.refused("/models", 502))["type"] == "upstream_protocol"


async def test_a_caller_bound_to_some_models_finds_no_others(world: World) -> None:
    everybody = await world.get("/models")
    world.caller = Caller("bound", models=("openai/*", "e/*"))
    assert await world.get("/models") == {**everybody, "data": [GPT], "total": 1}
    assert await world.get("/models/families") == {"data": [{"family": "openai", "count": 1}]}
    assert await world.found() == ["openai/gpt-4o"]
    assert await world.found(families="llama") == []
    assert await world.found(output_modalities="embeddings") == ["e/embed"]
    assert (await world.get("/models/openai/gpt-4o"))["data"] == GPT
    refusal = await world.refused("/models/meta-llama/llama-3:free", 403)
    assert refusal["type"] == "forbidden"
    assert "openai/*, e/*" in refusal["error"]
    world.caller = LOCAL
    assert await world.get("/models") == everybody


async def test_the_tag_of_a_bound_callers_list_is_not_that_of_the_whole(world: World) -> None:
    async with world.api.get("/models") as response:
        tag = response.headers["ETag"]
    world.caller = Caller("bound", models=("openai/*",))
    async with world.api.get("/models", headers={"If-None-Match": tag}) as response:
        assert response.status == 200

"""Entries of the model list that cannot be meant: they say nothing, and take nothing from the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from client.border.fit import not_too_deep
from client.border.large_json import LARGE_BYTES, decode_in_steps
from client.models.catalogue import Catalogue
from client.models.facts import effective_context_length, facts_of, price_of
from client.models.search import near_matches
from client.sandbox import Reply, Sandbox
from mcp_app.tools.find_models import get_model
from mcp_app.tools.find_models import search_models as search_tool
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.mcp import clients as mcp_clients
from tests.support.serving import Api, question, serving

GOOD: dict[str, Any] = {
    "id": "acme/good",
    "name": "Good",
    "pricing": {"prompt": "0.000001", "completion": "0.000002"},
    "context_length": 1000,
}
DIGITS = "9" * 400
DEEP: Any = "x"
for _ in range(300):
    DEEP = [DEEP]

FIELDS = [
    "name",
    "description",
    "canonical_slug",
    "created",
    "context_length",
    "pricing",
    "architecture",
    "top_provider",
    "supported_parameters",
    "reasoning",
    "owned_by",
    "expiration_date",
]
VALUES: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    "\ud800",
    "a\r\nb",
    10**399,
    -(10**399),
    [],
    {},
    [1, None, "\ud83d", [], {}],
    {"prompt": [], "completion": {}},
    {"input_modalities": "text", "output_modalities": {"text": 1}, "modality": 3},
    {"context_length": DIGITS, "max_completion_tokens": [1]},
    {"supported_efforts": 3, "mandatory": "yes"},
    DEEP,
]
PRICES: list[Any] = [
    "NaN",
    "-1",
    "-5",
    "Infinity",
    "-Infinity",
    "sNaN",
    DIGITS,
    "1e999999999",
    "1e-999999999",
    "free",
    "",
    int(DIGITS),
    -int(DIGITS),
    1e308,
    None,
    [],
    {},
    True,
    "0.1.2",
    "\ud800",
]
ODD_IDS: list[Any] = [None, 1, 1.5, True, [], {}, ["acme/good"], {"id": "x"}]
STRANGE_IDS = [
    "",
    " ",
    "/",
    "//",
    "a/",
    "/b",
    "a/b/c",
    "\ud800/x",
    "a\r\nb",
    "../key",
    "x" * 100_000,
    "acme/GOOD",
    "~a/b",
]


def odd_entries() -> list[Any]:
    entries: list[Any] = [
        {"id": f"odd/{field}-{n}", field: value} for field in FIELDS for n, value in enumerate(VALUES)
    ]
    entries += [{"id": f"price/{n}", "pricing": {"prompt": p, "completion": p}} for n, p in enumerate(PRICES)]
    entries += [{"id": value} for value in [*ODD_IDS, *STRANGE_IDS]]
    entries += [{}, None, 1, "x", [], ["acme/good"], True, {"name": "no id"}]
    return [GOOD, *entries, {**GOOD, "name": "a second one of the same id"}, {"id": "acme/last"}]


@pytest.fixture
async def api(upstream: Sandbox, config: Config) -> AsyncIterator[Api]:
    body = json.dumps({"data": odd_entries()}).encode().replace(b'"NUMBER"', b"1e999")
    upstream.script_always(Reply.raw(body, content_type="application/json"), path="/models")
    async with serving(config) as running:
        yield running


async def get(api: Api, path: str) -> tuple[int, Any]:
    response, body = await api.request("GET", path)
    return response.status, json.loads(body)


async def test_every_list_answers_whatever_stands_in_it(api: Api) -> None:
    """habit 1: the catalogue"""
    status, listed = await get(api, "/models")
    ids = [model["id"] for model in listed["data"]]
    assert (status, ids[0], ids[-1], ids.count("acme/good")) == (200, "acme/good", "acme/last", 1)
    assert listed["total"] == len(ids)
    assert all(isinstance(each, str) for each in ids)
    assert listed["data"][0] == GOOD
    status, families = await get(api, "/models/families")
    assert status == 200
    assert {"family": "acme", "count": 3} in families["data"]


SORTS = ["newest", "name", "pricing_low_to_high", "pricing_high_to_low", "context_high_to_low", "context_low_to_high"]
QUERIES = [
    *[f"sort={sort}&limit=200" for sort in SORTS],
    *["q=good", "q=x", "q=odd", "free_only=true", "reasoning=true", "reasoning=false", "toggleable_reasoning=true"],
    *["min_price=0", "max_price=5", "min_context_length=1", "max_context_length=2000", "input_modalities=text"],
    *["families=acme", "supported_parameters=tools", "output_modalities=text"],
]


@pytest.mark.parametrize("query", QUERIES)
async def test_every_search_answers_whatever_stands_in_the_list(api: Api, query: str) -> None:
    """habit 1: the catalogue"""
    status, found = await get(api, f"/models/search?{query}")
    assert status == 200
    assert all(isinstance(model["id"], str) for model in found["data"])
    if "price" in query and "sort" not in query:
        assert [model["id"] for model in found["data"] if model["id"].startswith("acme")] == ["acme/good"]


async def test_one_model_answers_and_so_does_an_unknown_one(upstream: Sandbox, api: Api) -> None:
    """habit 1: the catalogue"""
    assert (await get(api, "/models/acme/good"))[1]["data"] == GOOD
    for model_id in ("odd/pricing-14", "price/6", "odd/name-18"):
        assert (await get(api, f"/models/{model_id}"))[0] == 200
    status, refused = await get(api, "/models/acme/goood")
    assert status == 404
    assert "acme/good" in refused["suggestions"]
    status, refused = await get(api, "/models/search?families=nobody")
    assert status == 422
    assert len(json.dumps(refused)) < 20_000


async def test_the_tools_answer_whatever_stands_in_the_list(upstream: Sandbox) -> None:
    """habit 1: the catalogue, over MCP"""
    upstream.script_always(Reply.json({"data": odd_entries()}), path="/models")
    async with mcp_clients.open_state(upstream) as state:
        for sort in (None, *SORTS):
            for offset in range(0, 300, 50):
                found = await search_tool(state, {"sort": sort, "limit": 50, "offset": offset})
                assert len(json.dumps(found.data)) < 100_000
                assert all(len(text) < 60_000 for text in found.texts)
        for model_id in ("acme/good", "odd/name-18", "odd/description-18", "price/6", "odd/top_provider-16"):
            assert (await get_model(state, model_id)).data["id"] == model_id


@pytest.mark.parametrize("number", range(len(PRICES)))
async def test_a_budget_answers_whatever_a_model_costs(upstream: Sandbox, config: Config, number: int) -> None:
    """habit 1: the catalogue, in budgets"""
    token = "t" * 30
    bob = Caller("bob", hash_token(token), budget_usd_per_day=Decimal(1))
    upstream.script_always(Reply.json({"data": odd_entries()}), path="/models")
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    async with serving(config.model_copy(update={"callers": (bob,)})) as api:
        headers = {"Authorization": f"Bearer {token}"}
        async with api.http.get(f"{api.url}/models", headers=headers) as response:
            assert response.status == 200
        body = question(model=f"price/{number}")
        async with api.http.post(f"{api.url}/chat", json=body, headers=headers) as response:
            assert response.status == 200
            await response.read()
        async with api.http.get(f"{api.url}/usage", headers=headers) as response:
            budget = (await response.json())["budget"]
        assert (budget["spent_usd"], budget["reserved_usd"]) == (0.001, 0.0)


def test_prices_and_lengths_beyond_reason_are_unknown() -> None:
    """habit 1: the catalogue"""
    prices = {repr(p)[:20]: price_of({"pricing": {"prompt": p}}, "prompt") for p in PRICES}
    believed = {name: price for name, price in prices.items() if price is not None}
    assert believed.pop("'-1'") == "variable"
    assert believed.pop("'-5'") == "variable"
    assert list(believed) == ["'1e-999999999'"] or not believed
    for length in (10**399, 1e308, float("inf"), float("nan"), 10**12 + 1):
        assert effective_context_length({"context_length": length}) is None
    assert facts_of({"id": "a/b", "created": 10**399}).created is None


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": "x"}, [], None, 1, "x", {"data": [[]]}])
async def test_what_is_no_list_is_an_error_or_an_empty_list(upstream: Sandbox, config: Config, body: Any) -> None:
    """habit 1: the catalogue"""
    upstream.script_always(Reply.json(body), path="/models")
    async with serving(config) as api:
        for path in ("/models", "/models/search?q=x", "/models/families"):
            status, found = await get(api, path)
            assert (status, found.get("type")) in ((502, "upstream_protocol"), (200, None))


async def test_a_fault_of_ours_in_making_the_list_is_told_to_all_who_wait(
    upstream: Sandbox, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """habit: an end that can fail"""
    monkeypatch.setattr(Catalogue, "_fetch_list", None)
    async with serving(config) as api:
        for _ in range(2):
            status, found = await get(api, "/models")
            assert (status, found["type"]) == (500, "internal")


@pytest.mark.parametrize("frame", ['{"data":%s,"total_count":1}', "%s", '{"a":%s,"b":{"c":[1,2]},"data":[]}'])
async def test_what_is_decoded_in_steps_is_what_is_decoded_at_once(frame: str) -> None:
    """near miss: 100,000 models"""
    entries = json.dumps(odd_entries() * 3)
    body = (frame % entries).encode()
    assert len(body) > LARGE_BYTES
    assert await decode_in_steps(body) == not_too_deep(json.loads(body))
    assert await decode_in_steps(body[:-1]) is None
    for broken in (b"[1," * LARGE_BYTES, b'{"data":[' + b"1 " * LARGE_BYTES, b"\xff" * LARGE_BYTES):
        assert await decode_in_steps(broken) is None


def test_of_very_many_ids_some_are_measured() -> None:
    """near miss: 100,000 models"""
    ids = [f"author{n % 500}/model-{n}" for n in range(20_000)]
    assert near_matches("author7/modle-1007", ids)[0] == "author7/model-1007"
    assert near_matches("model-777", ids)[0] == "author277/model-777"

"""Limits and usage as callers of two servers meet them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import DONE, Reply, Sandbox, chunk
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from server.keys import CATALOGUE
from tests.mcp.test_http import connected
from tests.shared.processes import shared_of, sharing
from tests.shared.waiting import until
from tests.support.engines import Engine
from tests.support.mcp.clients import data_of
from tests.support.serving import Api, question

MODEL = "sandbox/long"
DATA = json.dumps(question(model=MODEL, max_tokens=1000)).encode()
pytestmark = pytest.mark.usefixtures("upstream")


def called(config: Config, **limits: Any) -> Config:
    callers = (
        Caller("ann", hash_token("secret-of-ann"), **limits),
        Caller("boss", hash_token("secret-of-boss"), admin=True),
    )
    return config.model_copy(update={"callers": callers})


def bearer(name: str = "ann") -> dict[str, str]:
    return {"Content_Type": "application/json", "Authorization": f"Bearer secret-of-{name}"}


def answer(cost: float) -> Reply:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "cost": cost}
    return Reply.stream(chunk({"content": "x"}, model=MODEL), chunk({}, "stop"), chunk({}, "stop", usage=usage), DONE)


@asynccontextmanager
async def two(config: Config, engine: Engine, **redis: Any) -> AsyncIterator[tuple[Api, Api]]:
    """Two servers that know the prices."""
    async with sharing(config, engine, **redis) as (one, other):
        for each in (one, other):
            await each.app[CATALOGUE].listing()
        yield one, other


async def usage(api: Api, name: str = "ann", status: int = 200) -> dict[str, Any]:
    response, body = await api.request("GET", "/usage", **bearer(name))
    assert response.status == status, body
    found: dict[str, Any] = json.loads(body)
    return found


async def told(one: Api, *, requests: int) -> dict[str, Any]:
    """What is said of usage as soon as so many are in it."""
    async with asyncio.timeout(60):
        while True:
            found = await usage(one)
            if sum(row["requests"] for row in found["data"]) == requests:
                return found
            await asyncio.sleep(0.02)


async def chat(api: Api) -> tuple[int, dict[str, Any]]:
    response, body = await api.request("POST", "/chat?stream=false", DATA, **bearer())
    return response.status, json.loads(body)


async def test_what_one_spends_the_other_tells_and_counts(engine: Engine, config: Config, upstream: Sandbox) -> None:
    upstream.script(answer(0.25), answer(0.5))
    async with two(called(config, budget_usd_per_day=Decimal("0.75")), engine) as (one, other):
        assert (await chat(one))[0] == 200
        await told(other, requests=1)
        assert (await chat(other))[0] == 200
        for each in (one, other):
            found = await told(each, requests=2)
            assert found["total_cost_usd"] == found["total_settled_cost_usd"] == 0.75
            assert found["budget"]["spent_usd"] == 0.75
            assert found["budget"]["reserved_usd"] == 0
            (row,) = (await usage(each, "boss"))["data"]
            assert (row["caller"], row["requests"], row["prompt_tokens"]) == ("ann", 2, 6)
            status, refused = await chat(each)
            assert (status, refused["type"]) == (429, "too_many_requests")
            response, body = await each.request("GET", "/v1/key", **bearer())
            assert (response.status, json.loads(body)["data"]["usage_daily"]) == (200, 0.75)
            async with connected(each.url, token="secret-of-ann") as mcp:
                told_there = data_of(await mcp.call_tool("account", {}))["budget"]
            assert told_there == {"limit_usd": 0.75, "spent_usd": 0.75, "reserved_usd": 0, "left_usd": 0}
    assert len(upstream.calls) == 2


async def test_of_many_at_once_both_together_let_as_many_through_as_may(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    upstream.script(*(answer(0) for _ in range(40)))
    async with two(called(config, requests_per_minute=10), engine) as (one, other):
        replies = await asyncio.gather(*(chat((one, other)[number % 2]) for number in range(40)))
        assert Counter(status for status, _ in replies) == {200: 10, 429: 30}
    assert len(upstream.calls) == 10


async def test_a_lost_engine_is_said_with_when_to_come_back(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    upstream.script(answer(0.25), answer(0.25))
    async with two(called(config, budget_usd_per_day=Decimal(5)), engine) as (one, other):
        assert (await chat(one))[0] == 200
        await told(other, requests=1)
        engine.kill()
        await until(lambda: not shared_of(one).has_contact)
        response, body = await one.request("POST", "/chat", DATA, **bearer())
        refused = json.loads(body)
        assert (response.status, refused["type"], refused["retryable"]) == (503, "store_unavailable", True)
        assert int(response.headers["Retry-After"]) > 0
        assert refused["error"].endswith("cannot be asked what ann may still spend. Try again.")
        assert (await usage(one, status=503))["type"] == "store_unavailable"
        assert shared_of(one).figures.refused["budget"] == 1
        engine.start()
        await until(lambda: shared_of(one).has_contact and not shared_of(one).store.may_lack)
        assert (await chat(one))[0] == 200
        assert (await told(one, requests=2))["total_cost_usd"] == 0.5
    assert len(upstream.calls) == 2


async def test_a_caller_with_a_budget_is_served_by_one_alone_where_that_is_chosen(
    engine: Engine, config: Config, upstream: Sandbox, tmp_path: Path
) -> None:
    upstream.script(answer(0.25))
    async with two(called(config, budget_usd_per_day=Decimal(5)), engine, when_lost="serve") as (one, other):
        engine.kill()
        await until(lambda: not shared_of(one).has_contact)
        assert (await chat(one))[0] == 200
        engine.start()
        await until(lambda: shared_of(other).has_contact)
        assert (await told(other, requests=1))["total_cost_usd"] == 0.25

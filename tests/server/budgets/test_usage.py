"""`GET /usage`, and limits as a caller meets them: over HTTP, over MCP, and across restarts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.models.costs import NANOS, estimate_nano_usd
from client.sandbox import COMMENT, DONE, Hold, Reply, Sandbox, chunk, open_sandbox
from client.sandbox.models.catalogue import find_model
from client.upstream.request import build_chat_call
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from server.keys import CATALOGUE, SETTINGS
from tests.mcp.test_http import connected
from tests.support.mcp.clients import text_of
from tests.support.process import ServerProcess, running_server
from tests.support.serving import Api, changed, question, serving


def today() -> str:
    """The suite may run over midnight."""
    return datetime.now(UTC).date().isoformat()


MODEL = "sandbox/long"
BODY = question(model=MODEL, max_tokens=1000)


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer secret-of-{name}"}


def called(config: Config, *callers: Caller) -> Config:
    """The settings with these callers; the token of `ann` is `secret-of-ann`."""
    hashed = [
        Caller(
            each.name,
            hash_token(f"secret-of-{each.name}"),
            each.models,
            each.requests_per_minute,
            each.max_concurrent,
            each.budget_usd_per_day,
            each.admin,
        )
        for each in callers
    ]
    return config.model_copy(update={"callers": tuple(hashed)})


@asynccontextmanager
async def serving_for(config: Config, *callers: Caller) -> AsyncIterator[Api]:
    """Serves for these callers, with the catalogue's prices known."""
    async with serving(called(config, *callers)) as api:
        await api.app[CATALOGUE].listing()
        yield api


def costs_at_most(body: dict[str, Any]) -> Decimal:
    """What a request reserves, USD."""
    call = build_chat_call(body, (), default_model=MODEL, max_grace_s=0)
    return Decimal(estimate_nano_usd(call.body, find_model)) / NANOS


def answer(cost: float, *ahead: Any) -> Reply:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "cost": cost}
    return Reply.stream(
        *ahead, chunk({"content": "x"}, model=MODEL), chunk({}, "stop"), chunk({}, "stop", usage=usage), DONE
    )


async def post(api: Api, name: str, **more: Any) -> tuple[int, Any, str | None]:
    """Status, the last event or the refusal, and `Retry-After`."""
    async with api.http.post(f"{api.url}/chat", json={**BODY, **more}, headers=bearer(name)) as response:
        body = await response.text()
    data = json.loads(body if body.startswith("{") else body.rsplit("data: ", 1)[1])
    return response.status, data, response.headers.get("Retry-After")


async def usage(api: Api, name: str, query: str = "") -> Any:
    async with api.http.get(f"{api.url}/usage{query}", headers=bearer(name)) as response:
        return await response.json()


# -- what was spent -----------------------------------------------------------------------------------------------


async def test_a_caller_sees_its_own_figures_and_an_admin_those_of_all(config: Config, upstream: Sandbox) -> None:
    upstream.script(answer(0.1), answer(0.2), answer(0.3))
    async with serving_for(config, Caller("ann"), Caller("bob"), Caller("eve", admin=True)) as api:
        for name in ("ann", "ann", "bob"):
            assert (await post(api, name))[0] == 200
        row = {"day": today(), "model": MODEL, "unsettled": 0}
        of_ann = {"caller": "ann", "requests": 2, "prompt_tokens": 6, "completion_tokens": 10}
        of_ann |= {"cost_usd": 0.3, "settled_cost_usd": 0.3}
        of_bob = {"caller": "bob", "requests": 1, "prompt_tokens": 3, "completion_tokens": 5}
        of_bob |= {"cost_usd": 0.3, "settled_cost_usd": 0.3}
        assert await usage(api, "ann") == {
            "data": [row | of_ann],
            "first_day": (datetime.now(UTC).date() - timedelta(days=29)).isoformat(),
            "last_day": today(),
            "total_cost_usd": 0.3,
            "total_settled_cost_usd": 0.3,
            "stored": False,
        }
        assert (await usage(api, "bob"))["data"] == [row | of_bob]
        everyone = await usage(api, "eve")
        assert everyone["data"] == [row | of_ann, row | of_bob]
        assert everyone["total_cost_usd"] == 0.6
        assert (await usage(api, "eve", "?to=2026-01-01"))["data"] == []
        assert (await usage(api, "eve", f"?from={today()}&to={today()}"))["data"] == everyone["data"]


@pytest.mark.parametrize(
    ("query", "where", "what"),
    [
        ("from=yesterday", "query.from", "must be a day (UTC) such as 2026-01-31, not 'yesterday'"),
        ("to=2026-02-30", "query.to", "must be a day"),
        ("to=2026-W01-1", "query.to", "must be a day"),
        ("from=2026-02-02&to=2026-02-01", "query.from", "is after to (2026-02-01)"),
        ("from=2020-02-02&to=2026-02-01", "query.from", "more than 366 days"),
        ("to=2026-02-01&to=2026-02-02", "query.to", "is given twice"),
        ("form=2026-02-02", "query.form", "did you mean 'from'?"),
    ],
)
async def test_a_period_that_cannot_be_meant_is_a_422_that_says_why(
    api: Api, query: str, where: str, what: str
) -> None:
    response, body = await api.request("GET", f"/usage?{query}")
    (detail,) = json.loads(body)["details"]
    assert (response.status, detail["where"]) == (422, where)
    assert what in detail["what"]


async def test_the_first_and_the_last_days_there_are_can_be_asked_for(api: Api) -> None:
    for query in ("to=0001-01-01", "from=9999-01-01&to=9999-12-31"):
        response, _ = await api.request("GET", f"/usage?{query}")
        assert response.status == 200


async def test_the_cost_of_a_cut_answer_shows_as_reserved_until_it_is_found(
    config: Config, upstream: Sandbox
) -> None:
    async with serving_for(config, Caller("ann", budget_usd_per_day=Decimal(1))) as api:
        reserved = float(costs_at_most({**BODY, "model": "sandbox/hangs-up", "sandbox": {"tokens_per_s": 0}}))
        await post(api, "ann", model="sandbox/hangs-up", sandbox={"tokens_per_s": 0})
        before = await usage(api, "ann")
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        assert before["budget"] == {
            "limit_usd": 1.0,
            "spent_usd": 0.0,
            "reserved_usd": reserved,
            "resets_at": f"{tomorrow}T00:00:00+00:00",
        }
        assert (before["data"][0]["cost_usd"], before["data"][0]["unsettled"]) == (reserved, 1)
        await asyncio.gather(*api.streams._settler._tasks)
        after = await usage(api, "ann")
        assert after["budget"]["reserved_usd"] == 0
        assert 0 < after["budget"]["spent_usd"] == after["data"][0]["settled_cost_usd"] < reserved
        assert after["data"][0]["unsettled"] == 0


# -- limits -------------------------------------------------------------------------------------------------------


async def test_a_thousand_parallel_calls_against_a_budget_for_ten(config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script_always(answer(0.0001, COMMENT, Hold(go_on)))
    config = changed(config, "streams", max_active=2000)
    ann = Caller("ann", budget_usd_per_day=costs_at_most(BODY) * 10)
    async with (
        serving_for(config, ann) as api,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=bearer("ann")) as http,
    ):
        statuses: Counter[int] = Counter()
        all_judged = asyncio.Event()

        async def call() -> None:
            async with http.post(f"{api.url}/chat", json=BODY) as response:
                statuses[response.status] += 1
                if statuses.total() == 1000:
                    all_judged.set()
                await response.read()

        calls = [asyncio.create_task(call()) for _ in range(1000)]
        async with asyncio.timeout(60):
            await all_judged.wait()
            assert statuses == {200: 10, 429: 990}
            go_on.set()
            await asyncio.gather(*calls)
        assert len(upstream.calls) == 10
        budget = (await usage(api, "ann"))["budget"]
        assert (budget["spent_usd"], budget["reserved_usd"]) == (0.001, 0)


TEXT = "x" * 90_000
LONG, SHORT = question(model=MODEL, message=TEXT, max_tokens=1), question(model=MODEL, message="x")


@pytest.mark.parametrize(
    ("body", "like"),
    [
        (LONG, LONG),
        ({"message": "data:" + TEXT}, LONG),
        ({"messages": [{"role": "user", "type": "file", "content": TEXT}]}, LONG),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "text": TEXT}]}]}, LONG),
        ({"message": "x", "response_format": {"x": TEXT}}, LONG),
        ({"message": "x", "max_tokens": "1"}, SHORT),
        ({"message": "x", "max_tokens": 1, "max_completion_tokens": 1_000_000}, SHORT),
    ],
    ids=["plain", "data", "file", "image", "response_format", "text limit", "two limits"],
)
async def test_nothing_in_a_request_makes_it_look_cheaper_than_it_is(
    config: Config, upstream: Sandbox, body: dict[str, Any], like: dict[str, Any]
) -> None:
    """break-it 7: of twenty answers at once that may take most of a budget each, one runs."""
    go_on = asyncio.Event()
    upstream.script_always(answer(0.001, COMMENT, Hold(go_on)))
    config = changed(config, "server", max_body_bytes=1_000_000)
    async with serving_for(config, Caller("ann", budget_usd_per_day=costs_at_most(like) * Decimal("1.5"))) as api:

        async def call() -> int:
            async with api.http.post(
                f"{api.url}/chat", json={"model": MODEL, "max_tokens": 1, **body}, headers=bearer("ann")
            ) as response:
                if response.status == 429:
                    refused.release()
                await response.read()
                return response.status

        refused = asyncio.Semaphore(0)
        calls = [asyncio.create_task(call()) for _ in range(20)]
        for _ in range(19):
            await refused.acquire()
        go_on.set()
        assert Counter(await asyncio.gather(*calls)) == {200: 1, 429: 19}


async def test_a_used_up_budget_is_a_429_that_says_what_was_spent_and_when_it_resets(
    config: Config, upstream: Sandbox
) -> None:
    upstream.script(answer(0.75))
    async with serving_for(config, Caller("ann", budget_usd_per_day=Decimal("0.5"))) as api:
        await post(api, "ann")
        status, refusal, retry_after = await post(api, "ann")
        assert (status, refusal["type"], refusal["retryable"]) == (429, "too_many_requests", True)
        assert "has spent 0.75 USD of its budget of 0.50 USD a day; it resets at" in refusal["error"]
        assert 0 < int(retry_after or 0) <= 86_400
        assert (await post(api, "ann", model="sandbox/rate-limited"))[0] != 403
        whole = await api.http.post(f"{api.url}/chat?stream=false", json=BODY, headers=bearer("ann"))
        assert whole.status == 429


async def test_a_model_that_is_not_on_the_list_is_a_403_that_names_the_list(config: Config) -> None:
    async with serving_for(config, Caller("ann", models=("sandbox/e*",))) as api:
        for more in ({}, {"model": "sandbox/echo", "fallbacks": MODEL}):
            status, refusal, _ = await post(api, "ann", **more)
            assert (status, refusal["type"]) == (403, "forbidden")
            assert refusal["error"] == "ann may not use sandbox/long; allowed: sandbox/e*."


async def test_starts_above_the_limit_of_a_minute_are_told_when_to_come_back(
    config: Config, upstream: Sandbox
) -> None:
    upstream.script_always(answer(0))
    async with serving_for(config, Caller("ann", requests_per_minute=2)) as api:
        assert [(await post(api, "ann"))[0] for _ in range(3)] == [200, 200, 429]
        assert 55 <= int((await post(api, "ann"))[2] or 0) <= 60


@pytest.mark.parametrize("way", ["disconnect", "delete"])
async def test_a_place_is_free_again_when_the_answer_was_left_or_stopped(
    config: Config, upstream: Sandbox, way: str
) -> None:
    upstream.script(answer(0, COMMENT, chunk({"content": "x"}), Hold(asyncio.Event())))
    async with serving_for(config, Caller("ann", max_concurrent=1)) as api:
        async with api.http.post(f"{api.url}/chat", json=BODY, headers=bearer("ann")) as response:
            await response.content.readany()
            assert (await post(api, "ann"))[0] == 429
            if way == "delete":
                url = api.url + response.headers["Location"]
                assert (await api.http.delete(url, headers=bearer("ann"))).status == 200
        (stream,) = api.streams.kept_of("ann")
        async with asyncio.timeout(5):
            await stream.ended.wait()
        upstream.script(answer(0))
        assert (await post(api, "ann"))[0] == 200


async def test_limits_bind_the_tools_as_they_bind_chat_and_a_reload_binds_the_next_call(
    config: Config, upstream: Sandbox
) -> None:
    upstream.script_always(answer(0))
    async with serving_for(config, Caller("ann", requests_per_minute=1)) as api:
        assert (await post(api, "ann"))[0] == 200
        assert "may start 1 answers a minute" in await _call_tool(api)
        api.app[SETTINGS].current = called(config, Caller("ann", requests_per_minute=9))
        assert "x" in await _call_tool(api)
        assert (await post(api, "ann"))[0] == 200
        assert (await usage(api, "ann"))["data"][0]["requests"] == 3


async def _call_tool(api: Api) -> str:
    async with connected(api.url, token="secret-of-ann") as mcp:
        return text_of(await mcp.call_tool("llm_chat", {"prompt": "Why?", "model": MODEL}))


# -- restarts -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def process(upstream: Sandbox, folder: Path, budget: Decimal | str) -> AsyncIterator[ServerProcess]:
    """The product as a process that keeps its state in that folder."""
    settings = folder / "config.toml"
    settings.write_text(
        f'[[callers]]\nname = "ann"\ntoken_sha256 = "{hash_token("secret-of-ann")}"\nbudget_usd_per_day = {budget}\n'
    )
    env = {"OPENROUTER_BASE_URL": upstream.base_url, "STATE_DIR": str(folder), "OPENROUTER_MAX_RETRIES": "0"}
    async with running_server("--config", str(settings), env=env) as server:
        yield server


async def spent(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    async with http.get(f"{server.url}/usage") as response:
        found: dict[str, Any] = await response.json()
    assert found["stored"]
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_what_was_spent_today_survives_a_restart(tmp_path: Path, number: int) -> None:
    async with (
        open_sandbox() as upstream,
        aiohttp.ClientSession(headers=bearer("ann")) as http,
        asyncio.timeout(30),
    ):
        upstream.script(answer(0.4), answer(0.2))
        async with process(upstream, tmp_path, "0.5") as server:
            async with http.post(f"{server.url}/chat", json=BODY) as response:
                await response.read()
            if number == signal.SIGKILL:
                await asyncio.sleep(1)  # the time that a kill may cost
            await server.stop(number)
        async with process(upstream, tmp_path, "0.5") as server:
            assert (await spent(http, server))["budget"]["spent_usd"] == 0.4
            async with http.post(f"{server.url}/chat", json=BODY) as response:
                await response.read()
            async with http.post(f"{server.url}/chat", json=BODY) as response:
                assert response.status == 429
                assert "has spent 0.60 USD" in (await response.json())["error"]
            assert (await spent(http, server))["data"][0]["requests"] == 2


async def test_an_answer_that_was_running_when_the_process_was_killed_is_settled_by_the_next(tmp_path: Path) -> None:
    async with (
        open_sandbox(settle_s=0) as upstream,
        aiohttp.ClientSession(headers=bearer("ann")) as http,
        asyncio.timeout(30),
    ):
        async with (
            process(upstream, tmp_path, "5") as server,
            http.post(f"{server.url}/chat", json=BODY) as response,
        ):
            await response.content.readany()
            await asyncio.sleep(1)  # the time that a kill may cost
            reserved = (await spent(http, server))["budget"]["reserved_usd"]
            await server.stop(signal.SIGKILL)
        async with process(upstream, tmp_path, "5") as server:
            found = await spent(http, server)
            assert (found["budget"]["spent_usd"], found["budget"]["reserved_usd"]) == (0, reserved)
            assert found["data"][0]["unsettled"] == 1
            while found["data"][0]["unsettled"]:
                await asyncio.sleep(0.1)
                found = await spent(http, server)
            assert 0 < found["budget"]["spent_usd"] == found["data"][0]["settled_cost_usd"] < reserved
            assert found["budget"]["reserved_usd"] == 0
            assert found["data"][0]["requests"] == 1


async def test_a_folder_that_cannot_be_used_costs_the_history_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    async with open_sandbox() as upstream, aiohttp.ClientSession(headers=bearer("ann")) as http:
        upstream.script(answer(0.75))
        env = {"OPENROUTER_BASE_URL": upstream.base_url, "STATE_DIR": str(tmp_path / "state")}
        async with running_server(env={**env, "SERVER_TOKENS": "secret-of-ann"}) as server:
            async with http.post(f"{server.url}/chat", json=BODY) as response:
                assert response.status == 200
                await response.read()
            async with http.get(f"{server.url}/usage") as response:
                found = await response.json()
            assert (found["total_cost_usd"], found["stored"]) == (0.75, False)
            async with http.get(f"{server.url}/usage", headers={"Authorization": "Bearer wrong"}) as response:
                assert response.status == 401
            assert await server.stop() == 0
    assert server.output.count(b"cannot be used") == 1
    assert b"state is not a folder" in server.output

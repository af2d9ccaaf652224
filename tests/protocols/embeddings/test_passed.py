"""Embeddings are passed on and back unchanged, and are bounded, counted and refused as answers are."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import openai
import pytest

from client.config import PROTOCOLS
from client.sandbox import Hold, Reply, Sandbox
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from tests.mcp.test_node import NODE, needed, run
from tests.support.completions import MOUNTS
from tests.support.process import ROOT, running_server
from tests.support.serving import KEY, Api, changed, serving

PATH = "/embeddings"
ASKED = {"model": "acme/e", "input": ["Ünï", "b"], "encoding_format": "float", "input_type": "query", "odd": {"a": 1}}
TOLD = (
    b'{"object":"list", "data":[{"object":"embedding","index":0,"embedding":[0.10,-1e-05]}],\r\n\r\n'
    b' "model":"acme/e-1","id":"gen-1","usage":{"prompt_tokens":4,"total_tokens":4,"cost":0.25}}'
)
TOKEN = "a-token-of-somebody-with-a-budget"


@pytest.fixture
def config(config: Config) -> Config:
    """An upstream that has all protocols."""
    return changed(config, "upstream", protocols=PROTOCOLS)


def reply(body: bytes = TOLD) -> Reply:
    return Reply.raw(body, content_type="application/json")


async def embed(
    api: Api, mount: str = "/v1", headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with api.http.post(f"{api.url}{mount}{PATH}", json={**ASKED, **more}, headers=headers) as response:
        return response, await response.read()


@pytest.mark.parametrize("mount", MOUNTS)
async def test_request_and_reply_are_passed_on_unchanged(mount: str, api: Api, upstream: Sandbox) -> None:
    upstream.script(reply(), path=PATH)
    response, body = await embed(api, mount, {"X-Title": "app", "Cookie": "a=b"})
    assert response.status == 200
    assert response.content_type == "application/json"
    assert body.split() == TOLD.split()
    assert json.loads(body) == json.loads(TOLD)
    call = upstream.calls[0]
    assert call.json == ASKED
    assert call.headers["Accept"] == "application/json"
    assert call.headers["X-Title"] == "app"
    assert "Cookie" not in call.headers
    assert response.headers["X-Generation-Id"] == "gen-1"
    stream = api.streams.kept_of("local", 1)[0]
    assert response.headers["X-Stream-Id"] == stream.id
    assert (stream.protocol, stream.finish_reason, stream.model) == ("embeddings", "stop", "acme/e-1")
    assert stream.settlement.total_cost == 0.25


async def test_one_key_is_one_bill(api: Api, upstream: Sandbox) -> None:
    upstream.script_always(reply(), path=PATH)
    key = {"Idempotency-Key": "an-embedding-asked-for-twice"}
    first, again = await embed(api, headers=key), await embed(api, headers=key)
    assert first[1] == again[1]
    assert len(upstream.calls) == 1
    other, _ = await embed(api, headers=key, input="c")
    assert other.status == 400


@pytest.mark.parametrize(
    ("more", "field"),
    [({"input": None}, "input"), ({"input": ""}, "input"), ({"input": []}, "input"), ({"model": ""}, "model")],
)
async def test_what_cannot_be_asked_is_told_by_its_field(
    more: dict[str, Any], field: str, api: Api, upstream: Sandbox
) -> None:
    response, body = await embed(api, **more)
    error = json.loads(body)["error"]
    assert (response.status, error["param"]) == (400, field)
    assert not upstream.calls


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (Reply.error(402, "This request requires more credits"), 402),
        (Reply.error(400, "acme/e is not a valid model ID"), 404),
        (reply(b'{"error":{"code":429,"message":"Slow down"}}'), 429),
        (reply(b"{}"), 502),
        (reply(b'{"data":"x"}'), 502),
        (reply(b""), 502),
        (reply(TOLD[:60]), 502),
        (Reply.raw(b"<html>", content_type="text/html"), 502),
    ],
)
async def test_a_failure_is_told_in_the_words_of_the_mount(
    said: Reply, status: int, mount: str, config: Config, upstream: Sandbox
) -> None:
    upstream.script_always(said, path=PATH)
    async with serving(changed(config, "upstream", max_retries=0)) as api:
        response, body = await embed(api, mount)
    error = json.loads(body)["error"]
    assert response.status == status
    assert KEY not in body.decode()
    assert "metadata" in error
    assert (error["code"] == status) is (mount == "/api/v1")


async def test_a_reply_that_is_too_large_is_refused(config: Config, upstream: Sandbox) -> None:
    upstream.script(reply(TOLD + b" " * 5000), path=PATH)
    async with serving(changed(config, "upstream", max_event_bytes=4000)) as api:
        response, body = await embed(api)
    assert response.status == 502
    assert "4000" in json.loads(body)["error"]["message"]


async def test_whoever_leaves_is_not_waited_for(api: Api, upstream: Sandbox) -> None:
    upstream.script(reply().after(Hold()), path=PATH)
    asking = asyncio.create_task(embed(api))
    call = await upstream.wait_call()
    asking.cancel()
    async with asyncio.timeout(10):
        await call.closed.wait()
    assert call.cancelled


@pytest.fixture
async def limited(config: Config) -> AsyncIterator[Api]:
    """A server with one caller, who has a budget and models of its own."""
    caller = Caller("bob", hash_token(TOKEN), budget_usd_per_day=Decimal(1), models=("acme/*",))
    async with serving(config.model_copy(update={"callers": (caller,)})) as api:
        api.http.headers["Authorization"] = f"Bearer {TOKEN}"
        yield api


async def budget(api: Api) -> tuple[float, float]:
    """Spent and reserved, USD."""
    async with api.http.get(f"{api.url}/usage") as response:
        found = (await response.json())["budget"]
    return found["spent_usd"], found["reserved_usd"]


async def test_a_budget_is_held_before_and_settled_after(limited: Api, upstream: Sandbox) -> None:
    hold = Hold()
    upstream.script(reply().after(hold), path=PATH)
    asking = asyncio.create_task(embed(limited))
    await upstream.wait_call()
    spent, reserved = await budget(limited)
    assert spent == 0
    assert 0 < reserved < 0.01, "what is read alone: nothing is written"
    hold.until.set()
    assert (await asking)[0].status == 200
    assert await budget(limited) == (0.25, 0)
    upstream.script_always(reply(), path=PATH)
    for _ in range(3):
        assert (await embed(limited))[0].status == 200
    response, body = await embed(limited)
    assert response.status == 429
    assert "budget" in json.loads(body)["error"]["message"]


async def test_other_models_are_not_the_callers(limited: Api, upstream: Sandbox) -> None:
    response, _ = await embed(limited, model="other/e")
    assert response.status == 403
    assert not upstream.calls


async def test_what_upstream_does_not_price_is_estimated_by_what_is_read(limited: Api, upstream: Sandbox) -> None:
    told = json.loads(TOLD)
    del told["usage"], told["id"]
    upstream.script(reply(json.dumps(told).encode()), path=PATH)
    assert (await embed(limited))[0].status == 200
    spent, reserved = await budget(limited)
    assert (0 < spent < 0.01, reserved) == (True, 0)


def floats(packed: str) -> list[float]:
    raw = base64.b64decode(packed)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


async def test_the_sandbox_gives_numbers_that_depend_on_the_text_alone(api: Api) -> None:
    async def numbers(**more: Any) -> list[Any]:
        response, body = await embed(api, model="sandbox/embedder", **more)
        assert response.status == 200
        return [each["embedding"] for each in json.loads(body)["data"]]

    first, second = await numbers()
    assert first != second
    assert await numbers(input="b") == [second]
    [packed] = await numbers(input="b", encoding_format="base64")
    assert floats(packed) == pytest.approx(second, abs=1e-6)
    assert len((await numbers(dimensions=7))[0]) == 7
    assert len(await numbers(input=[1, 2, 3])) == 1
    assert len(await numbers(input=[[1, 2], [3]])) == 2
    wrongs: list[dict[str, Any]] = [{"dimensions": 0}, {"input": [None]}, {"model": "sandbox/echo"}]
    for wrong in wrongs:
        assert (await embed(api, **{"model": "sandbox/embedder", **wrong}))[0].status in (400, 404)
    async with api.http.get(f"{api.url}/v1/embeddings/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["sandbox/embedder"]


SCRIPT = ROOT / "tests" / "support" / "clients" / "embeddings.mjs"


async def test_the_openai_clients_for_python_and_node_read_them() -> None:
    """And the older completions."""
    needed("openai")
    async with running_server("--sandbox") as server:
        for mount in MOUNTS:
            async with openai.AsyncOpenAI(base_url=server.url + mount, api_key="none", max_retries=0) as client:
                found = await client.embeddings.create(model="sandbox/embedder", input=["a", "b"])
                assert [len(each.embedding) for each in found.data] == [32, 32]
                assert found.usage.total_tokens == 1
                with pytest.raises(openai.NotFoundError):
                    await client.embeddings.create(model="sandbox/echo", input="a")
            code, printed = await run(NODE, SCRIPT, server.url + mount)
            assert code == 0
            told = json.loads(printed)
            assert told["sizes"] == [32, 32]
            assert told["usage"]["cost"] > 0
            assert told["streamed"] == told["whole"]["choices"][0]["text"] == "1 2 3 "

"""The same over HTTP, where callers have budgets and no files are touched."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from client.sandbox import Sandbox
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from tests.mcp.test_http import connected
from tests.support.mcp.clients import ERAS, Era, answer, data_of, text_of
from tests.support.serving import serving

TOKEN = "token-of-ann"


@pytest.mark.parametrize("era", ERAS)
async def test_options_several_models_and_going_on(config: Config, upstream: Sandbox, era: Era) -> None:
    """G4, G5, G6, G7, and G1 the other way round."""
    async with asyncio.timeout(60), serving(config) as api, connected(api.url, era) as client:
        upstream.script(answer("{}"), answer("A"), answer("B"))
        options = {"zdr": True, "response_format": {"type": "json_object"}}
        first = await client.call_tool("llm_chat", {"prompt": "one", "model": "acme/m", "options": options})
        assert data_of(first)["parsed"] == {}
        arguments = {"continue": data_of(first)["stream_id"], "prompt": "two", "models": ["acme/m", "other/m"]}
        second = await client.call_tool("llm_chat", {**arguments, "options": {"response_format": None}})
        assert {each["model"]: each["text"] for each in data_of(second)["answers"]}.keys() == {"acme/m", "other/m"}
        sent = [each.json for each in upstream.calls]
        assert [each["provider"] for each in sent] == [{"zdr": True}] * 3
        assert ["response_format" in each for each in sent] == [True, False, False]
        assert [len(each["messages"]) for each in sent] == [1, 3, 3]
        for more in ({"files": ["/etc/passwd"]}, {"save_to": "/tmp"}):
            refused = await client.call_tool("llm_chat", {"prompt": "x", **more})
            assert refused.is_error
            assert "touches no files" in text_of(refused)
    assert len(upstream.calls) == 3


async def test_a_callers_budget_and_models_hold_for_each_of_several(config: Config, upstream: Sandbox) -> None:
    caller = Caller("ann", hash_token(TOKEN), models=("acme/*",), budget_usd_per_day=Decimal("0.1"))
    limited = config.model_copy(update={"callers": (caller,)})
    arguments = {"prompt": "x", "models": ["acme/a", "other/b", "acme/c"]}
    upstream.script(answer("A"))
    async with asyncio.timeout(60), serving(limited) as api, connected(api.url, token=TOKEN) as client:
        result = await client.call_tool("llm_chat", arguments)
    first, second, third = data_of(result)["answers"]
    assert first["text"] == "A"
    assert "other/b" in second["error"]
    assert "budget" in third["error"]
    assert len(upstream.calls) == 1


async def test_another_caller_cannot_go_on_with_an_answer(config: Config, upstream: Sandbox) -> None:
    callers = (Caller("ann", hash_token(TOKEN)), Caller("ben", hash_token("token-of-ben")))
    async with asyncio.timeout(60), serving(config.model_copy(update={"callers": callers})) as api:
        upstream.script(answer("A"))
        async with connected(api.url, token=TOKEN) as client:
            first = await client.call_tool("llm_chat", {"prompt": "secret", "model": "acme/m"})
        async with connected(api.url, token="token-of-ben") as client:
            arguments = {"prompt": "x", "continue": data_of(first)["stream_id"]}
            assert "no stream" in text_of(await client.call_tool("llm_chat", arguments))
    assert len(upstream.calls) == 1

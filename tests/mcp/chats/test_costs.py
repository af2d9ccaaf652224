"""A price before, a cap for a call, and a budget for a process."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from client.models.costs import estimate_nano_usd, nano_usd
from client.sandbox import Hold, Reply, Sandbox, chunk
from mcp_app.chats.cap import Cap, capped, shares
from mcp_app.results.failures import ToolFailure
from server.budgets.process_budget import ProcessBudget
from tests.mcp.test_stdio import environment, hosting
from tests.support.mcp.clients import answer, call, data_of, in_memory, text_of

CHEAP = {"id": "acme/cheap", "context_length": 1000, "pricing": {"prompt": "0.000001", "completion": "0.00001"}}
DEAR = {"id": "acme/dear", "context_length": 1000, "pricing": {"prompt": "0.001", "completion": "0.01"}}


def known(model_id: str) -> dict[str, Any] | None:
    return {"acme/cheap": CHEAP, "acme/dear": DEAR}.get(model_id)


def body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


async def test_get_model_tells_what_so_many_tokens_cost(upstream: Sandbox) -> None:
    """G8."""
    arguments = {"model_id": "sandbox/echo", "prompt_tokens": "1000000", "completion_tokens": 500_000}
    result = await call(upstream, "get_model", arguments)
    data = data_of(result)
    wanted = Decimal(str(data["prompt_usd_per_m"])) + Decimal(str(data["completion_usd_per_m"])) / 2
    assert data["estimate"]["cost_usd"] == float(wanted)
    assert data["endpoints"][0]["estimate_usd"] == float(wanted)
    assert f"cost_usd: {float(wanted)}" in text_of(result)
    assert "estimate" not in data_of(await call(upstream, "get_model", {"model_id": "sandbox/echo"}))


async def test_get_model_refuses_negative_numbers(upstream: Sandbox) -> None:
    result = await call(upstream, "get_model", {"model_id": "sandbox/echo", "prompt_tokens": -1})
    assert result.is_error


def test_a_cap_that_is_wide_enough_changes_nothing() -> None:
    asked = body("acme/cheap")
    assert capped(asked, Cap(10**9, "x"), known) == (asked, False)


def test_a_cap_limits_the_tokens_of_an_answer_to_what_it_allows_for() -> None:
    cap = nano_usd(0.005)
    assert cap is not None
    limited, is_limited = capped(body("acme/cheap"), Cap(cap, "max_cost_usd"), known)
    assert is_limited
    tokens = limited["max_tokens"]
    assert 400 < tokens < 500  # 10 USD a million: 0.005 USD are 500 tokens, less the prompt
    [share] = shares([limited], Cap(cap, "max_cost_usd"), known)
    assert share.nano <= cap


@pytest.mark.parametrize("nano", [900_000, 1_000_000, 3_333_333, 9_999_999])
@pytest.mark.parametrize("more", [{}, {"reasoning": {"effort": "high"}}, {"n": 2}, {"stop": ["x"] * 3}])
@pytest.mark.parametrize("model", ["acme/cheap", "acme/unknown"])
def test_what_was_limited_costs_no_more_than_the_cap_with_the_limit_in_it(
    model: str, more: dict[str, Any], nano: int
) -> None:
    """What a process may still spend admits what was limited to it."""
    nano *= 40 if model == "acme/unknown" else 1
    limited, is_limited = capped(body(model, **more), Cap(nano, "x"), known)
    assert is_limited
    assert 0.98 * nano < estimate_nano_usd(limited, known) <= nano
    budget = ProcessBudget(nano)
    budget.known = known
    budget.grant(limited)


@pytest.mark.parametrize("more", [{}, {"max_tokens": 900}, {"reasoning": {"max_tokens": 900}}])
def test_what_no_cap_allows_for_is_refused_with_figures(more: dict[str, Any]) -> None:
    with pytest.raises(ToolFailure, match=r"USD") as refused:
        capped(body("acme/dear", **more), Cap(nano_usd(0.01) or 0, "max_cost_usd"), known)
    assert "max_cost_usd is 0.01 USD" in str(refused.value)


def test_several_share_one_cap_and_the_cheap_leave_the_rest_to_the_dear() -> None:
    cap = Cap(nano_usd(1.0) or 0, "max_cost_usd")
    cheap, dear = shares([body("acme/cheap", max_tokens=10), body("acme/dear")], cap, known)
    assert cheap.nano < nano_usd(0.001)  # type: ignore[operator]
    assert cheap.nano + dear.nano <= cap.nano
    assert dear.nano > nano_usd(0.99)  # type: ignore[operator]


async def test_a_call_is_not_sent_when_it_may_cost_more_than_it_may(upstream: Sandbox) -> None:
    """G8."""
    arguments = {"prompt": "hi", "model": "sandbox/echo", "max_cost_usd": 1e-8}
    result = await call(upstream, "llm_chat", arguments)
    assert result.is_error
    assert "max_cost_usd" in text_of(result)
    assert "get_model" in text_of(result)
    assert not upstream.calls
    assert (await call(upstream, "llm_chat", {**arguments, "max_cost_usd": 0})).is_error
    assert not (await call(upstream, "llm_chat", {**arguments, "max_cost_usd": 5})).is_error
    assert "max_tokens" not in upstream.calls[0].json


async def test_an_answer_that_the_cap_cuts_says_so(upstream: Sandbox) -> None:
    upstream.script(answer("cut", finish_reason="length"))
    arguments = {"prompt": "hi", "model": "acme/unknown", "max_cost_usd": 0.01}
    result = await call(upstream, "llm_chat", arguments)
    assert upstream.calls[0].json["max_tokens"] > 16
    assert "Cut off by max_cost_usd" in text_of(result)


async def test_several_models_are_held_to_one_cap(upstream: Sandbox) -> None:
    arguments = {"prompt": "hi", "models": ["acme/a", "acme/b"], "max_cost_usd": 0.02}
    upstream.script(answer("a"), answer("b"))
    result = await call(upstream, "llm_chat", arguments)
    assert not result.is_error
    single = 0.01 / 75e-6  # unknown models are reckoned at 75 USD a million
    assert all(each.json["max_tokens"] <= single for each in upstream.calls)


async def test_a_process_spends_no_more_than_its_budget(upstream: Sandbox) -> None:
    """G8."""
    upstream.script(answer("one"), answer("two"))  # 0.25 USD each
    limits = environment(upstream, MCP_BUDGET_USD="0.3")
    async with hosting(limits) as host:
        await host.initialize()
        await host.call("llm_chat", {"prompt": "hi", "model": "sandbox/echo"})
        first = (await host.wait_result(1))["result"]
        assert first["structuredContent"]["text"] == "one"
        await host.call("llm_chat", {"prompt": "hi", "model": "acme/unknown", "max_tokens": 2000}, 2)
        refused = (await host.wait_result(2))["result"]
        assert refused["isError"]
        assert "MCP_BUDGET_USD" in refused["content"][0]["text"]
        await host.call("account", {}, 3)
        budget = (await host.wait_result(3))["result"]["structuredContent"]["budget"]
    assert budget == {"limit_usd": 0.3, "spent_usd": 0.25, "reserved_usd": 0.0, "left_usd": 0.05}
    assert len(upstream.calls) == 1


async def test_a_budget_holds_for_answers_at_once(upstream: Sandbox) -> None:
    budget = ProcessBudget(nano_usd(1.0) or 0)
    async with asyncio.timeout(30), in_memory(upstream, admit=budget.admit) as client:
        arguments = {"prompt": "hi", "model": "acme/a", "max_tokens": 10_000, "wait_s": 0.1}
        upstream.script(Reply.stream(chunk({"content": "x"}), Hold()))
        running = await client.call_tool("llm_chat", arguments)
        assert budget.reserved_nano > 0.7 * budget.limit_nano
        refused = await client.call_tool("llm_chat", arguments)
        assert "MCP_BUDGET_USD" in text_of(refused)
        await client.call_tool("llm_chat_stop", {"stream_id": data_of(running)["stream_id"]})

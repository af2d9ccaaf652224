"""Sums of money, and what an answer may cost before anybody knows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.models.costs import NANOS, budget_nano_usd, estimate_nano_usd, models_of, nano_usd, tokens_nano_usd, usd

CHEAP = {"id": "a/cheap", "pricing": {"prompt": "0.000001", "completion": "0.000002"}, "context_length": 1000}
DEAR = {
    "id": "a/dear",
    "pricing": {"prompt": "0.00001", "completion": "0.0001", "request": "0.01", "web_search": "0.02"},
    "top_provider": {"context_length": 100_000, "max_completion_tokens": 4000},
}
FREE = {"id": "a/free", "pricing": {"prompt": "0", "completion": "0"}}
ROUTER = {"id": "a/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
KNOWN: dict[str, dict[str, Any]] = {model["id"]: model for model in (CHEAP, DEAR, FREE, ROUTER)}  # type: ignore[misc]


def estimate(**body: Any) -> int:
    return estimate_nano_usd(body, KNOWN.get)


@pytest.mark.parametrize(
    ("value", "nano"),
    [
        (6e-7, 600),
        (0.1 + 0.2, 300_000_000),
        (1, NANOS),
        (Decimal("5"), 5 * NANOS),
        (0, 0),
        (999.999999999, 999_999_999_999),
        (1234.5, 1_234_500_000_000),
        (1e300, 10_000 * NANOS),
        (-0.1, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("1", None),
        (None, None),
    ],
)
def test_a_sum_is_whole_nano_dollars_or_none(value: object, nano: int | None) -> None:
    assert nano_usd(value) == nano


@pytest.mark.parametrize(
    ("budget", "nano"),
    [
        (None, None),
        (Decimal("0.5"), NANOS // 2),
        (Decimal(25_000), 25_000 * NANOS),
        (Decimal(0), 0),
        (Decimal(-1), 0),
        (Decimal("NaN"), 0),
        (Decimal("Infinity"), 0),
    ],
)
def test_a_budget_is_as_large_as_it_says_and_nothing_where_it_says_nothing(
    budget: Decimal | None, nano: int | None
) -> None:
    assert budget_nano_usd(budget) == nano


@given(st.integers(0, 10_000 * NANOS))
def test_a_sum_survives_the_way_out_as_json_and_back(nano: int) -> None:
    assert nano_usd(json.loads(json.dumps(usd(nano)))) == nano


@given(st.lists(st.decimals(0, 10, places=9), max_size=50))
def test_many_small_sums_add_up_exactly(sums: list[Decimal]) -> None:
    assert sum(nano_usd(each) or 0 for each in sums) == int(sum(sums) * NANOS)


def test_an_estimate_is_the_prompt_and_as_many_tokens_as_may_come() -> None:
    body = {"model": "a/cheap", "messages": [{"role": "user", "content": "x" * 300}], "max_tokens": 10}
    prompt = -(-len(msgspec.json.encode(body)) // 3) * 1_000
    assert estimate(**body) == prompt + 10 * 2_000
    assert made(model="a/cheap") == 1000 * 2_000  # the context is all there is


def made(**body: Any) -> int:
    """What the tokens of an answer are expected to cost, without those of the prompt."""
    free_prompt = {name: model | {"pricing": {**model["pricing"], "prompt": "0"}} for name, model in KNOWN.items()}
    return estimate_nano_usd(body, free_prompt.get)


ODD: tuple[Any, ...] = (0, -1, True, "10", 10.5, 1e300, 10**400, [10], {})


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10.0}, 10),
        ({"max_completion_tokens": 10, "max_tokens": None}, 10),
        ({"max_completion_tokens": 5, "max_tokens": 10}, 10),
        ({"max_completion_tokens": 10, "max_tokens": 5}, 10),
        ({"max_output_tokens": 10}, 10),
        ({"max_tokens": 10, "reasoning": {"max_tokens": 100}}, 110),
        ({"max_tokens": 10, "reasoning": {"max_tokens": 0, "effort": "none"}}, 10),
        ({"max_tokens": 10, "reasoning": {"max_tokens": "100"}}, 4000),
        ({"max_tokens": 10, "reasoning": {"max_tokens": -1}}, 4000),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "n": 3.0, "best_of": 4}, 40),
        *[({"max_tokens": value}, 4000) for value in ODD],
        ({"max_completion_tokens": "9000", "max_tokens": 1}, 4000),
        ({}, 4000),
    ],
)
def test_an_answer_has_as_many_tokens_as_caller_and_model_allow_at_most(asked: dict[str, Any], tokens: int) -> None:
    """break-it 7: a limit of which nobody knows what upstream makes of it is none."""
    assert made(model="a/dear", **asked) == tokens * 100_000 + 10_000_000


def test_fees_for_a_request_and_for_a_search_are_added() -> None:
    plain = made(model="a/dear", max_tokens=1)
    assert made(model="a/dear", max_tokens=1, plugins=[{"id": "web"}]) == plain + 20_000_000
    assert made(model="a/dear", max_tokens=1, web_search_options={}) == plain + 20_000_000
    assert made(model="a/dear", max_tokens=1, tools=["web", 5, {"type": "function"}]) == plain
    assert made(model="a/dear", max_tokens=1, tools=[{}] * 2000) == plain + 20_000_000
    assert dear("a/dear:online") == dear("a/dear:nitro") + 20_010_000  # a longer name by one token


def dear(name: str) -> int:
    """What one token of that model costs at most, found under whatever name."""
    return estimate_nano_usd({"model": name, "max_tokens": 1}, lambda _: DEAR)


def test_of_several_models_the_dearest_counts() -> None:
    assert made(model="a/cheap", models=["a/free", "a/dear"], max_tokens=9) == made(model="a/dear", max_tokens=9)
    assert models_of({"model": "a", "models": ["b", "a", None]}) == ["a", "b"]
    assert models_of({"model": "a", "models": "b"}) == ["a", "b"]


def test_names_that_are_no_text_or_too_many_are_no_trouble() -> None:
    """break-it 7: several models, one of them not known."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert models_of({"model": "a", "models": [deep, 10**5000, {"x": 1}]}) == ["a", "list", "int", "dict"]
    unknown = 32_768 * 75_000
    for body in (
        {"models": [str(number) for number in range(100_000)]},
        {"models": ["a/free"] * 2_000},
        {"preset": "mine"},
        {"model": "a/free@preset/mine"},
        {"model": ""},
    ):
        assert unknown <= made(**{"model": "a/free", **body}) < 3 * unknown


def test_the_dearest_way_to_read_and_to_make_a_token_counts() -> None:
    pricing = {
        "prompt": "0.000001",
        "input_cache_write": "0.000002",
        "completion": "0",
        "internal_reasoning": "0.001",
    }
    model = {"id": "a/m", "pricing": pricing, "top_provider": {"max_completion_tokens": 7}}

    def costs(body: dict[str, Any]) -> int:
        return estimate_nano_usd({"model": "a/m", **body}, lambda name: model)

    text = {"type": "text", "text": "x" * 3000}
    plain = costs({"messages": [{"content": [text]}]})
    marked = costs({"messages": [{"content": [text | {"cache_control": {"type": "ephemeral"}}]}]})
    assert 1_000_000 + 7_000_000 < plain < 1_100_000 + 7_000_000
    assert 2_000_000 + 7_000_000 < marked < 2_200_000 + 7_000_000


def test_a_prompt_is_as_long_as_the_largest_context_at_most() -> None:
    model = DEAR | {"context_length": 200_000, "pricing": {"prompt": "0.00001", "completion": "0"}}
    body = {"model": "a/dear", "messages": [{"content": "x" * 3_000_000}]}
    assert estimate_nano_usd(body, lambda name: model) == 200_000 * 10_000


def test_a_free_model_costs_nothing() -> None:
    assert estimate(model="a/free", messages=[{"role": "user", "content": "x" * 9999}]) == 0


def test_an_unknown_or_variable_price_is_reckoned_high() -> None:
    assert made(model="no/such") == 32_768 * 75_000 + 15_000 * (-(-len(b'{"model":"no/such"}') // 3))
    assert made(model="a/auto") == 32_768 * 75_000
    assert made(model="a/auto", max_tokens=10) == 750_000


def test_no_estimate_is_beyond_what_the_ledger_can_hold() -> None:
    mad = {"id": "a/mad", "pricing": {"prompt": "9999", "completion": "9999"}}
    assert estimate_nano_usd({"model": "a/mad", "messages": ["x"]}, lambda name: mad) == 10_000 * NANOS


def test_tokens_cost_what_the_catalogue_says() -> None:
    assert tokens_nano_usd(CHEAP, 10, 20) == 10 * 1_000 + 20 * 2_000
    assert tokens_nano_usd(None, 1, 1) == 90_000
    assert tokens_nano_usd(None, 10**30, 1) == 10_000 * NANOS

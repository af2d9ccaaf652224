"""Sums of money, and what an answer may cost before anybody knows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.costs import NANOS, estimate_nano_usd, models_of, nano_usd, tokens_nano_usd, usd

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


@given(st.integers(0, 10_000 * NANOS))
def test_a_sum_survives_the_way_out_as_json_and_back(nano: int) -> None:
    assert nano_usd(json.loads(json.dumps(usd(nano)))) == nano


@given(st.lists(st.decimals(0, 10, places=9), max_size=50))
def test_many_small_sums_add_up_exactly(sums: list[Decimal]) -> None:
    assert sum(nano_usd(each) or 0 for each in sums) == int(sum(sums) * NANOS)


def test_an_estimate_is_the_prompt_and_as_many_tokens_as_may_come() -> None:
    messages = [{"role": "user", "content": "x" * 300}]
    prompt = (2 + 100 + 2) * 1_000  # names of the fields, text, role
    assert estimate(model="a/cheap", messages=messages, max_tokens=10) == prompt + 10 * 2_000
    assert estimate(model="a/cheap", messages=messages, max_completion_tokens=5, max_tokens=10) == prompt + 5 * 2_000
    assert estimate(model="a/cheap", messages=messages) == prompt + 1000 * 2_000  # the context is all there is


def test_the_limit_of_the_model_counts_when_it_is_below_that_of_the_caller() -> None:
    assert estimate(model="a/dear", max_tokens=10**9) == 4000 * 100_000 + 10_000_000
    assert estimate(model="a/dear", max_tokens=-1) == estimate(model="a/dear", max_tokens="many")


def test_fees_for_a_request_and_for_a_search_are_added() -> None:
    plain = estimate(model="a/dear", max_tokens=1)
    assert estimate(model="a/dear", max_tokens=1, plugins=[{"id": "web"}]) == plain + 20_000_000
    assert estimate(model="a/dear", max_tokens=1, web_search_options={}) == plain + 20_000_000


def test_of_several_models_the_dearest_counts() -> None:
    assert estimate(model="a/cheap", models=["a/free", "a/dear"], max_tokens=9) == estimate(
        model="a/dear", max_tokens=9
    )
    assert models_of({"model": "a", "models": ["b", "a", None]}) == ["a", "b"]
    assert models_of({"model": "a", "models": "b"}) == ["a", "b"]


def test_a_free_model_costs_nothing() -> None:
    assert estimate(model="a/free", messages=[{"role": "user", "content": "x" * 9999}]) == 0


def test_an_unknown_or_variable_price_is_reckoned_high() -> None:
    assert estimate(model="no/such") == estimate(model="a/auto") == 32_768 * 75_000
    assert estimate(model="no/such", max_tokens=10) == 750_000


def test_media_count_the_same_whatever_their_size() -> None:
    def picture(size: int) -> int:
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}}
        return estimate(model="a/dear", max_tokens=1, messages=[{"role": "user", "content": [part]}])

    assert picture(10) == picture(1_000_000) > 4_000 * 10_000


def test_text_in_any_script_counts_by_its_bytes() -> None:
    def tokens(text: str) -> int:
        return estimate(model="a/dear", max_tokens=1, messages=[{"content": text}])

    assert tokens("天" * 30) == tokens("x" * 90)
    assert tokens("\ud800") > 0


def test_a_prompt_nested_without_end_is_no_trouble() -> None:
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]
    assert estimate(model="a/dear", max_tokens=1, messages=nested) > 0


def test_no_estimate_is_beyond_what_the_ledger_can_hold() -> None:
    mad = {"id": "a/mad", "pricing": {"prompt": "1e30", "completion": "1e30"}}
    assert estimate_nano_usd({"model": "a/mad", "messages": ["x"]}, lambda name: mad) == 10_000 * NANOS


def test_tokens_cost_what_the_catalogue_says() -> None:
    assert tokens_nano_usd(CHEAP, 10, 20) == 10 * 1_000 + 20 * 2_000
    assert tokens_nano_usd(None, 1, 1) == 90_000

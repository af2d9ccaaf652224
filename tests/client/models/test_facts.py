"""What is known about one model: prices, context, family, modalities, reasoning (quirks Q99 to Q103)."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.models.facts import (
    Facts,
    Reasoning,
    effective_context_length,
    facts_of,
    family_of,
    price_of,
    reasoning_of,
    slug_of,
)

UNREADABLE: tuple[object, ...] = (None, "", "NaN", "Infinity", "free", True, [], "1e999999", float("nan"))


def described(**fields: Any) -> Facts:
    return facts_of({"id": "a/b", **fields})


@pytest.mark.parametrize("price", ["-1", "-1.0", -1, "-0.5"])
def test_q99_a_negative_price_is_variable_never_free_never_a_number(price: object) -> None:
    facts = described(pricing={"prompt": price, "completion": "0"})
    assert (facts.prompt_price, facts.list_price, facts.is_free) == ("variable", None, False)


def test_q99_a_variable_completion_price_makes_the_whole_model_variable() -> None:
    facts = described(pricing={"prompt": "0", "completion": "-1"})
    assert (facts.has_variable_price, facts.list_price, facts.is_free) == (True, None, False)


@pytest.mark.parametrize(
    ("per_token", "per_million"),
    [
        ("0.00000015", Decimal("0.15")),
        ("1e-7", Decimal("0.1")),
        ("0", Decimal(0)),
        (0, Decimal(0)),
        (2e-6, Decimal(2)),
        ("0.0000025", Decimal("2.5")),
    ],
)
def test_q100_prices_are_exact_decimals_per_million_tokens(per_token: object, per_million: Decimal) -> None:
    assert price_of({"id": "a/b", "pricing": {"prompt": per_token}}, "prompt") == per_million


@pytest.mark.parametrize(
    "pricing",
    [None, {}, "cheap", *({"prompt": price} for price in UNREADABLE)],
)
def test_q100_a_missing_or_unreadable_price_is_unknown_and_not_zero(pricing: object) -> None:
    facts = described(pricing=pricing)
    assert (facts.prompt_price, facts.list_price, facts.is_free, facts.has_variable_price) == (
        None,
        None,
        False,
        False,
    )


def test_q100_free_needs_both_prices_at_zero() -> None:
    def free(**pricing: str) -> bool:
        return described(pricing=pricing).is_free

    assert [free(prompt="0", completion="0.0"), free(prompt="0"), free(prompt="0", completion="1e-7")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("own", "providers", "effective"),
    [
        (128_000, 32_000, 32_000),
        (32_000, 128_000, 32_000),
        (128_000, None, 128_000),
        (None, 8_000, 8_000),
        (None, None, None),
        (0, -1, None),
        ("128k", True, None),
        (128_000.0, float("inf"), 128_000),
    ],
)
def test_q101_the_effective_context_is_the_smaller_of_those_that_are_known(
    own: object, providers: object, effective: int | None
) -> None:
    top_provider = {"context_length": providers, "max_completion_tokens": None}
    model = {"id": "a/b", "context_length": own, "top_provider": top_provider}
    assert effective_context_length(model) == effective


def test_q101_a_missing_top_provider_is_no_obstacle() -> None:
    assert effective_context_length({"id": "a/b", "context_length": 5, "top_provider": None}) == 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Reasoning(False, False, ())),
        ({"reasoning": None}, Reasoning(False, False, ())),
        ({"reasoning": {"supported_efforts": None}}, Reasoning(True, True, "all")),
        ({"reasoning": {"mandatory": True}}, Reasoning(True, False, ())),
        (
            {"reasoning": {"mandatory": False, "supported_efforts": ["high", "low", 3]}},
            Reasoning(True, True, ("high", "low")),
        ),
        ({"reasoning": {"supported_efforts": "high"}}, Reasoning(True, True, ())),
        ({"supported_parameters": ["include_reasoning"]}, Reasoning(True, False, ())),
    ],
)
def test_q102_reasoning_tells_all_efforts_from_no_choice_from_no_reasoning(
    fields: dict[str, Any], expected: Reasoning
) -> None:
    assert reasoning_of({"id": "a/b", **fields}) == expected


def test_q103_unknown_words_and_extra_keys_are_kept_and_the_model_is_untouched() -> None:
    model = {
        "id": "a/b",
        "architecture": {"input_modalities": ["text", "Smell"], "tokenizer": "Abacus"},
        "supported_parameters": ["tools", "mood", 7],
        "surprise": {"deep": [1]},
    }
    before = copy.deepcopy(model)
    facts = facts_of(model)
    assert facts.model is model
    assert model == before
    assert (facts.input_modalities, facts.supported_parameters) == (
        frozenset({"text", "smell"}),
        frozenset({"tools", "mood"}),
    )


def test_modalities_are_read_from_the_older_arrow_form_where_lists_are_missing() -> None:
    facts = described(architecture={"modality": "text+image->text"})
    assert (facts.input_modalities, facts.output_modalities) == (
        frozenset({"text", "image"}),
        frozenset({"text"}),
    )


def test_a_model_of_a_plain_openai_compatible_server_needs_no_more_than_an_id() -> None:
    facts = facts_of({"id": "gpt-4o", "object": "model", "owned_by": "System "})
    assert (facts.slug, facts.sort_name, facts.family, facts.context_length, facts.created) == (
        "gpt-4o",
        "gpt-4o",
        "system",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ({"id": "OpenAI/gpt-4o"}, "openai"),
        ({"id": "~anthropic/claude-latest"}, "anthropic"),
        ({"id": "mistral"}, "unknown"),
        ({"id": "/odd", "owned_by": None}, "unknown"),
    ],
)
def test_the_family_is_the_author_of_the_id(model: dict[str, Any], family: str) -> None:
    assert family_of(model) == family


def test_the_slug_is_what_follows_the_author() -> None:
    assert [slug_of("a/b:free"), slug_of("b"), slug_of("a/b/c"), slug_of("a/")] == ["b:free", "b", "b/c", "a/"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    *("canonical_slug", "name", "description", "created", "context_length", "architecture", "pricing"),
    *("top_provider", "owned_by", "supported_parameters", "reasoning"),
)


@given(st.text(), st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, json_values)))
def test_no_value_of_any_field_makes_the_facts_fail(model_id: str, fields: dict[str, Any]) -> None:
    assert facts_of({"id": model_id, **fields}).id == model_id

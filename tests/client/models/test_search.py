"""Filter, rank, sort, page, count, suggest (quirks Q99 to Q104, Q108)."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import Detail
from client.models.query import ModelQuery, QueryError
from client.models.search import FAMILY_ALIASES, Found, index_models, near_matches, search_models


def priced(prompt: str | None = None, completion: str | None = None) -> dict[str, str]:
    given = {"prompt": prompt, "completion": completion}
    return {kind: price for kind, price in given.items() if price is not None}


GPT = {
    "id": "openai/gpt-4o",
    "canonical_slug": "openai/gpt-4o-2024-05-13",
    "name": "OpenAI: GPT-4o",
    "description": "Omni model.",
    "created": 100,
    "context_length": 128_000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "pricing": priced("0.0000025", "0.00001"),
    "top_provider": {"context_length": 128_000},
    "supported_parameters": ["tools", "seed"],
}
MINI = {
    "id": "openai/gpt-4o-mini",
    "name": "OpenAI: GPT-4o-mini",
    "created": 200,
    "context_length": 128_000,
    "architecture": {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]},
    "pricing": priced("0.00000015", "0.0000006"),
    "top_provider": {"context_length": 64_000},
    "supported_parameters": ["tools", "seed", "mood"],
}
OPUS = {
    "id": "anthropic/claude-opus",
    "name": "Anthropic: Claude Opus",
    "description": "Better than gpt-4o, they say.",
    "created": 300,
    "context_length": 200_000,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text", "image"]},
    "pricing": priced("0.000015", "0.000075"),
    "top_provider": {"context_length": None},
    "supported_parameters": ["tools", "reasoning"],
    "reasoning": {"mandatory": False, "supported_efforts": None},
}
LATEST = {"id": "~anthropic/claude-latest", "name": "Claude latest", "reasoning": {"mandatory": True}}
FREE = {
    "id": "meta-llama/llama-3:free",
    "name": "Meta: Llama 3 (free)",
    "created": 50,
    "context_length": 8_000,
    "pricing": priced("0", "0"),
}
AUTO = {"id": "openrouter/auto", "name": "Auto Router", "context_length": 2_000_000, "pricing": priced("-1", "-1")}
PLAIN = {"id": "local-model", "object": "model", "owned_by": "vllm"}

MODELS: list[dict[str, Any]] = [GPT, MINI, OPUS, LATEST, FREE, AUTO, PLAIN]
INDEX = index_models(MODELS)


def ids(order: tuple[str, ...] = (), **params: Any) -> list[str]:
    found = search_models(INDEX, ModelQuery.model_validate(params), order)
    return [model["id"].rpartition("/")[2] for model in found.models]


ALL = ["gpt-4o", "gpt-4o-mini", "claude-opus", "claude-latest", "llama-3:free", "auto", "local-model"]


def test_no_parameter_gives_the_list_in_upstreams_order_and_whole() -> None:
    before = copy.deepcopy(MODELS)
    found = search_models(INDEX, ModelQuery())
    assert found == Found(MODELS, 7)
    assert all(given is model for given, model in zip(found.models, MODELS, strict=True))
    assert before == MODELS


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("openai/gpt-4o", ["gpt-4o", "gpt-4o-mini"]),
        ("OpenAI/GPT-4o-MINI", ["gpt-4o-mini"]),
        ("gpt-4o", ["gpt-4o", "gpt-4o-mini", "claude-opus"]),
        ("gpt-4o-2024", ["gpt-4o"]),
        ("gpt-4o omni", ["gpt-4o"]),
        ("GPT openai", ["gpt-4o", "gpt-4o-mini"]),
        ("~anthropic/claude-latest", ["claude-latest"]),
        ("anthropic/claude-latest", ["claude-latest"]),
        ("anthropic", ["claude-opus", "claude-latest"]),
        ("llama-3:free", ["llama-3:free"]),
        ("openrouter/auto", ["auto"]),
        ("LOCAL", ["local-model"]),
        ("better omni", []),
        ("zebra", []),
        ("~", ["gpt-4o", "gpt-4o-mini", "claude-opus", "claude-latest", "llama-3:free", "auto", "local-model"]),
    ],
)
def test_q104_words_find_ids_with_slash_tilde_and_variant_in_any_case(q: str, expected: list[str]) -> None:
    assert ids(q=q) == expected


def test_q104_matches_are_ranked_id_then_prefix_then_words_then_description() -> None:
    described = {"id": "e/e", "description": "like x/y"}
    named = {"id": "d/d", "name": "Not x/y but x/y-like"}
    prefixed = {"id": "x/y-large"}
    alias = {"id": "~x/y"}
    exact = {"id": "x/Y"}
    index = index_models([described, named, prefixed, alias, exact])
    assert search_models(index, ModelQuery(q="X/y")).models == [exact, alias, prefixed, named, described]


def test_a_slug_without_its_author_ranks_before_longer_ones() -> None:
    index = index_models([{"id": "a/model-x-large"}, {"id": "b/big-model-x"}, {"id": "a/model-x"}])
    found = search_models(index, ModelQuery(q="model-x"))
    assert [model["id"] for model in found.models] == ["a/model-x", "a/model-x-large", "b/big-model-x"]


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ("openai", ["gpt-4o", "gpt-4o-mini"]),
        ("GPT", ["gpt-4o", "gpt-4o-mini"]),
        ("chatgpt,llama", ["gpt-4o", "gpt-4o-mini", "llama-3:free"]),
        ("claude", ["claude-opus", "claude-latest"]),
        ("vllm", ["local-model"]),
        ("gemini", []),
        ("mixtral,command", []),
    ],
)
def test_any_of_the_families_or_their_aliases_may_hold(families: str, expected: list[str]) -> None:
    assert ids(families=families) == expected


def test_the_aliases_are_the_documented_ones() -> None:
    assert FAMILY_ALIASES == {
        "gpt": "openai",
        "chatgpt": "openai",
        "gemini": "google",
        "claude": "anthropic",
        "llama": "meta-llama",
        "mixtral": "mistralai",
        "command": "cohere",
    }


def test_a_family_that_is_called_like_an_alias_is_found_as_well() -> None:
    index = index_models([{"id": "command/line"}, {"id": "cohere/r"}])
    assert search_models(index, ModelQuery(families=("command",))).total == 2


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"input_modalities": "text,image"}, ["gpt-4o", "gpt-4o-mini"]),
        ({"input_modalities": "file"}, ["gpt-4o-mini"]),
        ({"output_modalities": "text,image"}, ["claude-opus"]),
        ({"output_modalities": "embeddings"}, []),
        ({"supported_parameters": "tools,seed"}, ["gpt-4o", "gpt-4o-mini"]),
        ({"supported_parameters": "mood"}, ["gpt-4o-mini"]),
        ({"supported_parameters": "top_a"}, []),
        ({"reasoning": True}, ["claude-opus", "claude-latest"]),
        ({"reasoning": False}, ["gpt-4o", "gpt-4o-mini", "llama-3:free", "auto", "local-model"]),
        ({"toggleable_reasoning": True}, ["claude-opus"]),
        ({"toggleable_reasoning": False}, [name for name in ALL if name != "claude-opus"]),
        ({"free_only": True}, ["llama-3:free"]),
        ({"free_only": False}, ALL),
        ({"families": "gpt,claude", "reasoning": True, "max_price": 20, "q": "opus"}, ["claude-opus"]),
    ],
)
def test_q102_q103_filters_combine_and_all_listed_words_must_hold(
    params: dict[str, Any], expected: list[str]
) -> None:
    assert ids(**params) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"min_price": 0}, ["gpt-4o", "gpt-4o-mini", "claude-opus", "llama-3:free"]),
        ({"max_price": 0}, ["llama-3:free"]),
        ({"max_price": "0.15"}, ["gpt-4o-mini", "llama-3:free"]),
        ({"min_price": "2.5", "max_price": 15}, ["gpt-4o", "claude-opus"]),
        ({"max_price": 1_000_000}, ["gpt-4o", "gpt-4o-mini", "claude-opus", "llama-3:free"]),
    ],
)
def test_q99_q100_price_filters_leave_out_variable_and_missing_prices(
    params: dict[str, Any], expected: list[str]
) -> None:
    assert ids(**params) == expected


def test_q99_variable_and_missing_prices_come_last_in_both_price_sorts() -> None:
    unpriced = ["claude-latest", "auto", "local-model"]
    assert ids(sort="pricing_low_to_high") == ["llama-3:free", "gpt-4o-mini", "gpt-4o", "claude-opus", *unpriced]
    assert ids(sort="pricing_high_to_low") == ["claude-opus", "gpt-4o", "gpt-4o-mini", "llama-3:free", *unpriced]


def test_equal_prompt_prices_are_ordered_by_completion_price() -> None:
    half = {"id": "a/half", "pricing": priced("0.000001")}
    dear = {"id": "a/dear", "pricing": priced("0.000001", "0.000009")}
    cheap = {"id": "a/cheap", "pricing": priced("0.000001", "0.000002")}
    hidden = {"id": "a/hidden", "pricing": priced("0", "-1")}
    index = index_models([hidden, half, dear, cheap])
    assert search_models(index, ModelQuery(sort="pricing_low_to_high")).models == [cheap, dear, half, hidden]
    assert search_models(index, ModelQuery(sort="pricing_high_to_low")).models == [dear, cheap, half, hidden]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"min_context_length": 64_000}, ["gpt-4o", "gpt-4o-mini", "claude-opus", "auto"]),
        ({"min_context_length": 0}, ["gpt-4o", "gpt-4o-mini", "claude-opus", "llama-3:free", "auto"]),
        ({"max_context_length": 64_000}, ["gpt-4o-mini", "llama-3:free"]),
        ({"min_context_length": 64_001, "max_context_length": 128_000}, ["gpt-4o"]),
        (
            {"sort": "context_high_to_low"},
            ["auto", "claude-opus", "gpt-4o", "gpt-4o-mini", "llama-3:free", "claude-latest", "local-model"],
        ),
        (
            {"sort": "context_low_to_high"},
            ["llama-3:free", "gpt-4o-mini", "gpt-4o", "claude-opus", "auto", "claude-latest", "local-model"],
        ),
    ],
)
def test_q101_the_effective_context_counts_and_an_unknown_one_is_last(
    params: dict[str, Any], expected: list[str]
) -> None:
    assert ids(**params) == expected


def test_newest_first_and_undated_last() -> None:
    assert ids(sort="newest") == [
        *("claude-opus", "gpt-4o-mini", "gpt-4o", "llama-3:free"),
        *("claude-latest", "auto", "local-model"),
    ]


def test_names_sort_without_case_and_ids_stand_in_for_missing_ones() -> None:
    assert ids(sort="name") == [
        *("claude-opus", "auto", "claude-latest", "local-model"),
        *("llama-3:free", "gpt-4o", "gpt-4o-mini"),
    ]


@pytest.mark.parametrize("sort", ["top_weekly", "throughput_high_to_low", "latency_low_to_high"])
def test_upstreams_order_is_followed_and_what_it_does_not_hold_is_last(sort: str) -> None:
    order = ("openrouter/auto", "gone/model", "openai/gpt-4o-mini")
    rest = [name for name in ALL if name not in ("auto", "gpt-4o-mini")]
    assert ids(order, sort=sort) == ["auto", "gpt-4o-mini", *rest]


def test_a_sort_wins_over_the_rank() -> None:
    assert ids(q="gpt-4o", sort="newest") == ["claude-opus", "gpt-4o-mini", "gpt-4o"]


def test_total_counts_before_paging() -> None:
    assert search_models(INDEX, ModelQuery(limit=2, offset=1)) == Found([MINI, OPUS], 7)
    assert search_models(INDEX, ModelQuery(offset=99)) == Found([], 7)


@pytest.mark.parametrize(
    ("params", "where", "what"),
    [
        (
            {"families": "opnai"},
            "query.families",
            "unknown value 'opnai'; did you mean 'openai'?; known: anthropic, chatgpt, claude, cohere, command, "
            "gemini, google, gpt, llama, meta-llama, mistralai, mixtral, openai, openrouter, vllm",
        ),
        (
            {"input_modalities": "text,smell"},
            "query.input_modalities",
            "unknown value 'smell'; known: audio, file, image, text, video",
        ),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(params: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(QueryError) as caught:
        ids(**params)
    assert caught.value.details == [Detail(where, what)]


def test_every_list_parameter_knows_its_words() -> None:
    with pytest.raises(QueryError) as caught:
        ids(families="x", input_modalities="x", output_modalities="x", supported_parameters="x,y")
    assert [detail.where for detail in caught.value.details] == [
        *("query.families", "query.input_modalities", "query.output_modalities"),
        *("query.supported_parameters", "query.supported_parameters"),
    ]


def test_q103_a_word_that_only_one_model_uses_is_known() -> None:
    index = index_models([{"id": "a/b", "architecture": {"input_modalities": ["smell"]}}])
    assert search_models(index, ModelQuery(input_modalities=("smell",))).total == 1


def test_an_index_finds_models_by_id() -> None:
    assert INDEX.models == MODELS
    assert INDEX.by_id["openai/gpt-4o"] is GPT


def test_families_are_counted_the_largest_first() -> None:
    assert INDEX.families == [
        ("anthropic", 2),
        ("openai", 2),
        ("meta-llama", 1),
        ("openrouter", 1),
        ("vllm", 1),
    ]


def test_a_list_of_a_plain_server_answers_every_sort_and_filter() -> None:
    index = index_models([{"id": "b"}, {"id": "a", "object": "model"}])
    for sort in ModelQuery.model_json_schema()["properties"]["sort"]["anyOf"][0]["enum"]:
        assert search_models(index, ModelQuery(sort=sort)).total == 2
    assert [model["id"] for model in search_models(index, ModelQuery(sort="name")).models] == ["a", "b"]
    assert search_models(index, ModelQuery(free_only=True)).models == []
    assert index.families == [("unknown", 2)]


CATALOGUE = (
    *("openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-3.5-sonnet", "~anthropic/claude-sonnet-latest"),
    *("meta-llama/llama-3.1-8b-instruct:free", "google/gemini-2.5-pro", "x-ai/grok-4", "ab/:"),
)


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("OpenAI/GPT-4o", "openai/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o"),
        ("gpt4o-mini", "openai/gpt-4o-mini"),
        ("openai/gpt-4o:nitro", "openai/gpt-4o"),
        ("azure/gpt-4o", "openai/gpt-4o"),
        ("anthropic/claude-35-sonet", "anthropic/claude-3.5-sonnet"),
        ("anthropic/claude-sonnet-latest", "~anthropic/claude-sonnet-latest"),
        ("llama-3.1-8b-instruct", "meta-llama/llama-3.1-8b-instruct:free"),
        ("gogle/gemini-2.5-pr", "google/gemini-2.5-pro"),
        ("xai/grok4", "x-ai/grok-4"),
    ],
)
def test_q108_near_ids_forgive_case_author_punctuation_variant_and_typos(asked: str, first: str) -> None:
    assert near_matches(asked, CATALOGUE)[0] == first


@pytest.mark.parametrize("asked", ["", "~", "///", "zzzzzzzz/qqqqqqqq", "z" * 100_000])
def test_q108_nothing_near_suggests_nothing(asked: str) -> None:
    assert near_matches(asked, CATALOGUE) == []


def test_q108_the_same_author_alone_is_not_near() -> None:
    assert near_matches("sandbox/ecco", ["sandbox/echo", "sandbox/search", "sandbox/long"]) == ["sandbox/echo"]


def test_q108_only_so_many_are_suggested() -> None:
    assert near_matches("m", [f"a/m{n}" for n in range(9)], limit=3) == ["a/m0", "a/m1", "a/m2"]


some_price = st.sampled_from([None, "-1", "0", "1e-7", "0.000003", "free"])
some_models = st.lists(
    st.builds(
        lambda id_, prompt, completion, context: {
            "id": id_,
            "pricing": priced(prompt, completion),
            "context_length": context,
        },
        st.sampled_from(["a/b", "a/c:free", "~d/e-latest", "f"]),
        some_price,
        some_price,
        st.sampled_from([None, 0, 8_000, 128_000]),
    ),
    max_size=6,
)


@given(some_models, st.sampled_from(["pricing_low_to_high", "pricing_high_to_low"]))
def test_q99_no_mix_of_prices_puts_an_unknown_one_before_a_known_one(models: list[dict[str, Any]], sort: Any) -> None:
    found = search_models(index_models(models), ModelQuery(sort=sort)).models
    prices = [facts.list_price for facts in index_models(found).entries]
    known = [price for price in prices if price is not None]
    assert prices == known + [None] * (len(prices) - len(known))
    assert known == sorted(known, reverse=sort == "pricing_high_to_low")


@given(some_models, st.integers(1, 200), st.integers(0, 9))
def test_pages_put_together_are_the_whole_list(models: list[dict[str, Any]], limit: int, offset: int) -> None:
    found = search_models(index_models(models), ModelQuery(limit=limit, offset=offset))
    assert found == Found(models[offset : offset + limit], len(models))


@given(st.text(max_size=30))
def test_no_text_makes_a_search_or_a_suggestion_fail(text: str) -> None:
    assert search_models(INDEX, ModelQuery(q=text)).total <= len(MODELS)
    assert set(near_matches(text, CATALOGUE)) <= set(CATALOGUE)


def test_prices_compare_exactly() -> None:
    index = index_models([{"id": "a/b", "pricing": priced("0.0000003", "0")}])
    assert search_models(index, ModelQuery(max_price=Decimal("0.3"))).total == 1
    assert search_models(index, ModelQuery(max_price=Decimal("0.29999999999999999"))).total == 0

"""What may be asked, and what is said when it may not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from client.errors import Detail
from client.models.query import (
    KNOWN_PARAMETERS,
    ModelQuery,
    QueryError,
    parse_model_query,
    query_problems,
    unknown_value,
)

ALL_KNOWN = ", ".join(KNOWN_PARAMETERS)
SORTS = (
    "newest, name, pricing_low_to_high, pricing_high_to_low, context_high_to_low, context_low_to_high, "
    "top_weekly, throughput_high_to_low, latency_low_to_high"
)


def problems(*params: tuple[str, str]) -> list[Detail]:
    with pytest.raises(QueryError) as caught:
        parse_model_query(params)
    return caught.value.details


def test_nothing_asked_is_the_first_fifty() -> None:
    assert parse_model_query(()) == ModelQuery(limit=50, offset=0)


def test_every_parameter_is_read_in_its_type() -> None:
    query = parse_model_query(
        {
            "q": " GPT 4o ",
            "families": "GPT, google,,gpt",
            "input_modalities": "text,Image",
            "output_modalities": "text",
            "supported_parameters": "tools",
            "min_context_length": "1000",
            "max_context_length": "200000",
            "min_price": "0.1",
            "max_price": "1e1",
            "free_only": "false",
            "reasoning": "true",
            "toggleable_reasoning": "0",
            "sort": "newest",
            "limit": "200",
            "offset": "5",
        }.items()
    )
    assert query == ModelQuery(
        q=" GPT 4o ",
        families=("gpt", "google"),
        input_modalities=("text", "image"),
        output_modalities=("text",),
        supported_parameters=("tools",),
        min_context_length=1000,
        max_context_length=200_000,
        min_price=Decimal("0.1"),
        max_price=Decimal(10),
        free_only=False,
        reasoning=True,
        toggleable_reasoning=False,
        sort="newest",
        limit=200,
        offset=5,
    )
    assert query.text == "gpt 4o"


def test_search_term_is_another_name_for_q() -> None:
    assert parse_model_query([("search_term", "Claude")]).text == "claude"


def test_empty_words_and_lists_filter_nothing() -> None:
    query = parse_model_query([("q", " "), ("families", ""), ("supported_parameters", ",")])
    assert (query.text, query.families, query.supported_parameters) == ("", (), ())


def test_a_query_is_frozen_and_takes_python_lists_too() -> None:
    query = ModelQuery.model_validate({"families": ["GPT"], "max_price": 0.1, "q": None})
    assert (query.families, query.max_price) == (("gpt",), Decimal("0.1"))
    with pytest.raises(ValidationError):
        query.limit = 3  # type: ignore[misc]


def test_a_query_describes_itself_for_an_api_document() -> None:
    properties = ModelQuery.model_json_schema()["properties"]
    assert tuple(properties) == KNOWN_PARAMETERS
    assert all("description" in described for described in properties.values())
    assert properties["families"]["type"] == "array"


@pytest.mark.parametrize(
    ("params", "details"),
    [
        (
            [("familys", "gpt")],
            [Detail("query.familys", f"unknown parameter; did you mean 'families'?; known: {ALL_KNOWN}")],
        ),
        ([("zz", "1"), ("zz", "2")], [Detail("query.zz", f"unknown parameter; known: {ALL_KNOWN}")]),
        (
            [("sort", "newset")],
            [Detail("query.sort", f"unknown value 'newset'; did you mean 'newest'?; known: {SORTS}")],
        ),
        ([("limit", "0")], [Detail("query.limit", "must be 1 to 200")]),
        ([("limit", "201")], [Detail("query.limit", "must be 1 to 200")]),
        (
            [("limit", "ten")],
            [Detail("query.limit", "must be a valid integer, unable to parse string as an integer")],
        ),
        ([("offset", "-1")], [Detail("query.offset", "must be greater than or equal to 0")]),
        (
            [("reasoning", "maybe")],
            [
                Detail(
                    "query.reasoning",
                    "must be a valid boolean, unable to interpret input; known: true, false",
                )
            ],
        ),
        ([("min_price", "cheap")], [Detail("query.min_price", "must be a valid decimal")]),
        ([("min_price", "NaN")], [Detail("query.min_price", "must be a finite number")]),
        ([("max_price", "-1")], [Detail("query.max_price", "must be greater than or equal to 0")]),
        ([("min_price", "2"), ("max_price", "1")], [Detail("query.max_price", "is below min_price")]),
        (
            [("min_context_length", "9"), ("max_context_length", "8")],
            [Detail("query.max_context_length", "is below min_context_length")],
        ),
        (
            [("q", "a"), ("search_term", "a")],
            [Detail("query.search_term", "is the same as q; give one of them")],
        ),
        ([("q", "a"), ("q", "b")], [Detail("query.q", "given 2 times; give it once, lists with commas")]),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_known(params: list[tuple[str, str]], details: list[Detail]) -> None:
    assert problems(*params) == details


def test_everything_wrong_is_reported_at_once() -> None:
    wheres = [
        detail.where for detail in problems(("colour", "red"), ("limit", "x"), ("sort", "y"), ("q", "1"), ("q", "2"))
    ]
    assert wheres == ["query.colour", "query.q", "query.sort", "query.limit"]


def test_an_error_reads_as_one_line() -> None:
    assert str(QueryError([Detail("query.a", "is odd"), Detail("query.b", "is even")])) == (
        "query.a: is odd; query.b: is even"
    )


def test_a_query_built_elsewhere_explains_itself_in_the_same_words() -> None:
    with pytest.raises(ValidationError) as caught:
        ModelQuery.model_validate({"familys": "gpt", "families": 3})
    assert [detail.where for detail in query_problems(caught.value)] == ["query.families", "query.familys"]


def test_an_unknown_value_says_when_nothing_is_known() -> None:
    assert unknown_value("families", "x", ()) == Detail("query.families", "unknown value 'x'; known: none")

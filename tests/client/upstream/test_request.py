"""What a caller sends, and what OpenRouter gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.upstream.request import ChatRequest, InvalidRequest, build_chat_call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def build(body: dict[str, Any], *query: tuple[str, str]) -> dict[str, Any]:
    call = build_chat_call(body, query, default_model="d/m", max_grace_s=600)
    return call.body


def problems(body: dict[str, Any], *query: tuple[str, str]) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        build(body, *query)
    return [f"{detail.where}: {detail.what}" for detail in caught.value.details]


USER = {"role": "user", "content": "x"}


def test_nothing_is_invented() -> None:
    assert build({"message": "x"}) == {"model": "d/m", "messages": [USER], "stream": True}


@pytest.mark.parametrize(
    ("given_", "becomes"),
    [
        ({"model": "a/b"}, {"model": "a/b"}),
        ({"sort": "price"}, {"provider": {"sort": "price"}}),
        ({"sort": {"by": "price"}}, {"provider": {"sort": {"by": "price"}}}),
        ({"providers": "a, b"}, {"provider": {"order": ["a", "b"]}}),
        ({"providers": ["a"], "provider": {"zdr": True}}, {"provider": {"zdr": True, "order": ["a"]}}),
        ({"max_price": 2}, {"provider": {"max_price": {"prompt": 2, "completion": 2}}}),
        ({"max_price": {"image": 1}}, {"provider": {"max_price": {"image": 1}}}),
        ({"fallbacks": "a,b"}, {"models": ["d/m", "a", "b"]}),
        ({"require_parameters": True}, {"provider": {"require_parameters": True}}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"reasoning_max_tokens": 9}, {"reasoning": {"max_tokens": 9}}),
        ({"hide_reasoning": True}, {"reasoning": {"exclude": True}}),
        ({"disable_reasoning": True}, {"reasoning": {"enabled": False}}),
        ({"web_search": True}, {"tools": [{"type": "openrouter:web_search"}]}),
        (
            {"web_search": {"max_results": 1}},
            {"tools": [{"type": "openrouter:web_search", "parameters": {"max_results": 1}}]},
        ),
        ({"web_search": False, "stream": False, "grace_s": 5}, {}),
    ],
)
def test_shorthands_become_openrouters_fields(given_: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert build({"message": "x", **given_}) == {"model": "d/m", "messages": [USER], "stream": True, **becomes}


@pytest.mark.parametrize("wrong", [2, 0, -1, 2.0, 1.5, "2", "1", None, True, [1], {}, 10**30])
def test_break_it_27_n_is_refused_unless_it_is_one(wrong: Any) -> None:
    assert problems({"message": "x", "n": wrong})[0].startswith("n: one answer")


@pytest.mark.parametrize("one", [1, 1.0])
def test_break_it_27_n_of_one_goes_through(one: float) -> None:
    assert build({"message": "x", "n": one})["n"] == 1


def test_history_and_system_stand_before_the_message() -> None:
    history = [{"role": "user", "content": "a"}, {"role": "model", "content": "b", "reasoning_details": [1]}]
    assert build({"message": "x", "history": history, "system": "s"})["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning_details": [1]},
        USER,
    ]


def test_query_parameters_are_shorthands_too() -> None:
    body = build({"message": "x"}, ("max_price", "1.5"), ("disable_reasoning", "true"), ("stream", "false"))
    assert body["provider"] == {"max_price": {"prompt": 1.5, "completion": 1.5}}
    assert body["reasoning"] == {"enabled": False}


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8).filter(lambda name: name not in ChatRequest.model_fields), JSON, max_size=4)
)
def test_unknown_fields_pass_untouched(extra: dict[str, Any]) -> None:
    extra.pop("n", None)
    body = build({"messages": [USER], **extra})
    assert {name: body[name] for name in extra} == extra


@pytest.mark.parametrize(
    ("body", "query", "said"),
    [
        ({}, (), "message: is missing"),
        ({"message": "x", "messages": [USER]}, (), "message: cannot stand beside messages"),
        ({"messages": []}, (), "messages: is empty"),
        ({"messages": "x"}, (), "messages: should be a valid list"),
        ({"message": 5}, (), "message: should be a valid string"),
        ({"message": "x", "sort": 5}, (), "sort: should be a valid string or should be a valid dictionary"),
        ({"message": "x", "sort": "a", "provider": {"sort": "b"}}, (), "sort: sets provider.sort"),
        ({"message": "x", "sort": "a", "provider": 3}, (), "provider: must be an object"),
        ({"message": "x", "fallbacks": "a", "models": ["b"]}, (), "fallbacks: sets models"),
        (
            {"message": "x", "reasoning_effort": "low", "reasoning": {"effort": "high"}},
            (),
            "reasoning_effort: sets reasoning.effort",
        ),
        ({"message": "x", "disable_reasoning": True, "hide_reasoning": True}, (), "disable_reasoning: contradicts"),
        ({"message": "x", "web_search": True, "tools": [{"type": "openrouter:web_search"}]}, (), "web_search: adds"),
        ({"message": "x", "grace_s": 601}, (), "grace_s: is at most 600"),
        ({"message": "x", "n": 2}, (), "n: one answer"),
        ({"message": "x", "sort": "a"}, (("sort", "b"),), "query.sort: is in the body too"),
        ({"message": "x"}, (("sort", "a"), ("sort", "b")), "query.sort: is given twice"),
        ({"message": "x"}, (("nonsense", "a"),), "query.nonsense: unknown; known are sort"),
        ({"message": " "}, (), "message: is blank"),
        ({"message": "x"}, (("reasoning_max_tokens", "many"),), "query.reasoning_max_tokens: must be a number"),
        ({"message": "x"}, (("stream", "maybe"),), "query.stream: must be true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    body: dict[str, Any], query: tuple[tuple[str, str], ...], said: str
) -> None:
    assert any(problem.startswith(said) for problem in problems(body, *query)), problems(body, *query)

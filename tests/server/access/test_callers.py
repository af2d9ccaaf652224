"""What a caller may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import Refusal
from server.access.callers import LOCAL, Caller, check_models

BOUND = Caller("phone", models=("openai/gpt-4o*", "sandbox/*"))


@pytest.mark.parametrize(
    "body",
    [
        {"model": "openai/gpt-4o"},
        {"model": "openai/gpt-4o-mini:free"},
        {"model": "sandbox/echo", "models": ["sandbox/echo", "openai/gpt-4o"]},
        {"model": "sandbox/echo", "tools": [{"type": "function", "parameters": {"model": {"type": "string"}}}, "?"]},
        {"model": "sandbox/echo", "tools": [{"type": "openrouter:web_search"}], "plugins": {"id": "web"}},
        {"model": "sandbox/echo", "tools": [{"type": "function"}, {"type": "openrouter:web_search"}, 5]},
        {"model": "sandbox/echo", "plugins": [{"id": "web"}], "preset": None},
    ],
)
def test_a_model_that_a_glob_covers_may_be_asked_for(body: dict[str, Any]) -> None:
    check_models(BOUND, body)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"model": "openai/gpt-5"}, "openai/gpt-5"),
        ({"model": "OpenAI/gpt-4o"}, "OpenAI/gpt-4o"),
        ({"model": "sandbox/echo", "models": ["sandbox/echo", "a/b"]}, "a/b"),
        ({"model": "sandbox/echo", "models": "a/b"}, "a/b"),
        ({"model": "sandbox/echo", "fallbacks": ["a/b"]}, "a/b"),
        ({"model": "sandbox/echo", "fallbacks": [{"model": "a/b"}]}, "a/b"),
        ({"models": []}, "None"),
        ({"model": "sandbox/echo", "tools": [{"type": "openrouter:advisor", "parameters": {"model": "a/b"}}]}, "a/b"),
        ({"model": "sandbox/echo", "plugins": [{"id": "fusion", "analysis_models": ["sandbox/x", "a/b"]}]}, "a/b"),
        ({"model": "sandbox/echo", "preset": "mine"}, "@preset/mine"),
        ({"model": "sandbox/echo@preset/mine"}, "@preset/mine"),
        ({"model": "@preset/mine"}, "@preset/mine"),
        ({"model": "sandbox/echo", "plugins": [{"id": "fusion"}]}, "fusion"),
        ({"model": "sandbox/echo", "plugins": [{"id": "fusion", "preset": "mine"}]}, "@preset/mine"),
        ({"model": "sandbox/echo", "tools": [{"type": "openrouter:advisor"}]}, "openrouter:advisor"),
    ],
)
def test_any_other_model_is_refused_with_what_is_allowed(body: dict[str, Any], named: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_models(BOUND, body)
    failure = caught.value.failure
    assert (failure.type, failure.status) == ("forbidden", 403)
    assert named in failure.error
    assert "openai/gpt-4o*, sandbox/*" in failure.error


def test_without_globs_every_model_may_be_asked_for() -> None:
    check_models(LOCAL, {"model": "any/thing", "models": ["any/other"]})

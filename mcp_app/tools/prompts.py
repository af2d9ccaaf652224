"""Prompts that hosts offer their users, mostly as commands with a slash: they tell the host's model how to use the
tools. Pure module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_OWN_WORDS: Final = (
    "That model sees nothing of this conversation, so put everything into `prompt` that it needs: the question, the "
    "relevant facts, code or text in full, and what was tried."
)
_UNFINISHED: Final = "Fetch what is still running with llm_chat_result."


def second_opinion(question: str = "", model: str = "") -> str:
    """Ask another model about what we are at, and weigh its answer."""
    about = f"this: {question.strip()}" if question.strip() else "what we are at just now, and your own answer to it"
    named = f"with `model` set to {model.strip()!r}"
    chosen = "with a strong `model` of another author than your own (search_models finds ids)"
    return (
        f"Get a second opinion on {about}.\n\n"
        f"Call llm_chat once, {named if model.strip() else chosen}. {_OWN_WORDS} Have it judge for itself before it "
        f"sees your answer, and say what is wrong or missing, not whether it agrees. {_UNFINISHED}\n\n"
        "Then tell me where it agrees with you, where it does not, who is right in each point and why, what you "
        "would change now, and what it cost. Do not just adopt its answer."
    )


def compare_models(question: str = "", models: str = "") -> str:
    """Ask several models the same, side by side, and compare their answers, times and costs."""
    about = f"this: {question.strip()}" if question.strip() else "the question that we are at just now"
    names = [name.strip() for name in models.split(",") if name.strip()]
    named = f"with `models` set to {names}"
    chosen = "with two to four `models` of different authors and prices (search_models finds ids)"
    return (
        f"Compare models on {about}.\n\n"
        f"Call llm_chat once, {named if names else chosen}, which asks them side by side. {_OWN_WORDS} {_UNFINISHED}"
        "\n\nThen show me a table with a row for each model: the essence of its answer, what is wrong or missing in "
        "it, its time and cost, or its error. Below it say which one you would use for this kind of question, and "
        "why."
    )


class PromptFacts(NamedTuple):
    """How a prompt is listed."""

    title: str
    function: Callable[..., Any]


PROMPTS: Final[Mapping[str, PromptFacts]] = {
    "second_opinion": PromptFacts("Second opinion", second_opinion),
    "compare_models": PromptFacts("Compare models", compare_models),
}

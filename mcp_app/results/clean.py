"""Text and values that may hold what JSON can carry and UTF-8 cannot, made fit to be sent. Pure module.

A model's answer can end in the middle of an emoji, and the two halves of one may come in two pieces; whoever counts
characters counts them after this.
"""

from __future__ import annotations

from typing import Any

from client.border.fit import fit_json, fit_text

_LONGEST_FACT = 1000
_MOST_WORDS = 100
_HIGH_HALVES = ("\ud800", "\udbff")


def clean_text(text: str) -> str:
    """The text with its surrogate pairs joined; a half without its other becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def without_open_half(text: str) -> str:
    """The text of an answer that goes on, without a half at its end whose other half may still come."""
    return text[:-1] if text and _HIGH_HALVES[0] <= text[-1] <= _HIGH_HALVES[1] else text


def clean_json(value: Any) -> Any:
    """A JSON value of which every text can be sent, and every number be read."""
    return clean_texts(fit_json(value))


def fit_fact(value: Any) -> Any:
    """What upstream states where a number, a word or a list of words belongs: one line, bounded; else None.

    A result is read by a model, whose room is small; some hosts refuse one of a megabyte.
    """
    if isinstance(value, str):
        text = fit_text(" ".join(clean_text(value[: 2 * _LONGEST_FACT]).split()))
        return text if len(text) <= _LONGEST_FACT else text[: _LONGEST_FACT - 1] + "…"
    if isinstance(value, list):
        return [fit_fact(item) for item in value[:_MOST_WORDS] if isinstance(item, str | int | float)]
    return None if isinstance(value, dict) else fit_json(value)


def clean_texts(value: Any) -> Any:
    """A JSON value of which every text can be sent.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): clean_texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [clean_texts(item) for item in value]
    return value

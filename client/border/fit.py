"""What upstream states, made fit to be used: the one border where it becomes numbers, names, header values and times.

Upstream can state anything in any place: text where a number belongs, infinity, 400 digits, half of a surrogate pair,
a line end in an id. Every function here takes any value and gives one that is safe for what its name says, or None,
which means: upstream has stated nothing. None of them raises. Pure module.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from typing import Any, Final

MOST_TOKENS: Final = 10**12
"""More than any answer has; sums of a million such counts still fit into 64 bits."""

MOST_USD: Final = 10_000
"""More than any answer costs."""

LONGEST_NAME: Final = 200
"""Characters of a model, a provider, an id."""

LONGEST_WAIT_S: Final = 7 * 86_400.0
"""No limit of upstream's is reset later; a longer wait is no statement about this request."""

_LONGEST_NUMBER = 40
_MOST_EXACT_BITS = 64
_MOST_EXACT_INT = 2**_MOST_EXACT_BITS
_DEEPEST = 64
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_SAFE = frozenset({str, bool, type(None)})
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS_TEXT = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that make a line of text run backwards: a forged one is told from a true one by nothing."""


def number_of(value: object) -> float | int | None:
    """A finite number, given as one or as short decimal text; None for anything else.

    A whole number of any size stays whole; true and false are no numbers.
    """
    kind = type(value)
    if kind is float or kind is int:
        return value if kind is int or math.isfinite(value) else None  # type: ignore[arg-type, return-value]
    if isinstance(value, bool):
        return None
    if isinstance(value, int):  # of a kind of its own
        return int(value)
    if isinstance(value, str):
        text = value.strip() if len(value) <= _LONGEST_NUMBER else ""
        if _DECIMAL.fullmatch(text) is None:
            return None
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
        return value if isinstance(value, int) or math.isfinite(value) else None
    if isinstance(value, Decimal):
        value = float(value) if value.is_finite() else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def count_of(value: object) -> int | None:
    """A count of tokens: whole and not negative, also as `3.0` or `"3"`; cut to `MOST_TOKENS`."""
    if type(value) is int and 0 <= value < MOST_TOKENS:  # as most are
        return value
    number = number_of(value)
    if number is None or number < 0:
        return None
    if number >= MOST_TOKENS:
        return MOST_TOKENS
    return int(number) if number == int(number) else None


def cost_of(value: object) -> float | None:
    """USD of one answer: not negative, at most `MOST_USD`; also as text. What is no cost is an unknown one."""
    if type(value) is float and 0 < value <= MOST_USD:  # as most are
        return value
    number = number_of(value)
    return abs(float(number)) if number is not None and 0 <= number <= MOST_USD else None  # -0.0 too


def seconds_of(value: object, most_s: float = LONGEST_WAIT_S) -> float | None:
    """Seconds to wait: not negative, at most `most_s`; also as text."""
    number = number_of(value)
    return abs(float(number)) if number is not None and 0 <= number <= most_s else None


def fit_text(text: str) -> str:
    """Text for logs, labels, lists and databases: line ends, control characters and halves of surrogate pairs, and
    marks that turn the direction of writing, become U+FFFD."""
    if text.isprintable():
        return text
    return "".join("\ufffd" if _is_unfit(char) else char for char in text)


def fit_name(value: object, limit: int = LONGEST_NAME) -> str | None:
    """A name or a word of upstream's (model, provider, id, finish reason), at most `limit` characters long.

    A cut one ends with `…`. A number is taken as its text; None for what is no name, and for nothing but blanks.
    """
    if type(value) is str and len(value) <= limit and value.isprintable() and not value.isspace() and value:
        return value  # as most are
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST_EXACT_INT:
        value = str(value)
    if not isinstance(value, str):
        return None
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    name = fit_text(value)
    return name if name.strip() else None


def header_value(value: object, limit: int = LONGEST_NAME) -> str | None:
    """The value of an HTTP header: printable ASCII, at most `limit` characters; None for what cannot stand in one."""
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        return None
    return value if value.isascii() and value.isprintable() and value == value.strip() else None


def fit_json(value: Any, depth: int = 0) -> Any:
    """A JSON value that every reader of JSON takes, else as it was.

    Numbers that are not finite, and whole ones beyond 64 bits, become null, and so does what is nested too deeply.
    """
    kind = type(value)
    if kind is dict:
        if depth >= _DEEPEST:
            return None
        fitted = {}
        for key, item in value.items():  # numbers are looked at in place: usage is little else, and every answer's
            kind = type(item)
            if kind is int:
                if item.bit_length() > _MOST_EXACT_BITS:
                    item = None
            elif kind is float:
                if not math.isfinite(item):
                    item = None
            elif kind not in _SAFE:
                item = fit_json(item, depth + 1)
            fitted[key] = item
        return fitted
    if kind is list:
        return [fit_json(item, depth + 1) for item in value] if depth < _DEEPEST else None
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is int:
        return value if -_MOST_EXACT_INT < value < _MOST_EXACT_INT else None
    return value


def not_too_deep(value: Any, depth: int = 0) -> Any:
    """A JSON value as it was, but for null in the place of what is nested more than 64 levels deep."""
    kind = type(value)
    if kind is dict:
        if depth >= _DEEPEST:
            return None
        return {key: item if type(item) in _SAFE else not_too_deep(item, depth + 1) for key, item in value.items()}
    if kind is list:
        return [not_too_deep(item, depth + 1) for item in value] if depth < _DEEPEST else None
    return value


def _is_unfit(char: str) -> bool:
    return unicodedata.category(char) in _UNFIT or char in _TURNS_TEXT

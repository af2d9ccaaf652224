"""Values as the engine tells them, made fit to be used: whoever else can write there may have put anything."""

from __future__ import annotations

from typing import Final

_MOST: Final = 1 << 52
"""More events than any answer has; above it Lua's numbers are not exact."""


def number_of(told: bytes | int | None, otherwise: int = 0) -> int:
    """The number.

    Args:
        otherwise: what stands for one that is missing, makes no sense, or is out of range.
    """
    try:
        number = otherwise if told is None else int(told)
    except ValueError:
        return otherwise
    return number if 0 <= number < _MOST else otherwise


def word_of(told: bytes) -> str:
    """The text; what is none is a text that names nothing."""
    return told.decode("utf-8", "replace")

"""The first block of code in an answer. Pure module."""

from __future__ import annotations

import re

_OPENING = re.compile(r"^ {0,3}(`{3,}|~{3,})[^`\n]*$", re.MULTILINE)


def first_code_block(text: str) -> str | None:
    """What stands between the first fence and its end; None without a fence, or while it is not closed."""
    opening = _OPENING.search(text)
    if opening is None:
        return None
    fence = opening[1]
    closing = re.compile(rf"^ {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$", re.MULTILINE)
    end = closing.search(text, min(len(text), opening.end() + 1))
    return None if end is None else text[opening.end() + 1 : end.start()]

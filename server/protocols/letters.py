"""Text for readers that take whole letters only: a letter beyond U+FFFF may come in two pieces, which JavaScript puts
together by itself and others refuse. Pure module."""

from __future__ import annotations

_FIRST_HALVES = ("\ud800", "\udbff")


class Letters:
    """Takes the pieces of one text in order."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """The text so far that was not given yet, but for a first half at its end."""
        text, self._half = self._half + text, ""
        if text and _FIRST_HALVES[0] <= text[-1] <= _FIRST_HALVES[1]:
            text, self._half = text[:-1], text[-1]
        return whole_letters(text)

    def flush(self) -> str:
        """What is left at the end."""
        half, self._half = self._half, ""
        return whole_letters(half)


def whole_letters(text: str) -> str:
    """The same with U+FFFD for every half that has no other."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text

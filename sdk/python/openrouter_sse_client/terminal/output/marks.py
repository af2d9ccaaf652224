"""Text of others, made harmless for a terminal: control characters are shown, never obeyed. Pure module."""

from __future__ import annotations

_KEPT = "\n\t"
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""They reorder what stands around them, so that a line reads differently from what it is."""
_MARKS: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT},
    0x7F: "\u2421",
    **{code: f"<{code:02X}>" for code in range(0x80, 0xA0)},
    **{code: f"<U+{code:04X}>" for code in _TURNING},
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}


def marked(text: str) -> str:
    """The text with a visible mark in place of each control character but newline and tab."""
    return text.translate(_MARKS)


def in_one_line(text: str) -> str:
    """The same, for names and messages: without line ends and tabs."""
    return marked(" ".join(text.split()))


class Marker:
    """The same for text that comes in pieces: a CR before LF, in whatever piece, is a part of the line end."""

    def __init__(self) -> None:
        self._cr = ""

    def feed(self, text: str) -> str:
        """What can be shown now."""
        text = (self._cr + text).replace("\r\n", "\n")
        self._cr = "\r" if text.endswith("\r") else ""
        return marked(text.removesuffix(self._cr))

    def flush(self) -> str:
        """What was held back."""
        rest, self._cr = marked(self._cr), ""
        return rest

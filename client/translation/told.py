"""What upstream says beside what this product has words for: each of it told once, with the event it came with.

Pure module.
"""

from __future__ import annotations

from typing import Any, Final

from client.border.fit import fit_json
from client.border.json_codec import encode_json

_MOST_NAMES: Final = 200
"""Fields of one answer; what has more is no answer."""


class Told:
    """The unknown fields of one answer.

    Attributes:
        pending: what no event has carried yet; None without any.
    """

    __slots__ = (
        "_values",
        "pending",
    )

    def __init__(self) -> None:
        self.pending: dict[str, Any] | None = None
        self._values: dict[str, tuple[int, int]] = {}  # size and hash of the value that was told last, by field

    def note(self, fields: dict[str, Any]) -> None:
        """Fields of a chunk; what was told with the same value before is not told again."""
        for name, value in fields.items():
            encoded = encode_json(value)
            seen = len(encoded), hash(encoded)
            known = self._values.get(name)
            if known == seen or (known is None and len(self._values) >= _MOST_NAMES):
                continue
            self._values[name] = seen
            if self.pending is None:
                self.pending = {}
            self.pending[name] = fit_json(value)

    def take(self) -> dict[str, Any] | None:
        """What is pending, which is told with this."""
        pending, self.pending = self.pending, None
        return pending

"""Rows in columns, as wide as the terminal is. Pure module."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, right: frozenset[int] = frozenset()) -> str:
    """Aligned columns; where the terminal is too narrow for them, each row on lines of its own.

    Args:
        right: numbers of the columns that end at the same place.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    if sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        return "\n".join(_stacked(head, row, width) for row in rows)
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(size) if index in right else cell.ljust(size)
            for index, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines)


def _stacked(head: Sequence[str], row: Sequence[str], width: int) -> str:
    facts = ", ".join(f"{name} {cell}" for name, cell in zip(head[1:], row[1:], strict=True) if cell)
    rest = textwrap.fill(facts, max(20, width), initial_indent=_GAP, subsequent_indent=_GAP)
    return "\n".join(filter(None, (row[0], rest)))

"""The figures that matter most as horizontal bars, in SVG that is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from tests.bench.report import FIGURES, Figure, Summary

_CHARTED = ("paced_us", "tls_us", "flood_us", "short5_us", "paced_delay_p99_ms", "capacity", "idle_kb", "rest_mb")
_COLOURS = ("#9aa5b1", "#2f6fde", "#e07a3f", "#4c9f70", "#8e6bbf", "#c2506b")
_BAR, _GAP, _LEFT, _WIDTH, _FULL = 18, 30, 170, 760, 440


def chart(summaries: Mapping[str, Mapping[str, Summary]]) -> str:
    """One group of bars per figure, one bar per server; each group has its own scale."""
    y = 16
    parts = []
    for figure in (figure for figure in FIGURES if figure.name in _CHARTED):
        found = {name: of[figure.name] for name, of in summaries.items() if figure.name in of}
        if found:
            parts += _group(figure, found, list(summaries), y)
            y += _GAP + _BAR * len(found) + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933">'
    )
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _group(figure: Figure, found: Mapping[str, Summary], order: list[str], y: int) -> list[str]:
    parts = [f'<text x="12" y="{y + 12}" font-weight="600">{escape(figure.title)}</text>']
    longest = max(summary.median for summary in found.values()) or 1
    for row, (name, summary) in enumerate(found.items()):
        top = y + 20 + row * _BAR
        width = max(1.0, summary.median / longest * _FULL)
        ratio = f" ({summary.ratio:.2f} x)" if summary.ratio is not None else ""
        value = f"{summary.median:,.{figure.digits}f}{ratio}"
        colour = _COLOURS[order.index(name) % len(_COLOURS)]
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top + 1}" width="{width:.1f}" height="{_BAR - 4}" rx="2" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 12}">{escape(value)}</text>',
        ]
    return parts

"""The ratios as bars, in SVG: nothing to install, and every browser shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from tests.bench.report import Comparison

__all__ = ["render_plot"]

_ROW, _LABELS, _SCALE, _MARGIN = 18, 340, 560, 30  # pixels: a bar's height, the labels' width, the bars', all around
_COLOURS = {"met": "#2a9d5c", "MISSED": "#d1495b", "": "#9aa5b1"}


def render_plot(comparisons: Sequence[Comparison]) -> str:
    """Each ratio as a bar from its floor, which is 1, on a logarithmic scale; the rounds' spread, and the target."""
    ends = [value for each in comparisons for value in (*each.ratios, each.target or 1.0, 1.0)]
    low, high = math.floor(math.log10(min(ends))), math.ceil(math.log10(max(ends)))
    width, height = _LABELS + _SCALE + 2 * _MARGIN, _ROW * len(comparisons) + 2 * _MARGIN

    def scale(ratio: float) -> float:
        return _LABELS + _MARGIN + _SCALE * (math.log10(ratio) - low) / max(high - low, 1)

    ticks = [10.0**power for power in range(low, high + 1)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        *(_upright(scale(tick), _MARGIN, height - _MARGIN, "#ddd") for tick in ticks),
        *(f'<text x="{scale(tick):.1f}" y="{height - 10}" text-anchor="middle">{tick:g}</text>' for tick in ticks),
        *(part for row, each in enumerate(comparisons) for part in _bar(each, _MARGIN + _ROW * row, scale)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(comparison: Comparison, top: float, scale: Callable[[float], float]) -> Iterator[str]:
    begin, end = sorted((scale(1.0), scale(comparison.ratio)))
    low, high = scale(min(comparison.ratios)), scale(max(comparison.ratios))
    middle = top + _ROW / 2
    label = escape(f"{comparison.title}: {comparison.name}")
    yield f'<text x="{_LABELS + _MARGIN - 8}" y="{middle + 4}" text-anchor="end">{label}</text>'
    yield (
        f'<rect x="{begin:.1f}" y="{top + 3}" width="{end - begin:.1f}" height="{_ROW - 6}" '
        f'fill="{_COLOURS[comparison.verdict]}"><title>{comparison.ratio:.2f}</title></rect>'
    )
    yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>'
    if comparison.target is not None:
        yield _upright(scale(comparison.target), top + 1, top + _ROW - 1, "black")


def _upright(x: float, top: float, bottom: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{colour}"/>'

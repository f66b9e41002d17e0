"""Figures of a curve as a table, as a drawing, and in their place in docs/growth.md. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape

from tests.bench.curves import Curve, Figures, Value
from tests.bench.loads import EVERY_OTHER

TITLE = "# What growth costs\n"
"""Of a page that is not there yet."""

_WIDTH, _HEIGHT, _MARGIN = 640, 240, 48
_LOOKS = 'font-family="sans-serif" font-size="13" text-anchor="middle" fill="#57606a"'


def rows(curve: Curve, figures: Sequence[Figures]) -> list[list[str]]:
    """Cells: the head, then a row for each point."""
    head = [curve.what, *(title for title, _ in curve.columns), "verified"]
    return [head, *([said(curve, one.value), *_cells(curve, one), "yes" if one.verified else "NO"] for one in figures)]


def _cells(curve: Curve, one: Figures) -> list[str]:
    return [tell(one) for _, tell in curve.columns]


def said(curve: Curve, value: Value) -> str:
    """A value as a person reads it."""
    if curve.varies == "peers" and value == EVERY_OTHER:
        return "every record another"
    if curve.varies == "batch" and value == 1:
        return "one line"
    return value if isinstance(value, str) else f"{value:,}"


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *points = cells
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *points))


def file_name(curve: Curve) -> str:
    """Of the drawing."""
    return f"growth-{curve.name}.svg"


def svg(curve: Curve, figures: Sequence[Figures]) -> str:
    """The points from left to right, each with its figure, over zero. Empty where nothing is to be drawn."""
    name, title = curve.drawn
    if not name:
        return ""
    heights = [float(getattr(one, name)) for one in figures]
    places = [(x, _down(one, max(heights))) for x, one in zip(_across(len(heights)), heights, strict=True)]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in places)
    points = zip(figures, heights, places, strict=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_LOOKS}>',
        f'<text x="{_WIDTH // 2}" y="18">{escape(title)}</text>',
        f'<path d="M{_MARGIN} {_HEIGHT - _MARGIN}H{_WIDTH - _MARGIN}" stroke="#8c959f"/>',
        f'<polyline points="{line}" fill="none" stroke="#c44e52" stroke-width="2"/>',
        *(_point(said(curve, one.value), height, *place) for one, height, place in points),
        f'<text x="{_WIDTH // 2}" y="{_HEIGHT - 8}">{escape(curve.what)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _across(count: int) -> list[float]:
    """Evenly: the values of a curve grow by factors."""
    step = (_WIDTH - 4 * _MARGIN) / max(1, count - 1)
    return [2 * _MARGIN + step * n for n in range(count)]


def _down(height: float, highest: float) -> float:
    """From the top of the drawing."""
    return _HEIGHT - _MARGIN - (height / highest if highest else 0) * (_HEIGHT - 2.5 * _MARGIN)


def _point(name: str, height: float, x: float, y: float) -> str:
    return (
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="#c44e52"/>'
        f'<text x="{x:.0f}" y="{y - 10:.0f}">{short(height)}</text>'
        f'<text x="{x:.0f}" y="{_HEIGHT - _MARGIN + 18}">{escape(name)}</text>'
    )


def short(number: float) -> str:
    """Three digits that matter."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def page(old: str, curve: Curve, figures: Sequence[Figures], conditions: str) -> str:
    """The page with the figures of a curve anew; a section of its own if the curve is new to it."""
    drawing = f"![{curve.drawn[1]}]({file_name(curve)})\n\n" if curve.drawn[0] else ""
    made = f"{markdown(rows(curve, figures))}\n\n{drawing}{conditions}."
    return placed(old or TITLE, curve.name, made, f"## {curve.title}\n\n")


def placed(old: str, name: str, made: str, head: str = "") -> str:
    """A page with what was made anew between its marks; what a person wrote stays. head: for a place that is new."""
    begin, end = f"<!-- {name}: made by `make growth` -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{made}\n{end}"
    if begin not in old:
        return f"{old}\n{head}{block}\n"
    before, _, rest = old.partition(begin)
    return before + block + rest.partition(end)[2]


def as_json(old: str, curve: Curve, figures: Sequence[Figures], conditions: str) -> str:
    """Figures by curve, those of the others as they were."""
    new = {"conditions": conditions, "points": [asdict(one) for one in figures]}
    return json.dumps({**json.loads(old or "{}"), curve.name: new}, indent=1) + "\n"


def of_json(text: str) -> dict[str, list[Figures]]:
    """Back from `as_json`."""
    return {name: [Figures(**point) for point in one["points"]] for name, one in json.loads(text).items()}

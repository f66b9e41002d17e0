"""`vpcflow evaluate --curve`: what a threshold is worth at other values than its own, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streams.core.analysis import Analysis
from streams.core.detection import Detector, Watch, last_of_each
from streams.core.evaluation import Episode, Point, point
from streams.settings import ConfigError, nearest

_TIMES = (0.25, 1 / 3, 0.5, 2 / 3, 0.8, 1, 1.25, 1.5, 2, 3, 4)
"""Of the value in force."""


def threshold(name: str, detectors: Sequence[Detector]) -> tuple[Detector, str]:
    """Of `detector.setting`: both. Raises ConfigError."""
    known = {
        f"{one.name}.{each.name}": (one, each.name)
        for one in detectors
        for each in fields(one.settings)
        if isinstance(getattr(one.settings, each.name), int | float)
        and not isinstance(getattr(one.settings, each.name), bool)
    }
    if name not in known:
        raise ConfigError(
            [f"--curve: expected a detector and one of its numbers, found {name}; {nearest(name, known, '.')}"]
        )
    return known[name]


def curve(analysis: Analysis, one: Detector, setting: str, truth: Sequence[Episode]) -> Iterator[Point]:
    """The detector over the same traffic, at each value."""
    talks, silent = analysis.talks(), analysis.silent()
    now = getattr(one.settings, setting)
    whole = isinstance(now, int)
    values = sorted({max(1, round(now * times)) if whole else now * times for times in _TIMES})
    for value in values:
        tuned = replace(one, settings=replace(one.settings, **{setting: value}))
        yield point(value, one.name, last_of_each(Watch([tuned]).see_all(talks, silent)), truth)


def show(name: str, now: float, points: Sequence[Point], console: Console) -> None:
    """A line a value; the one in force is marked."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in (name, "caught", "recall", "findings", "precision"):
        table.add_column(column)
    for one in points:
        mark = " (now)" if one.value == now else ""
        table.add_row(
            f"{one.value:,.6g}{mark}", f"{one.caught} of {one.episodes}", f"{one.recall:.0%}",
            f"{one.true + one.false}", f"{one.precision:.0%}",
        )  # fmt: skip
    console.print(table)


def draw(name: str, now: float, points: Sequence[Point], path: Path) -> None:
    """As PNG. Raises ConfigError without matplotlib."""
    try:
        figure = import_module("matplotlib.figure").Figure(figsize=(6, 4.5), layout="constrained")
    except ImportError:
        raise ConfigError(["--plot: needs matplotlib, which the extra `plot` of vpcflow-streams brings"]) from None
    axes = figure.add_subplot()
    axes.plot([one.recall for one in points], [one.precision for one in points], color="#888888", zorder=1)
    for one in points:
        colour, layer = ("#c1121f", 3) if one.value == now else ("#003049", 2)
        axes.scatter(one.recall, one.precision, color=colour, zorder=layer)
    for place, values in _labels(points).items():
        axes.annotate(values, place, textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set(
        title=f"{name}; in force: {now:,.6g} (red)", xlabel="recall: episodes caught",
        ylabel="precision: findings that are true", xlim=(-0.03, 1.12), ylim=(-0.03, 1.08),
    )  # fmt: skip
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=150)


def _labels(points: Sequence[Point]) -> dict[tuple[float, float], str]:
    """The values at each place of the picture: several may come to the same."""
    found: dict[tuple[float, float], list[str]] = {}
    for one in points:
        found.setdefault((one.recall, one.precision), []).append(f"{one.value:,.6g}")
    return {place: values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}" for place, values in found.items()}

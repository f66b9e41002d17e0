"""The detectors as people see them: `vpcflow detectors`, `vpcflow evaluate`, docs/detectors.md."""

from __future__ import annotations

import gzip
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.core.detection import Detector
from streams.core.evaluation import Episode, Evaluation
from streams.core.findings import Finding
from streams.detectors.registry import DETECTORS
from streams.report import counted, duration_text, printable

_HEAD = """# Detectors

Made from `streams/detectors/` by `make docs`. How good they are: [detection.md](detection.md).

A detector sees the conversations of a minute: who asked whom for which service, and what came back, both half-flows in
one row. It remembers what it needs, up to a limit. What it goes on seeing is one finding, until nothing was seen for
its cool-down. `vpcflow analyze` runs them all, and so do workers with `detection.live: true`.
"""


def find(name: str) -> Detector | None:
    """The detector of that name."""
    return next((one for one in DETECTORS if one.name == name), None)


def unknown(name: str) -> str:
    """What to say to who asks for a detector that there is not."""
    [near] = get_close_matches(name, [one.name for one in DETECTORS], 1, 0.0)
    return f"no detector {name!r}; the nearest is {near}, `vpcflow detectors list` shows all"


def listed(console: Console) -> None:
    """All of them, a line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("detector", "ATT&CK", "what it finds"):
        table.add_column(column)
    for one in DETECTORS:
        table.add_row(one.name, ", ".join(one.attack) or "-", one.title)
    console.print(table)


def explained(one: Detector) -> str:
    """One of them, in Markdown."""
    lines = [f"## {one.name}", "", f"**{one.title}.** {one.explanation}", "", f"What to do: {one.runbook}", ""]
    lines += [f"ATT&CK: {', '.join(one.attack) or '-'}. Cool-down: {one.cool_down:,} s.", ""]
    lines += ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in _settings(one)]
    lines += ["", *_cases("Fires", one, fires=True), *_cases("Stays silent", one, fires=False), ""]
    return "\n".join(lines)


def detectors_markdown() -> str:
    """docs/detectors.md."""
    return "\n".join([_HEAD, *(explained(one) for one in DETECTORS)])


def detectors_yaml() -> str:
    """config/detectors.yaml: every setting of every detector with its default."""
    lines = [
        "# Settings of the detectors, each with its default. Made from streams/detectors by `make docs`.",
        "# Used where detection.detectors names this file. `enabled: false` switches a detector off.",
    ]
    for one in DETECTORS:
        lines += ["", f"# {one.title}.", f"{one.name}:", "  enabled: true"]
        for each in fields(one.settings):
            value = getattr(one.settings, each.name)
            lines += textwrap.wrap(each.metadata["meaning"], 100, initial_indent="  # ", subsequent_indent="  # ")
            lines.append(f"  {each.name}: {_plain(value)}")
    return "\n".join([*lines, ""])


def _plain(value: object) -> str:
    """As YAML reads it back: it takes 1e-05 for text."""
    if isinstance(value, float) and 0 < value < 0.001:  # noqa: PLR2004 - where Python turns to 1e-05
        return f"{value:.8f}".rstrip("0")
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)


def _settings(one: Detector) -> Iterator[tuple[str, str, str]]:
    for each in fields(one.settings):
        yield each.name, _shown(getattr(one.settings, each.name)), each.metadata["meaning"]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _plain(value)


def _cases(title: str, one: Detector, *, fires: bool) -> list[str]:
    return [f"{title}: {'; '.join(case.what for case in one.examples if case.fires == fires)}.", ""]


# -- evaluate ----------------------------------------------------------------------------------------------------------


def read_truth(path: Path) -> list[Episode]:
    """Episodes of a file, a JSON object a line; gzip if its name says so. Raises ValueError (the line), OSError."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    return [_episode(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _episode(path: Path, number: int, line: bytes) -> Episode:
    try:
        return Episode.of(orjson.loads(line))
    except (ValueError, AttributeError, TypeError) as problem:
        raise ValueError(f"{path}, line {number}: not an episode ({problem})") from None


def evaluated_json(found: Evaluation) -> dict[str, object]:
    """The object of `vpcflow evaluate --json`."""
    kinds = [
        {
            "kind": one.kind, "detectors": list(one.detectors), "episodes": one.episodes, "caught": one.caught,
            "interval": list(one.interval), "median_seconds_to_detect": one.delay,
        }
        for one in found.kinds
    ]  # fmt: skip
    return {
        "kinds": kinds, "days": found.days, "enis": found.enis, "false_findings": len(found.false),
        "false_per_day_and_eni": found.false_rate, "false_interval": list(found.false_interval),
        "false": [{"detector": one.detector, "first_seen": one.first, "sentence": one.sentence} for one in found.false],
    }  # fmt: skip


def show_evaluation(found: Evaluation, console: Console) -> None:
    """As a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("kind", "caught", "95 %", "known after", "by"):
        table.add_column(column)
    for one in found.kinds:
        low, high = one.interval
        delay = "-" if one.delay is None else duration_text(one.delay)
        detectors = ", ".join(one.detectors) or "any"
        caught = f"{one.caught} of {one.episodes}"
        table.add_row(Text(printable(one.kind)), caught, f"{low:.0%} to {high:.0%}", delay, detectors)
    low, high = found.false_interval
    console.print(table)
    console.print(
        f"\n{counted(len(found.false), 'false finding')} in {found.days:.2f} days on "
        f"{counted(found.enis, 'interface')}: "
        f"{found.false_rate:.2f} a day and interface ({low:.2f} to {high:.2f})"
    )
    show_findings(found.false, console)


def show_findings(findings: Iterable[Finding], console: Console) -> None:
    """A line each."""
    for one in findings:
        console.print(Text(f"  {one.detector}: {printable(one.sentence)}"))


def days_of(report: Mapping[str, object]) -> tuple[float, int]:
    """Days that the records of an analysis span, and interfaces."""
    enis = cast("Sequence[Mapping[str, Any]]", report["enis"])
    times = [(one["first"], one["last"]) for one in enis if one["first"] is not None]
    span = max(last for _, last in times) - min(first for first, _ in times) if times else 0
    return span / 86_400, len(enis)

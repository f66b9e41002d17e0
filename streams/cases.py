"""`vpcflow detectors test`: an operator's own cases, traffic in which a detector must find something or stay silent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.core.analysis import Analysis
from streams.core.detection import Detector, Watch, last_of_each
from streams.core.fields import Format
from streams.core.findings import Finding
from streams.core.parse import parse
from streams.report import printable
from streams.settings import MOST_TOLD, ConfigError, Section, nearest, read_yaml, shown

_ALLOWED = {"cases"}


class Case(Section):
    """lines: flow log lines, a header on top where they are not of the default format. fires: whether it must."""

    detector: str
    what: str
    fires: bool
    lines: str


@dataclass(frozen=True)
class Outcome:
    """findings: of the case's detector. rejects: of its lines."""

    case: Case
    findings: Sequence[Finding]
    rejects: int

    @property
    def holds(self) -> bool:
        """Whether it is as the case says. Lines that can't be read are no proof of anything."""
        return bool(self.findings) == self.case.fires and not self.rejects


def read_cases(path: Path, detectors: Sequence[Detector]) -> list[Case]:
    """A list under `cases`. Raises ConfigError with every problem."""
    tree = read_yaml(path)
    rows = tree.get("cases")
    if set(tree) - _ALLOWED or not isinstance(rows, list) or not rows:
        raise ConfigError([f"{path}: expected a list under `cases`, and nothing else"])
    problems = [
        f"{path}: case {number}: {problem}"
        for number, row in enumerate(rows, 1)
        for problem in _problems(row, {one.name for one in detectors})
    ]
    if problems:
        raise ConfigError(problems[:MOST_TOLD])
    return [Case.model_validate(row) for row in rows]


def _problems(row: Any, names: set[str]) -> Iterator[str]:  # noqa: ANN401 - whatever YAML can hold
    if not isinstance(row, dict):
        yield f"expected a map, found {shown(row)}"
        return
    try:
        case = Case.model_validate(row)
    except ValidationError as error:
        for one in error.errors():
            yield f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}, found {shown(one['input'])}"
        return
    if case.detector not in names:
        yield f"detector: unknown, or switched off; {nearest(case.detector, names, '-')}"


def tried(cases: Sequence[Case], detectors: Sequence[Detector], fmt: Format | None) -> Iterator[Outcome]:
    """Each case with its own detector, which has seen nothing before."""
    by_name = {one.name: one for one in detectors}
    for case in cases:
        analysis, parsed = Analysis(), parse(f"{case.lines.rstrip()}\n".encode(), fmt)
        analysis.add(parsed)
        findings = last_of_each(Watch([by_name[case.detector]]).see_all(analysis.talks(), analysis.silent()))
        yield Outcome(case, findings, parsed.rejects.height)


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """A line each, then how many hold."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("", "detector", "case", "found"):
        table.add_column(column)
    for one in outcomes:
        mark = Text("ok" if one.holds else "FAILED", "green" if one.holds else "bold red")
        table.add_row(mark, one.case.detector, Text(printable(one.case.what)), Text(_found(one)))
    console.print(table)
    console.print(f"\n{sum(one.holds for one in outcomes)} of {len(outcomes)} cases hold")


def _found(one: Outcome) -> str:
    if one.rejects:
        return f"{one.rejects} of its lines can't be read: `vpcflow parse` says why"
    if not one.findings:
        return "nothing" if not one.case.fires else "nothing, it must fire"
    return printable(one.findings[0].sentence) + ("" if one.case.fires else " (it must stay silent)")

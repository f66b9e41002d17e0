"""Figures: what a run gave, what a contender's runs come to, how it is told. No clock, no process, no Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median, median_low

from streams.generate import Version

POLARS = "polars-file"

COLUMNS = ("contender", "load", "records", "CPU-s per million", "times Polars", "records/s", "peak RSS, MB", "verified")


@dataclass(frozen=True)
class Load:
    """What is counted: lines of `version`, spread over `enis` ENIs."""

    lines: int
    enis: int
    version: Version

    @property
    def name(self) -> str:
        """As a column has it."""
        return f"v{self.version}, {self.enis:,} ENIs"


@dataclass(frozen=True)
class Result:
    """A run. verified: its totals equal DuckDB's, to the unit.

    peak_rss_mb: None where the system tells none. times_polars: its CPU over that of Polars in the same turn.
    """

    contender: str
    load: str
    records: int
    cpu_seconds_per_million: float
    records_per_second: int
    peak_rss_mb: float | None
    verified: bool
    times_polars: float | None = None


@dataclass(frozen=True)
class Skipped:
    """A contender without figures. failed: it was there, but its run broke."""

    contender: str
    load: str
    reason: str
    failed: bool = False


Outcome = Result | Skipped


def rated(turn: Sequence[Outcome]) -> list[Outcome]:
    """A turn with each run held against that of Polars in it."""
    limit = next(one for one in turn if isinstance(one, Result) and one.contender == POLARS)
    return [_rated(one, limit) if isinstance(one, Result) else one for one in turn]


def _rated(one: Result, limit: Result) -> Result:
    return replace(one, times_polars=round(one.cpu_seconds_per_million / limit.cpu_seconds_per_million, 2))


def summary(turns: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """Of turns with the same contenders in the same order: the median run of each."""
    return [_summed_up(outcomes) for outcomes in zip(*turns, strict=True)]


def _summed_up(outcomes: Sequence[Outcome]) -> Outcome:
    """The median run by CPU with the median of the ratios; one run without figures leaves none."""
    results = [one for one in outcomes if isinstance(one, Result)]
    if len(results) < len(outcomes):
        return next(one for one in outcomes if isinstance(one, Skipped))
    middle = median_low(one.cpu_seconds_per_million for one in results)
    chosen = next(one for one in results if one.cpu_seconds_per_million == middle)
    ratio = median(one.times_polars for one in results if one.times_polars is not None)
    return replace(chosen, verified=all(one.verified for one in results), times_polars=round(ratio, 2))


def sound(outcomes: Sequence[Outcome]) -> bool:
    """Whether all that ran is verified. What is missing on this machine is no fault."""
    return all(one.verified if isinstance(one, Result) else not one.failed for one in outcomes)


def report(outcomes: Sequence[Outcome], machine: str, versions: Mapping[str, str]) -> str:
    """JSON. versions: of the contenders that were found."""
    found = {
        "machine": machine,
        "versions": dict(versions),
        "results": [asdict(one) for one in outcomes if isinstance(one, Result)],
        "skipped": [asdict(one) for one in outcomes if isinstance(one, Skipped)],
    }
    return json.dumps(found, indent=2) + "\n"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A table."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *map(row, outcomes)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def row(one: Outcome) -> tuple[str, ...]:
    """Cells of COLUMNS."""
    if isinstance(one, Skipped):
        how = "FAILED" if one.failed else "skipped"
        return one.contender, one.load, *("-" * 5), f"{how}: {one.reason}"
    return (
        one.contender, one.load, f"{one.records:,}", f"{one.cpu_seconds_per_million:.2f}",
        _told(one.times_polars, ".2f"), f"{one.records_per_second:,}", _told(one.peak_rss_mb, ",.0f"),
        "yes" if one.verified else "NO",
    )  # fmt: skip


def _told(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)

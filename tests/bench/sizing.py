"""How much of everything a rate of records needs: a model of a few lines, fitted to the curves of growth. Pure.

A worker has work for each record, and work for each *cell*: an ENI in a pane of a raw partition. A cell is a row in
memory, in a summary and in a checkpoint, however many records it counts. Each raw partition has cells of its own, so
they grow with the partitions, until each has one record only.

`python -m tests.bench.sizing FIGURES` prints the tables of docs/sizing.md from what `make growth` wrote.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from operator import mul
from pathlib import Path

from tests.bench.chart import markdown, of_json, short
from tests.bench.curves import CURVES, OURS, Figures, Setup
from tests.bench.loads import PANE

Curves = Mapping[str, Sequence[Figures]]

RATES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
ENIS = (1_000, 50_000)

BUSY = 0.6
"""Of a core that a worker is to use: the rest is for a rebalance, a backlog, a bad hour."""
RETAINED = 120
RAW_SECONDS, SUMMARY_SECONDS = 72 * 3600, 24 * 3600
LEAST, MOST = 4, 1024
"""Raw partitions: the default, and what the settings allow."""

_LIVE = ("live", "live-rate", "live-partitions")


@dataclass(frozen=True)
class Model:
    """Cores, megabytes and bytes a second that a record or a cell of the open panes takes, and what is there anyway."""

    base_cores: float
    record_cores: float
    cell_cores: float
    base_mb: float
    cell_mb: float
    record_raw: float
    base_summaries: float
    cell_summaries: float
    base_changelogs: float
    cell_changelogs: float


@dataclass(frozen=True)
class Need:
    """What a rate needs. memory_mb: of one worker. Bytes a second, and on disks: of one copy."""

    rate: int
    enis: int
    partitions: int
    workers: int
    cores: float
    memory_mb: float
    raw: float
    summaries: float
    changelogs: float
    disk: float


def cells(enis: float, partitions: int, records: float) -> float:
    """Of a pane, over all raw partitions, when so many records are spread evenly over the ENIs and the partitions."""
    missed: float = (1 - 1 / partitions) ** (records / enis)
    return enis * partitions * (1 - missed)


def least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """The factors of the columns that come nearest to the values. Raises ZeroDivisionError: columns say the same."""
    columns = list(zip(*rows, strict=True))
    # normal equations, then Gauss and Jordan
    table = [[_product(one, other) for other in (*columns, values)] for one in columns]
    for at in range(len(columns)):
        pivot = table[at] = [cell / table[at][at] for cell in table[at]]
        table = [row if row is pivot else _less(row, row[at], pivot) for row in table]
    return [row[-1] for row in table]


def _product(some: Sequence[float], others: Sequence[float]) -> float:
    return float(sum(map(mul, some, others)))


def _less(row: Sequence[float], times: float, other: Sequence[float]) -> list[float]:
    return [one - times * two for one, two in zip(row, other, strict=True)]


# -- fitting -----------------------------------------------------------------------------------------------------------


def fit(found: Curves) -> Model:
    """A model from the figures. Raises KeyError for a curve that is missing."""
    live = list(_live(found))
    rows = [(1.0, float(setup.live), setup_cells(setup)) for setup, _ in live]
    base_cores, record_cores, cell_cores = least_squares(rows, [one.cores for _, one in live])
    memory = [(1.0, one.interfaces * float(RETAINED)) for one in found["memory"]]
    base_mb, cell_mb = least_squares(memory, [one.peak_rss_mb for one in found["memory"]])
    of_cells = [(base, many) for base, _, many in rows]
    summaries = least_squares(of_cells, [one.stored["summaries"] / one.seconds for _, one in live])
    changelogs = least_squares(of_cells, [one.changelogs for _, one in live])
    raw = next(one for one in found["bytes"] if one.value == OURS)
    return Model(
        base_cores, record_cores, cell_cores, base_mb, cell_mb, raw.stored["raw"] / raw.records,
        summaries[0], summaries[1], changelogs[0], changelogs[1],
    )  # fmt: skip


def _live(found: Curves) -> Iterator[tuple[Setup, Figures]]:
    for curve in CURVES:
        if curve.name in _LIVE:
            setups = dict(curve.setups(quick=False))
            yield from ((setups[one.value], one) for one in found[curve.name])


def setup_cells(setup: Setup) -> float:
    """Of a pane of a live point."""
    return cells(setup.load.enis, setup.raw_partitions, setup.live * PANE)


# -- predicting --------------------------------------------------------------------------------------------------------


def need(model: Model, rate: int, enis: int) -> Need:
    """With as few partitions as give each worker one. Twice as many as before, until they are enough."""
    partitions = LEAST
    while (found := _with(model, rate, enis, partitions)).workers > partitions and partitions < MOST:
        partitions *= 2
    return found


def _with(model: Model, rate: int, enis: int, partitions: int) -> Need:
    open_cells = cells(enis, partitions, rate * PANE)
    work = model.record_cores * rate + model.cell_cores * open_cells
    workers = max(1, ceil(work / (BUSY - model.base_cores)))
    raw = model.record_raw * rate
    summaries = model.base_summaries + model.cell_summaries * open_cells
    return Need(
        rate, enis, partitions, workers, work + workers * model.base_cores,
        model.base_mb + model.cell_mb * open_cells * RETAINED / workers,
        raw, summaries, model.base_changelogs + model.cell_changelogs * open_cells,
        raw * RAW_SECONDS + summaries * SUMMARY_SECONDS,
    )  # fmt: skip


# -- telling -----------------------------------------------------------------------------------------------------------

_MODEL: Sequence[tuple[str, Callable[[Model], str]]] = (
    ("CPU-seconds for a million records, live", lambda one: short(one.record_cores * 1e6)),
    ("CPU-seconds a second for a million cells of a pane", lambda one: short(one.cell_cores * 1e6)),
    ("CPU-seconds a second of a worker with nothing to do", lambda one: short(one.base_cores)),
    ("memory of a million cells, MB", lambda one: short(one.cell_mb * 1e6)),
    ("memory of a worker without cells, MB", lambda one: short(one.base_mb)),
    ("raw topic, bytes a record", lambda one: short(one.record_raw)),
    ("summaries, bytes a second for a cell of a pane", lambda one: short(one.cell_summaries)),
    ("changelogs, bytes a second for a cell of a pane", lambda one: short(one.cell_changelogs)),
)
_NEED: Sequence[tuple[str, Callable[[Need], str]]] = (
    ("records/s", lambda one: f"{one.rate:,}"),
    ("ENIs", lambda one: f"{one.enis:,}"),
    ("raw partitions", lambda one: f"{one.partitions:,}"),
    ("workers", lambda one: f"{one.workers:,}"),
    ("cores", lambda one: short(one.cores)),
    ("memory of a worker, MB", lambda one: short(one.memory_mb)),
    ("raw, MB/s", lambda one: short(one.raw / 1e6)),
    ("summaries, MB/s", lambda one: short(one.summaries / 1e6)),
    ("changelogs, MB/s", lambda one: short(one.changelogs / 1e6)),
    ("disk, GB", lambda one: short(one.disk / 1e9)),
)


def tables(model: Model) -> str:
    """The model, and what each of RATES needs with each of ENIS, in Markdown."""
    needs = [need(model, rate, enis) for enis in ENIS for rate in RATES]
    head = [title for title, _ in _NEED]
    return "\n".join([
        markdown([["", "fitted"], *([title, tell(model)] for title, tell in _MODEL)]), "",
        markdown([head, *([tell(one) for _, tell in _NEED] for one in needs)]), "",
    ])  # fmt: skip


if __name__ == "__main__":
    print(tables(fit(of_json(Path(sys.argv[1]).read_text("utf-8")))))

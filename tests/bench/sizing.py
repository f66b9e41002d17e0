"""How much of everything a rate of records needs: a model of a few lines, fitted to the curves of growth. Pure.

A worker has work for each record, and work for each *cell*: an ENI in a pane of a raw partition. A cell is a row in
memory, in a summary and in a checkpoint, however many records it counts. Each raw partition has cells of its own, so
they grow with the partitions, until each has one record only.

Summaries and checkpoints are due at fixed times, but where a worker is behind, what takes longer rests longer after it
(streams/agents/loop.py). So x cells of a worker take A x / (1 + B x): in proportion as long as they are few, and not
more than A / B. What grows then is the age of the figures: 1 + B x times the time between summaries. Where nothing
rests, B is 0.

What a record costs is taken from a backlog with the fewest interfaces: it is too little at live rates to be told from
what cells cost.

`make growth` puts its tables into docs/sizing.md; so does `python -m tests.bench.sizing` without measuring anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path

from streams.settings import Checkpoint
from tests.bench.chart import markdown, of_json, placed, short
from tests.bench.curves import CURVES, OURS, Figures, Setup
from tests.bench.loads import PANE

ROOT = Path(__file__).parents[2]
FIGURES, PAGE = ROOT / "tests/bench/growth.json", ROOT / "docs/sizing.md"

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
NEEDED = (*_LIVE, "enis", "memory", "bytes", "away")


@dataclass(frozen=True)
class Rested:
    """What the cells of a worker take a second: less than in proportion, see the file's rule."""

    each: float
    rest: float

    def of(self, cells_of_worker: float) -> float:
        """A second."""
        return self.each * cells_of_worker / (1 + self.rest * cells_of_worker)


@dataclass(frozen=True)
class Model:
    """Of a worker: cores and MB with nothing to do, for each record a second, for each cell; and bytes in Kafka."""

    base_cores: float
    record_cores: float
    cell_cores: Rested
    base_mb: float
    cell_mb: float
    record_raw: float
    cell_summaries: Rested
    cell_changelogs: Rested


@dataclass(frozen=True)
class Need:
    """What a rate needs. memory_mb: of one worker. age: of the figures, seconds. Bytes a second, on disks: one copy."""

    rate: int
    enis: int
    partitions: int
    workers: int
    cores: float
    memory_mb: float
    age: float
    raw: float
    summaries: float
    changelogs: float
    disk: float

    @property
    def busy(self) -> float:
        """Part of a core that each worker uses."""
        return self.cores / self.workers


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
    many = [setup_cells(setup) for setup, _ in live]
    summaries = rested(many, [one.stored["summaries"] / one.seconds for _, one in live])
    cheapest = min(found["enis"], key=lambda one: one.interfaces)
    record_cores = cheapest.cpu_seconds / cheapest.records
    work = [(1.0, Rested(1, summaries.rest).of(x)) for x in many]
    base_cores, cell_cores = least_squares(work, [one.cores - record_cores * setup.live for setup, one in live])
    memory = [(1.0, one.interfaces * float(RETAINED)) for one in found["memory"]]
    base_mb, cell_mb = least_squares(memory, [one.peak_rss_mb for one in found["memory"]])
    raw = next(one for one in found["bytes"] if one.value == OURS)
    return Model(
        base_cores, record_cores, Rested(cell_cores, summaries.rest), base_mb, cell_mb,
        raw.stored["raw"] / raw.records, summaries, rested(many, [one.changelogs for _, one in live]),
    )  # fmt: skip


def rested(many: Sequence[float], taken: Sequence[float]) -> Rested:
    """What so many cells took: x / taken is a line over x. It must not fall: many cells would take nothing then."""
    lines = [(1.0, x) for x in many]
    base, slope = least_squares(lines, [x / one for x, one in zip(many, taken, strict=True)])
    if slope <= 0:
        return Rested(sum(taken) / sum(many), 0.0)
    return Rested(1 / base, slope / base)


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
    """With as few partitions, of 4, 8, 16 and so on, as give each worker one. More than BUSY: no number is enough."""
    partitions = LEAST
    while (found := _with(model, rate, enis, partitions)).busy > BUSY and partitions < MOST:
        partitions *= 2
    return found


def _with(model: Model, rate: int, enis: int, partitions: int, workers: int = 0) -> Need:
    """workers: 0: as few as are enough."""
    total = cells(enis, partitions, rate * PANE)
    while not workers or (workers < partitions and _cores(model, rate / workers, total / workers) > BUSY):
        workers += 1
    mine = total / workers
    raw, summaries = model.record_raw * rate, workers * model.cell_summaries.of(mine)
    return Need(
        rate, enis, partitions, workers, workers * _cores(model, rate / workers, mine),
        model.base_mb + model.cell_mb * mine * RETAINED, _age(model.cell_summaries, mine),
        raw, summaries, workers * model.cell_changelogs.of(mine), raw * RAW_SECONDS + summaries * SUMMARY_SECONDS,
    )  # fmt: skip


def _cores(model: Model, rate: float, mine: float) -> float:
    """Of one worker."""
    return model.base_cores + model.record_cores * rate + model.cell_cores.of(mine)


# -- telling -----------------------------------------------------------------------------------------------------------

_MODEL: Sequence[tuple[str, Callable[[Model], str]]] = (
    ("CPU-seconds for a million records", lambda one: short(one.record_cores * 1e6)),
    ("CPU-seconds a second of a worker with nothing to do", lambda one: short(one.base_cores)),
    ("CPU-seconds a second for cells: 1,000; 100,000", lambda one: _both(one.cell_cores)),
    ("memory of a million cells, MB", lambda one: short(one.cell_mb * 1e6)),
    ("memory of a worker without cells, MB", lambda one: short(one.base_mb)),
    ("raw topic, bytes a record", lambda one: short(one.record_raw)),
    ("summaries, bytes a second for cells: 1,000; 100,000", lambda one: _both(one.cell_summaries)),
    ("changelogs, bytes a second for cells: 1,000; 100,000", lambda one: _both(one.cell_changelogs)),
    ("age of the figures with 1,000, with 100,000 cells, s", lambda one: _ages(one.cell_summaries)),
)
_NEED: Sequence[tuple[str, Callable[[Need], str]]] = (
    ("records/s", lambda one: f"{one.rate:,}"),
    ("ENIs", lambda one: f"{one.enis:,}"),
    ("raw partitions", lambda one: f"{one.partitions:,}"),
    ("workers", lambda one: f"{one.workers:,}"),
    ("cores", lambda one: short(one.cores)),
    ("memory of a worker, MB", lambda one: short(one.memory_mb)),
    ("figures are old, s", lambda one: short(one.age)),
    ("raw, MB/s", lambda one: short(one.raw / 1e6)),
    ("summaries, MB/s", lambda one: short(one.summaries / 1e6)),
    ("changelogs, MB/s", lambda one: short(one.changelogs / 1e6)),
    ("disk, GB", lambda one: short(one.disk / 1e9)),
)


def _both(one: Rested) -> str:
    return f"{short(one.of(1e3))}; {short(one.of(1e5))}"


def _ages(one: Rested) -> str:
    return f"{short(_age(one, 1e3))}; {short(_age(one, 1e5))}"


def _age(one: Rested, mine: float) -> float:
    """Of the figures, seconds."""
    return Checkpoint().summary_seconds * (1 + one.rest * mine)


def tables(found: Curves) -> dict[str, str]:
    """By name: the model, what each of RATES needs with each of ENIS, and a point that the fit did not know."""
    model = fit(found)
    needs = [need(model, rate, enis) for enis in ENIS for rate in RATES]
    head = [title for title, _ in _NEED]
    return {
        "model": markdown([["", "fitted"], *([title, tell(model)] for title, tell in _MODEL)]),
        "needs": markdown([head, *([tell(one) for _, tell in _NEED] for one in needs)]),
        "away": markdown([["", "predicted", "measured", "measured / predicted"], *_away(model, found)]),
    }


def _away(model: Model, found: Curves) -> Iterator[list[str]]:
    curve = next(one for one in CURVES if one.name == "away")
    setups = dict(curve.setups(quick=False))
    for one in found["away"]:
        setup = setups[one.value]
        foretold = _with(model, setup.live, setup.load.enis, setup.raw_partitions, workers=1)
        for what, predicted, measured in (
            ("CPU-seconds a second", foretold.cores, one.cores),
            ("summaries, kB/s", foretold.summaries / 1e3, one.stored["summaries"] / one.seconds / 1e3),
            ("changelogs, kB/s", foretold.changelogs / 1e3, one.changelogs / 1e3),
        ):
            yield [what, short(predicted), short(measured), f"{measured / predicted:.2f}"]


def page(old: str, found: Curves) -> str:
    """docs/sizing.md with its tables anew."""
    for name, made in tables(found).items():
        old = placed(old, name, made)
    return old


def main() -> int:
    """Renew the page. 1: a curve that the fit needs is not measured yet."""
    found = of_json(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    missing = [name for name in NEEDED if name not in found]
    if missing:
        print(f"{PAGE.name} stays as it is: no figures of {', '.join(missing)} yet")
        return 1
    PAGE.write_text(page(PAGE.read_text("utf-8"), found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The curves of growth: of each what varies, over which values, and what must hold. Pure: growth.py measures.

A curve is a row of CURVES. A point of it is a Setup: the same for all points but for one field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import median_low
from typing import Any

from tests.bench.loads import EVERY_OTHER, Load

Value = int | float | str

MILLION = 1_000_000
OURS = "zstd"
"""How our publisher compresses."""
KIB = 1024
TOPICS = ("raw", "summaries", "combine-changelog", "roll-changelog", "dead-letter")
CHANGELOGS = ("combine-changelog", "roll-changelog")

_MOST_MESSAGES = 20_000
"""Of a point: one line a message would take minutes for a million lines."""
_QUICK = 20
"""Times fewer records."""


@dataclass(frozen=True)
class Setup:
    """A point: the load and what the workers are set to.

    live: records a second, for as long as a point takes; 0: all records are on the topic before the workers start.
    """

    load: Load = field(default_factory=Load)
    raw_partitions: int = 4
    retained: int = 120
    workers: int = 1
    compression: str = OURS
    live: int = 0

    def with_value(self, name: str, value: Value) -> Setup:
        """The same but for one field, of its own or of the load."""
        changed: dict[str, Any] = {name: value}
        if name in {one.name for one in fields(Load)}:
            return replace(self, load=replace(self.load, **changed))
        return replace(self, **changed)

    def affordable(self, *, quick: bool) -> Setup:
        """With no more records than such small messages allow, and far fewer for a quick run."""
        load, times = self.load, _QUICK if quick else 1
        records = min(load.records // times, _MOST_MESSAGES * max(1, load.batch // 110))
        rounds = load.rounds and max(1, load.rounds // times)
        return replace(self, load=replace(load, records=records, rounds=rounds))


@dataclass(frozen=True)
class Figures:
    """What a point gave. records, seconds, cpu_seconds, stored: of the measurement, start-up left out.

    interfaces: distinct ENIs in the lines. late: records that the workers counted as late. stored: bytes by topic.
    peak_rss_mb: of the largest worker. limit: CPU-seconds that a million of these records take Polars.
    """

    value: Value
    records: int
    interfaces: int
    seconds: float
    cpu_seconds: float
    limit: float
    peak_rss_mb: float
    late: int
    stored: Mapping[str, int]
    verified: bool

    @property
    def cost(self) -> float:
        """CPU-seconds per million records."""
        return self.cpu_seconds / self.records * MILLION

    @property
    def times_polars(self) -> float:
        """Cost over that of Polars."""
        return self.cost / self.limit

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cores(self) -> float:
        """CPU-seconds a second."""
        return self.cpu_seconds / self.seconds

    @property
    def changelogs(self) -> float:
        """Bytes a second on both changelogs."""
        return sum(self.stored[topic] for topic in CHANGELOGS) / self.seconds

    def megabytes(self, topic: str) -> float:
        """Of a topic, per million records."""
        return self.stored[topic] / self.records


def middle(runs: Sequence[Figures]) -> Figures:
    """The median run by cost; verified if all are."""
    cost = median_low(one.cost for one in runs)
    return replace(next(one for one in runs if one.cost == cost), verified=all(one.verified for one in runs))


Column = tuple[str, Callable[[Figures], str]]

COSTS: Sequence[Column] = (
    ("records", lambda one: f"{one.records:,}"),
    ("CPU-s per million", lambda one: f"{one.cost:.2f}"),
    ("times Polars", lambda one: f"{one.times_polars:.2f}"),
    ("records/s", lambda one: f"{one.rate:,.0f}"),
    ("peak RSS, MB", lambda one: f"{one.peak_rss_mb:,.0f}"),
)
SEEN: Sequence[Column] = (("ENIs in the lines", lambda one: f"{one.interfaces:,}"),)
LATE: Sequence[Column] = (("counted as late", lambda one: f"{one.late / one.records:.1%}"),)
STORED: Sequence[Column] = tuple(
    (f"{topic}, MB", lambda one, topic=topic: f"{one.megabytes(topic):.2f}")  # type: ignore[misc]
    for topic in TOPICS
)
LIVE: Sequence[Column] = (
    ("records/s", lambda one: f"{one.rate:,.0f}"),
    ("CPU-s per s", lambda one: f"{one.cores:.3f}"),
    ("peak RSS, MB", lambda one: f"{one.peak_rss_mb:,.0f}"),
    ("raw, kB/s", lambda one: f"{one.stored['raw'] / one.seconds / 1e3:,.0f}"),
    ("summaries, kB/s", lambda one: f"{one.stored['summaries'] / one.seconds / 1e3:,.0f}"),
    ("changelogs, kB/s", lambda one: f"{one.changelogs / 1e3:,.0f}"),
)


@dataclass(frozen=True)
class Curve:
    """varies: a field of Setup or Load; what: the same in words. drawn: a property of Figures, and its name; "": none.

    faults: what must not be, of all points of a full run.
    """

    name: str
    title: str
    varies: str
    what: str
    values: Sequence[Value]
    base: Setup = Setup()
    columns: Sequence[Column] = COSTS
    drawn: tuple[str, str] = ("cost", "CPU-seconds per million records")
    faults: Callable[[Sequence[Figures]], Iterator[str]] = lambda _: iter(())

    def setups(self, *, quick: bool) -> Iterator[tuple[Value, Setup]]:
        """Value -> point; a quick run has the first and the last."""
        values = dict.fromkeys((self.values[0], self.values[-1])) if quick else self.values
        for value in values:
            yield value, self.base.with_value(self.varies, value).affordable(quick=quick)


def spread(costs: Sequence[float]) -> float:
    """How much the highest is above the lowest, 0.1: a tenth."""
    return max(costs) / min(costs) - 1


def even(figures: Sequence[Figures], bound: float = 0.10) -> Iterator[str]:
    """A fault when the cost is not the same everywhere."""
    found = spread([one.cost for one in figures])
    if found > bound:
        yield f"the highest cost is {found:.0%} above the lowest, {bound:.0%} is allowed"


def quiet(figures: Sequence[Figures], bound: float = 1e6) -> Iterator[str]:
    """A fault for each point whose changelogs take more bytes a second."""
    for one in figures:
        if one.changelogs >= bound:
            yield f"at {one.value:,} the changelogs take {one.changelogs / 1e6:.2f} MB/s, {bound / 1e6:g} is allowed"


_SAME_ENIS = Load(rounds=200)
_MANY_PANES = Load(enis=2000, rounds=2, panes=240, peers=10)
_LIVE = Setup(Load(enis=50_000, rounds=1, panes=4, peers=10), retained=5, live=5_000)
"""Few panes are retained: after a minute or two each new one pushes an old one into the history, as it is for good."""

CURVES: Sequence[Curve] = (
    Curve("enis", "Network interfaces", "enis", "ENIs", (100, 1_000, 10_000, 20_000, 50_000, 100_000),
          columns=(*SEEN, *COSTS)),
    Curve("batch", "Lines in a message", "batch", "bytes of lines in a message",
          (1, 4 * KIB, 64 * KIB, 256 * KIB, 512 * KIB, 1024 * KIB)),
    Curve("partitions", "Raw partitions", "raw_partitions", "raw partitions", (1, 4, 8, 16, 32)),
    Curve("partitions-enis", "Raw partitions with many interfaces", "raw_partitions", "raw partitions", (1, 4, 16, 32),
          Setup(Load(enis=20_000))),
    Curve("late", "Late records", "late", "% late", (0, 1, 5, 20), columns=(*LATE, *COSTS)),
    Curve("broken", "Lines that can't be read", "broken", "% broken", (0, 0.1, 1, 5)),
    Curve("peers", "Addresses that an interface talks to", "peers", "peers of an ENI", (1, 10, 1000, EVERY_OTHER),
          Setup(_SAME_ENIS)),
    Curve("workers", "Workers", "workers", "workers", (1, 2, 3, 4), Setup(Load(records=2 * MILLION)), faults=even),
    Curve("panes", "Retained panes", "retained", "retained panes", (15, 60, 120, 240), Setup(_MANY_PANES)),
    Curve("memory", "Memory", "enis", "ENIs in each of 120 panes", (1_000, 10_000, 50_000),
          Setup(Load(rounds=1, panes=120, peers=10)), drawn=("peak_rss_mb", "peak RSS, MB")),
    Curve("bytes", "Bytes in Kafka", "compression", "compression of raw messages", (OURS, "lz4"),
          Setup(Load(broken=1)), STORED, drawn=("", "")),
    Curve("live", "Live, by interfaces", "enis", "ENIs", (1_000, 10_000, 50_000), _LIVE, LIVE,
          ("changelogs", "bytes a second on the changelogs"), quiet),
    Curve("live-rate", "Live, by records a second", "live", "records/s", (1_000, 5_000, 20_000), _LIVE, LIVE,
          ("cores", "CPU-seconds a second"), quiet),
    Curve("live-partitions", "Live, by raw partitions", "raw_partitions", "raw partitions", (1, 4, 16), _LIVE, LIVE,
          ("changelogs", "bytes a second on the changelogs")),
    Curve("away", "Away from the fit", "live", "records/s", (10_000,),
          replace(_LIVE, raw_partitions=8).with_value("enis", 20_000), LIVE, ("", "")),
)  # fmt: skip

"""Whether a run is as it must be: each bound that is broken is a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, inf, sqrt
from statistics import mean, median

HOUR = 3600.0
GROWS = {"files": ("open files", 0), "threads": ("threads", 2), "series": ("series", 0)}
"""What is not more by the end than after the warm-up, but for so many: Polars starts and ends threads as it needs."""

_PARTS = 5
_STALE_SECONDS = 3.0
"""How old the lag may be that is told: the worker learns with each fetch what waits, and fetches as it takes."""


@dataclass(frozen=True)
class Look:
    """The worker at a moment (seconds, monotonic). lines, lag (raw messages): by partition. lost: messages that the
    broker no longer held. peak_mb, held_mb: since the last look, the highest RSS, and the mean of what is held: RSS
    without what the worker has given back (Polars' allocator does with MADV_FREE) and the kernel has not taken yet, as
    nobody needed it. blocks: of memory, that Python's objects take.
    """

    at: float
    scrape_seconds: float
    rss_mb: float
    peak_mb: float
    lines: Mapping[int, int] = field(repr=False)
    lag: Mapping[int, int] = field(repr=False)
    series: int = 0
    files: int = 0
    threads: int = 0
    ready: bool = True
    lost: int = 0
    held_mb: float = 0.0
    blocks: int = 0

    @property
    def counted(self) -> int:
        """Lines of all partitions."""
        return sum(self.lines.values())

    @property
    def waiting(self) -> int:
        """Messages of all partitions, as the metric says."""
        return sum(self.lag.values())


@dataclass(frozen=True)
class Bounds:
    """rss_mb: at any moment. scrape_seconds: of each. slope_mb: an hour, of what is held.

    sent: at least this part of the overload that was meant.
    """

    rss_mb: float = 600.0
    scrape_seconds: float = 1.0
    slope_mb: float = 1.0
    sent: float = 0.8


@dataclass(frozen=True)
class Overload:
    """capacity, rate: lines a second, taken from a backlog and sent. looks: all of them; those while it was sent are
    from `begins` until `ends`. sent, counted: lines. message_lines: of each message.
    """

    capacity: float
    times: float
    rate: float
    begins: float
    ends: float
    looks: Sequence[Look] = field(repr=False)
    sent: int
    counted: int
    message_lines: int
    drained: bool
    differences: Sequence[str]

    @property
    def overloaded(self) -> list[Look]:
        """The looks while it was sent."""
        return [look for look in self.looks if self.begins <= look.at <= self.ends]


@dataclass(frozen=True)
class Soak:
    """rate: lines a second. looks: those after the warm-up, which took `warmup` seconds of `seconds`."""

    capacity: float
    rate: float
    seconds: float
    warmup: float
    looks: Sequence[Look] = field(repr=False)
    sent: int
    counted: int
    differences: Sequence[str]

    def slope(self, name: str) -> float:
        """An hour, of `rss_mb`, `held_mb` or `blocks`."""
        return HOUR * slope(self._over_time(name))

    def slope_error(self, name: str) -> float:
        """Of the slope, were the looks independent: a short run can't tell a megabyte an hour."""
        return HOUR * slope_error(self._over_time(name))

    def _over_time(self, name: str) -> list[tuple[float, float]]:
        return [(look.at, getattr(look, name)) for look in self.looks]


@dataclass(frozen=True)
class Start:
    """seconds: from the start of the process to ready, of some starts. flows: those in the tables before. found: those
    in the first scrape after each start.
    """

    name: str
    seconds: Sequence[float]
    flows: int
    found: Sequence[int]


@dataclass(frozen=True)
class LatencyBounds:
    """Seconds. p50, p99: from the broker to /metrics. empty, full: from start to ready, without and with state."""

    p50: float = 1.0
    p99: float = 3.0
    empty: float = 5.0
    full: float = 15.0


@dataclass(frozen=True)
class Latency:
    """rate: lines a second, for `seconds`; `part` of the capacity was meant, 0: that was not measured.

    least, most: seconds between which each of `probes` became visible, those that did (see tests.load.probe).
    confirmed: seconds that the broker took for each. told: the worker's own histogram meanwhile, upper bound -> how
    many summaries were visible within it. differences: counts of the probes' ENIs that are wrong.
    """

    capacity: float
    part: float
    rate: float
    seconds: float
    looks: Sequence[Look] = field(repr=False)
    sent: int
    counted: int
    differences: Sequence[str]
    probes: int
    least: Sequence[float] = field(repr=False)
    most: Sequence[float] = field(repr=False)
    confirmed: Sequence[float] = field(repr=False)
    told: Mapping[float, int]
    starts: Sequence[Start] = ()


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of all do not exceed. Of no values: infinity, as nothing was seen."""
    return sorted(values)[max(1, ceil(part * len(values))) - 1] if values else inf


def bucket(told: Mapping[float, int], part: float) -> tuple[float, float]:
    """Bounds of the histogram's bucket with that quantile. told: upper bound -> how many up to there."""
    bounds = sorted(told)
    wanted = part * told[bounds[-1]] if bounds else 0
    above = next((at for at, bound in enumerate(bounds) if told[bound] >= wanted), 0)
    return (bounds[above - 1] if above else 0.0, bounds[above]) if wanted else (0.0, inf)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits best, by least squares."""
    x, y = (mean(values) for values in zip(*points, strict=True))
    spread = sum((at - x) ** 2 for at, _ in points)
    return sum((at - x) * (value - y) for at, value in points) / spread if spread else 0.0


def slope_error(points: Sequence[tuple[float, float]]) -> float:
    """The standard error of `slope`, by what the line leaves over."""
    x, y = (mean(values) for values in zip(*points, strict=True))
    rise, spread = slope(points), sum((at - x) ** 2 for at, _ in points)
    left = sum((value - y - rise * (at - x)) ** 2 for at, value in points)
    return sqrt(left / (len(points) - 2) / spread) if spread and len(points) > 2 else 0.0


def growth(looks: Sequence[Look], name: str) -> float:
    """How much more the median of the last tenth is than that of the first. A scrape by itself opens a file."""
    tenth = max(1, len(looks) // 10)
    first, last = (median(float(getattr(look, name)) for look in some) for some in (looks[:tenth], looks[-tenth:]))
    return last - first


def overload_faults(run: Overload, bounds: Bounds) -> list[str]:
    """What is not as it must be under overload."""
    faults = [*_always(run.looks, bounds), *_totals(run.sent, run.counted, run.differences, drained=run.drained)]
    if run.rate < bounds.sent * run.times * run.capacity:
        faults.append(
            f"no overload: {run.rate:,.0f} lines/s were sent, {run.times:g} times {run.capacity:,.0f} were meant"
        )
    if not lag_grows(run.overloaded):
        faults.append("vpcflow_consumer_lag_messages does not grow while more comes than is taken")
    return [*faults, *_untold(run)]


def soak_faults(run: Soak, bounds: Bounds) -> list[str]:
    """What is not as it must be at half load."""
    faults = [*_always(run.looks, bounds), *_totals(run.sent, run.counted, run.differences, drained=True)]
    more = run.slope("held_mb")
    if more >= bounds.slope_mb:
        faults.append(f"memory grows by {more:.2f} MB an hour, less than {bounds.slope_mb:g} is allowed")
    for name, (what, allowed) in GROWS.items():
        more = growth(run.looks, name)
        if more > allowed:
            faults.append(f"{more:g} {what} more than after the warm-up")
    return faults


def latency_faults(run: Latency, bounds: Bounds, limits: LatencyBounds) -> list[str]:
    """What takes longer than it may. Judged is the later end of each probe's sighting: what scraping adds is in it."""
    faults = [*_always(run.looks, bounds), *_totals(run.sent, run.counted, run.differences, drained=True)]
    if len(run.most) < run.probes:
        faults.append(f"{run.probes - len(run.most)} of {run.probes} probes were never visible")
    for name, part, limit in (("half", 0.5, limits.p50), ("99 of 100", 0.99, limits.p99)):
        if (found := quantile(run.most, part)) >= limit:
            faults.append(f"{name} of the probes are visible within {found:.2f} s, not {limit:g}")
    return [*faults, *_untrue(run), *(fault for start in run.starts for fault in _slow_start(start, limits))]


def _untrue(run: Latency) -> Iterator[str]:
    """Where the worker's histogram can't be of what was seen.

    It is told once a summary, of the oldest record in it. That is longer than an average probe takes, and a long wait
    counts no more than a short one, though more probes fall into it: only the ends can be held against each other.
    """
    name = "vpcflow_pipeline_latency_seconds"
    longest, half = bucket(run.told, 1)[1], bucket(run.told, 0.5)[0]
    if run.least and longest < max(run.least):
        yield f"{name} says that none took longer than {longest:g} s, {max(run.least):.2f} s was seen"
    if run.most and half > max(run.most):
        yield f"{name} says that half take longer than {half:g} s, none was seen that does"


def _slow_start(start: Start, limits: LatencyBounds) -> Iterator[str]:
    limit, slowest = limits.full if start.flows else limits.empty, max(start.seconds)
    if slowest >= limit:
        yield f"ready {start.name}: after {slowest:.1f} s, not {limit:g}"
    for found in start.found:
        if found != start.flows:
            yield f"ready {start.name}, but with {found:,} flows of {start.flows:,}"


def lag_grows(looks: Sequence[Look]) -> bool:
    """Whether it is higher after each fifth of the time than after the one before."""
    parts = [looks[len(looks) * part // _PARTS - 1].waiting for part in range(1, _PARTS + 1)]
    return len(looks) >= _PARTS and all(later > earlier for earlier, later in pairwise(parts))


def _untold(run: Overload) -> Iterator[str]:
    """Whether the metric tells too little at the first look after all was sent."""
    after = next((look for look in run.looks if look.at > run.ends), None)
    if after is None:
        yield "no look after all was sent"
        return
    waiting, fresh = (lines / run.message_lines for lines in (run.sent - after.counted, run.rate * _STALE_SECONDS))
    if after.waiting < waiting - fresh:
        yield f"vpcflow_consumer_lag_messages tells {after.waiting / waiting:.0%} of what waits when all is sent"


def _always(looks: Sequence[Look], bounds: Bounds) -> Iterator[str]:
    slowest, peak = max(look.scrape_seconds for look in looks), max(look.peak_mb for look in looks)
    if slowest >= bounds.scrape_seconds:
        slow = sum(look.scrape_seconds >= bounds.scrape_seconds for look in looks)
        yield f"{slow} of {len(looks)} scrapes took {bounds.scrape_seconds:g} s or more, the slowest {slowest:.2f} s"
    if peak > bounds.rss_mb:
        yield f"{peak:.0f} MB of memory, {bounds.rss_mb:g} are allowed"
    if not all(look.ready for look in looks):
        yield f"not ready at {sum(not look.ready for look in looks)} of {len(looks)} looks"
    if looks[-1].lost:
        yield f"{looks[-1].lost} messages were gone before they were read"


def _totals(sent: int, counted: int, differences: Sequence[str], *, drained: bool) -> Iterator[str]:
    if counted > sent or (drained and counted != sent):
        yield f"{sent:,} lines were sent, {counted:,} are counted"
    yield from differences

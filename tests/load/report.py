"""The figures of a run as rows, for the screen and for docs/LOAD.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median, quantiles

from tests.load.judge import GROWS, Latency, Look, Overload, Soak, Start, bucket, growth, quantile

Rows = Sequence[tuple[str, str]]

_TITLE = "# Load\n"
_INTRODUCTION = """
Made by `make overload` and `make soak` (`tests/load/`): one Apache Kafka broker, one worker, a feeder, all on one
machine. Messages of 4,500 lines of version 2 from a network of 1,000 ENIs; each has an origin of its own, and its
records end in one of the two minutes before the one in which it is sent. A scrape a second goes on all the time, ten
seconds apart in the soak. The soak keeps 5 closed panes, 5 minutes of lateness and 2,048 origins a partition: what is
kept by time or by count is full within minutes then, where it takes hours by default. A run fails when a bound is
broken.

The allocator of Polars gives memory back with `MADV_FREE`. Linux takes such pages when somebody needs them and counts
them as RSS until then (`LazyFree` in `/proc/PID/smaps_rollup`): on an idle machine RSS creeps up while the worker holds
no more. The soak judges what is held: four times a second it is asked for, and the mean of ten seconds is a point of
the line, as a batch under way takes some 50 MB more than the moment before.

`make latency` times probes beside half the load: messages of one line, each the next record of one of 16 ENIs, over
all raw partitions and to all summary partitions. The time begins when the broker confirms a probe and ends when a
scrape that counts it is there; scrapes follow on each other. All is as by default, panes and lateness too.
"""
_SECTIONS = ("Overload", "Soak", "Latency")


def overload_rows(run: Overload, faults: Sequence[str]) -> Rows:
    """All that was measured."""
    looks = run.looks
    first = looks[0]
    return [
        ("it takes, from a backlog", f"{run.capacity:,.0f} lines/s"),
        ("sent", f"{run.rate:,.0f} lines/s ({run.rate / run.capacity:.1f} times) for {run.ends - run.begins:.0f} s"),
        ("taken meanwhile", f"{_taken(run.overloaded):,.0f} lines/s"),
        ("lines sent in all", f"{run.sent:,}"),
        ("lines counted", f"{run.counted:,}"),
        ("drained", _drained(run)),
        ("RSS at the start", f"{first.rss_mb:.0f} MB"),
        ("RSS when the overload begins, ends", _rss(run.overloaded)),
        ("**peak RSS**", f"**{max(look.peak_mb for look in looks):.0f} MB**"),
        ("median scrape, under overload", f"{median(look.scrape_seconds for look in run.overloaded):.2f} s"),
        ("99 of 100 scrapes stay under", f"{quantiles(_scrapes(looks), n=100)[-1]:.2f} s"),
        ("**slowest scrape**", f"**{max(look.scrape_seconds for look in looks):.2f} s** of {len(looks)}"),
        ("highest lag told", f"{max(look.waiting for look in looks):,} messages"),
        *_verdict(looks, run.differences, faults),
    ]


def soak_rows(run: Soak, faults: Sequence[str]) -> Rows:
    """All that was measured, after the warm-up."""
    first, last = run.looks[0], run.looks[-1]
    return [
        ("it takes, from a backlog", f"{run.capacity:,.0f} lines/s"),
        ("sent", f"{run.rate:,.0f} lines/s ({run.rate / run.capacity:.2f} of it) for {run.seconds:,.0f} s"),
        ("warm-up, left out below", f"{run.warmup:,.0f} s; {len(run.looks)} looks after it"),
        ("lines sent in all", f"{run.sent:,}"),
        ("lines counted", f"{run.counted:,}"),
        ("RSS after the warm-up, at the end", f"{first.rss_mb:.0f} MB, {last.rss_mb:.0f} MB"),
        ("peak RSS", f"{max(look.peak_mb for look in run.looks):.0f} MB"),
        ("slope of RSS, least squares", _slope(run, "rss_mb")),
        ("**slope of what is held**: RSS without pages given back", f"**{_slope(run, 'held_mb')}**"),
        ("slope of Python's objects (`sys.getallocatedblocks`)", _slope(run, "blocks", "blocks")),
        *(
            (f"{what}: at the end, growth", f"{getattr(last, name)}, {growth(run.looks, name):+g}")
            for name, (what, _) in GROWS.items()
        ),
        ("median, slowest scrape", f"{median(_scrapes(run.looks)):.2f} s, {max(_scrapes(run.looks)):.2f} s"),
        ("highest lag told", f"{max(look.waiting for look in run.looks):,} messages"),
        *_verdict(run.looks, run.differences, faults),
    ]  # fmt: skip


def latency_rows(run: Latency, faults: Sequence[str]) -> Rows:
    """All that was measured. What scraping adds to a probe is at most the time between the two ends of its sighting."""
    looks, added = run.looks, [most - least for least, most in zip(run.least, run.most, strict=True)]
    between = [later.at - look.at for look, later in pairwise(looks)]
    return [
        ("it takes, from a backlog", f"{run.capacity:,.0f} lines/s"),
        ("sent", f"{run.rate:,.0f} lines/s for {run.seconds:,.0f} s"),
        ("lines sent in all, counted", f"{run.sent:,}, {run.counted:,}"),
        ("probes sent, seen", f"{run.probes}, {len(run.most)}"),
        ("**from the broker to /metrics**: p50, p99, slowest", f"**{_spread(run.most)}**"),
        ("the same, without what scraping adds at most", _spread(run.least)),
        ("scraping adds at most: p50, p99, most", _spread(added)),
        ("a scrape: median, slowest", f"{median(_scrapes(looks)):.3f} s, {max(_scrapes(looks)):.2f} s"),
        ("between scrapes: median", f"{median(between):.2f} s; {looks[-1].series:,} series"),
        ("the broker confirms a probe: p50, p99, slowest", _spread(run.confirmed)),
        ("`vpcflow_pipeline_latency_seconds`, the oldest of each summary: p50, p99, slowest", _told(run)),
        *((f"start to ready, {start.name}", _started(start)) for start in run.starts),
        ("messages lost", str(looks[-1].lost)),
        ("ENIs of probes that are counted wrong", str(len(run.differences))),
        ("bounds broken", "; ".join(faults) or "none"),
    ]


def page(old: str, title: str, rows: Rows, conditions: Mapping[str, str], command: str) -> str:
    """docs/LOAD.md with this section anew; the other one stays as it is in `old`."""
    sections = {part.partition("\n")[0]: part.partition("\n")[2].strip("\n") for part in old.split("\n## ")[1:]}
    table = [f"| {name} | {value} |" for name, value in (*rows, *conditions.items())]
    sections[title] = "\n".join(["", "```sh", command, "```", "", "| | |", "|---|---|", *table])
    parts = [f"## {name}\n\n{sections[name].strip(chr(10))}\n" for name in _SECTIONS if name in sections]
    return "\n".join([_TITLE.rstrip("\n"), _INTRODUCTION.rstrip("\n"), "", "\n".join(parts)])


def _verdict(looks: Sequence[Look], differences: Sequence[str], faults: Sequence[str]) -> Rows:
    return [
        ("messages lost", str(looks[-1].lost)),
        ("differences to DuckDB, by ENI and by port", str(len(differences))),
        ("bounds broken", "; ".join(faults) or "none"),
    ]


def _spread(values: Sequence[float]) -> str:
    return ", ".join(f"{quantile(values, part):.2f} s" for part in (0.5, 0.99, 1))


def _told(run: Latency) -> str:
    return ", ".join("{:g} to {:g} s".format(*bucket(run.told, part)) for part in (0.5, 0.99, 1))


def _started(start: Start) -> str:
    return f"**{max(start.seconds):.1f} s** at most of {len(start.seconds)}, {min(start.seconds):.1f} s at least"


def _drained(run: Overload) -> str:
    if not run.drained:
        return "no: each key lies between what was counted 30 s before and by then"
    done = next((look.at for look in run.looks if look.counted >= run.sent), run.looks[-1].at)
    return f"in {max(0.0, done - run.ends):,.0f} s"


def _taken(looks: Sequence[Look]) -> float:
    first, last = looks[0], looks[-1]
    return (last.counted - first.counted) / max(last.at - first.at, 1e-9)


def _rss(looks: Sequence[Look]) -> str:
    return f"{looks[0].rss_mb:.0f} MB, {looks[-1].rss_mb:.0f} MB"


def _slope(run: Soak, name: str, unit: str = "MB") -> str:
    return f"{run.slope(name):+,.2f} {unit} an hour, standard error {run.slope_error(name):,.2f}"


def _scrapes(looks: Iterable[Look]) -> list[float]:
    return [look.scrape_seconds for look in looks]

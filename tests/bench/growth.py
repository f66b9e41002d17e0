"""`make growth`: what records cost as something grows, a curve for each thing that can (tests/bench/curves.py).

A point is real workers on a real Apache Kafka. CPU is theirs (user and system), from ready until the last raw message
is counted, checkpointed and acknowledged; a live point is measured for two minutes after a minute of warm-up. Polars
over the same lines (tests/bench/limit.py) goes before each point: the ratio to it can be compared, seconds can't. After
a point the tables must show as many flows as there are in the lines.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import polars as pl
import psutil
from rich.console import Console
from rich.table import Table

from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher
from tests.bench import chart
from tests.bench.curves import CURVES, MILLION, OURS, TOPICS, Curve, Figures, Setup, Value, middle
from tests.bench.loads import at_second, chunks, flows, interfaces
from tests.bench.worker import MIB, PAUSE, committed, cpu, fill, fill_as_others, limit, messages, ready, stored
from tests.kafka.broker import VERSION, KafkaCluster, MissingError
from tests.kafka.process import Vpcflow, total

BROKER = {
    # Workers that start together share the partitions from the beginning, as with Kafka's own default.
    "group.initial.rebalance.delay.ms": "3000",
    # Nothing is compacted meanwhile: what lies on the disk is what was written.
    "log.cleaner.backoff.ms": "3600000",
}
_WARM, _LIVE = 60, 120
"""Seconds of a live point."""
_QUICK_WARM, _QUICK_LIVE = 5, 10
_STILL_SECONDS = 60.0
"""Tables that have not moved for so long are as they are."""
_NAMES = [one.name for one in CURVES]


class Times(NamedTuple):
    """Seconds of a live point: left out, and measured."""

    warm: int
    live: int


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write. 1: a point is not verified, something grows that must not, or Kafka is missing."""
    options = _options(arguments)
    curves = [one for one in CURVES if one.name in options.curves]
    try:
        with KafkaCluster(settings={} if options.quick else BROKER) as kafka:
            faults = [fault for curve in curves for fault in _measured(kafka, curve, options)]
    except MissingError as problem:
        Console(stderr=True).print(f"no curves without Apache Kafka: {problem}")
        return 1
    for fault in faults:
        print(f"broken: {fault}")
    return 1 if faults else 0


def _measured(kafka: KafkaCluster, curve: Curve, options: argparse.Namespace) -> list[str]:
    """Measure a curve, print it, write it: all of them take hours, and the next may break. Gives its faults."""
    found = _curve(kafka, curve, options)
    _print(curve, found)
    _write(options, curve, found)
    return [f"{curve.name}: {fault}" for fault in _faults(curve, found, options)]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make growth", description=__doc__)
    parser.add_argument("--curves", nargs="+", choices=_NAMES, default=_NAMES, metavar="NAME", help=", ".join(_NAMES))
    parser.add_argument("--quick", action="store_true", help="two points a curve with few records, nothing written")
    parser.add_argument("--runs", type=int, default=1, help="of each point: the median by CPU counts")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE; curves of other runs stay in it")
    parser.add_argument("--markdown", metavar="FILE", help="put the tables where FILE has them; its text stays")
    parser.add_argument("--plot", metavar="DIR", help="draw growth-CURVE.svg there")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile, for the page")
    return parser.parse_args(arguments)


def _faults(curve: Curve, figures: Sequence[Figures], options: argparse.Namespace) -> Iterator[str]:
    """What a quick run costs says nothing."""
    yield from (f"at {one.value} the tables do not show all records" for one in figures if not one.verified)
    if not options.quick:
        yield from curve.faults(figures)


def _curve(kafka: KafkaCluster, curve: Curve, options: argparse.Namespace) -> list[Figures]:
    """Its points in turn, `--runs` times: the median run of each."""
    times = Times(_QUICK_WARM, _QUICK_LIVE) if options.quick else Times(_WARM, _LIVE)
    setups = list(curve.setups(quick=options.quick))
    turns = [[asyncio.run(_point(kafka, *one, times)) for one in setups] for _ in range(options.runs)]
    return [middle(runs) for runs in zip(*turns, strict=True)]


# -- a point -----------------------------------------------------------------------------------------------------------


async def _point(kafka: KafkaCluster, value: Value, setup: Setup, times: Times) -> Figures:
    """Another prefix of topics, so another group, for each."""
    names, some = Names(f"growth-{uuid4().hex[:8]}"), chunks(setup.load, int(time.time()))
    records = sum(chunk.count(b"\n") + 1 for chunk in some)
    polars = limit(some[: 1 + len(some) * MILLION // records], 2)
    topics = Topics(prefix=names.prefix, raw_partitions=setup.raw_partitions)
    await _filled(kafka.bootstrap, topics, setup, some)
    with _workers(kafka.bootstrap, topics, setup) as workers:
        team = Team(kafka, names, workers)
        await team.ready()
        await team.through(len(some))
        fed = await _live(team, topics, setup, times) if setup.live else 0
        used = team.used()
        verified = await _shown(workers, flows(some) + fed)
        late = sum(total(one.samples(), "vpcflow_late_records_total") for one in workers)
    if not setup.live:  # the last summaries and checkpoints are written when the workers stop
        used = used._replace(stored=team.stored())
    return Figures(
        value, setup.live * times.live or records, interfaces(some), used.seconds, used.cpu_seconds,
        polars["cpu_seconds"] / polars["records"] * MILLION, used.peak_rss_mb, late, used.stored, verified,
    )  # fmt: skip


async def _filled(bootstrap: str, topics: Topics, setup: Setup, some: Sequence[bytes]) -> None:
    if setup.compression == OURS:
        await fill(bootstrap, Names(topics.prefix), some, 2, topics)
    else:
        await fill_as_others(bootstrap, some, 2, topics, setup.compression)


@contextmanager
def _workers(bootstrap: str, topics: Topics, setup: Setup) -> Iterator[list[Vpcflow]]:
    """Launched side by side, for one rebalance; they end one after the other."""
    environ = {
        "VPCFLOW_TOPICS__PREFIX": topics.prefix,
        "VPCFLOW_TOPICS__RAW_PARTITIONS": str(topics.raw_partitions),
        "VPCFLOW_PANES__RETAINED": str(setup.retained),
    }
    workers = [Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=environ) for _ in range(setup.workers)]
    for one in workers:
        one.launch()
    try:
        for one in workers:
            one.wait()
        yield workers
    finally:
        for one in workers:
            one.__exit__()


class Used(NamedTuple):
    """What a group of workers took; stored: bytes by topic."""

    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    stored: Mapping[str, int]


class Team:
    """The workers of a group, measured from `ready` or the last `again` on."""

    def __init__(self, kafka: KafkaCluster, names: Names, workers: Sequence[Vpcflow]) -> None:
        self.bootstrap = kafka.bootstrap
        self._folders = [node.folder / "data" for node in kafka.nodes]
        self._names = names
        self._workers = workers
        self._processes = [psutil.Process(one.pid) for one in workers]
        self._began, self._cpu, self._peak = 0.0, 0.0, 0
        self._stored: Mapping[str, int] = {}

    async def ready(self) -> None:
        """Return when all are. Each counts from its own moment: the first ones are at work while others start."""
        await asyncio.gather(*map(self._ready, self._workers, self._processes))

    async def _ready(self, worker: Vpcflow, process: psutil.Process) -> None:
        await ready(worker)
        self._began = self._began or time.monotonic()
        self._cpu += cpu(process)

    def again(self) -> None:
        """Measure from now on."""
        self._began, self._cpu, self._peak = time.monotonic(), sum(map(cpu, self._processes)), 0
        self._stored = self.stored()

    async def through(self, count: int) -> None:
        """Return when so many raw messages are counted, checkpointed and acknowledged."""
        while await committed(self.bootstrap, self._names) < count:
            self.look()
            assert all(one.runs for one in self._workers), "a worker ended"
            await asyncio.sleep(PAUSE)

    def look(self) -> None:
        """At the memory."""
        self._peak = max(self._peak, *(one.memory_info().rss for one in self._processes))

    def stored(self) -> dict[str, int]:
        """Bytes by topic, of all that was written."""
        return {topic: stored(self._folders, f"{self._names.prefix}.{topic}") for topic in TOPICS}

    def used(self) -> Used:
        """Since the measurement began."""
        grown = {topic: size - self._stored.get(topic, 0) for topic, size in self.stored().items()}
        seconds, took = time.monotonic() - self._began, sum(map(cpu, self._processes)) - self._cpu
        return Used(seconds, took, self._peak / MIB, grown)


async def _live(team: Team, topics: Topics, setup: Setup, times: Times) -> int:
    """Send records as they end, a second's at a time, and measure the later part of it; how many were sent."""
    publisher = Publisher(team.bootstrap, Names(topics.prefix).raw, topics.raw_partitions, {})
    await publisher.start()
    began = time.time()
    for number in range(times.warm + times.live):
        if number == times.warm:
            team.again()
        second = int(began) + number
        some = at_second(second, setup.live, setup.load.enis, topics.raw_partitions)
        await publisher.send(list(messages(some, 2, f"second-{second}")))
        team.look()
        await asyncio.sleep(max(0.0, began + number + 1 - time.time()))
    await publisher.stop()
    return setup.live * (times.warm + times.live)


async def _shown(workers: Sequence[Vpcflow], count: int) -> bool:
    """Whether both tables of all workers together come to so many flows; until then, or until they stand still."""
    before, came = [0, 0], time.monotonic()
    while before != [count, count] and time.monotonic() - came < _STILL_SECONDS:
        scrapes = [one.samples() for one in workers]
        found = [sum(total(one, f"vpcflow_{table}_flows_total") for one in scrapes) for table in ("eni", "port")]
        came = came if found == before else time.monotonic()
        before = found
        await asyncio.sleep(PAUSE)
    return before == [count, count]


# -- what is told ------------------------------------------------------------------------------------------------------


def _print(curve: Curve, figures: Sequence[Figures]) -> None:
    head, *rows = chart.rows(curve, figures)
    table = Table(*head, title=curve.title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def _conditions(options: argparse.Namespace) -> str:
    """In one line, what figures are worth nothing without."""
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}", f"{os.cpu_count()} CPUs for workers, broker and load",
        f"Python {platform.python_version()}", f"Polars {pl.__version__}", f"Kafka {VERSION}",
        f"{options.runs} run{'s' * (options.runs > 1)} of each point", options.note,
    ]  # fmt: skip
    return ", ".join(part for part in parts if part)


def _write(options: argparse.Namespace, curve: Curve, figures: Sequence[Figures]) -> None:
    if options.quick:
        print("a quick run gives no figures: nothing is written")
        return
    conditions = _conditions(options)
    if options.json:
        _renew(Path(options.json), lambda old: chart.as_json(old, curve, figures, conditions))
    if options.plot and (drawing := chart.svg(curve, figures)):
        Path(options.plot, chart.file_name(curve)).write_text(drawing, "utf-8")
    if options.markdown:
        _renew(Path(options.markdown), lambda old: chart.page(old, curve, figures, conditions))


def _renew(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text("utf-8") if path.exists() else ""), "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

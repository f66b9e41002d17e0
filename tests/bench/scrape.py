"""`python -m tests.bench.scrape`: what a scrape takes of a worker with many series, and how late its event loop is.

A worker reads generated records from Apache Kafka, with a series for each of 10,000 ENIs. It is scraped every two
seconds while it works, then fifteen times while it has nothing else to do. On a machine that is busy with other things
all of it is late: `without a CPU` says how long the thread of the event loop wanted one and had none (Linux only).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from streams.generate import bulk
from streams.names import Names
from tests.bench.worker import committed, fill, ready
from tests.kafka.broker import KafkaCluster, MissingError
from tests.kafka.process import Vpcflow

_PAUSE = 2.0
_IDLE_SCRAPES = 15
_LATE = "0.05"
"""The demand: no timer later than that, in seconds."""
_BUCKET = re.compile(r'^vpcflow_event_loop_lag_seconds_bucket\{le="(.*?)"\} (\S+)$', re.MULTILINE)

Timers = Mapping[str, float]
"""Upper bound of lateness -> timers of the event loop since the start of the process."""


@dataclass
class Phase:
    """What a worker did for a while. seconds: of each scrape."""

    name: str
    worker: Vpcflow
    seconds: list[float] = field(default_factory=list)
    size: int = 0

    def __post_init__(self) -> None:
        """It begins now."""
        self.first = self.timers = self.scrape()
        self.waited = _waited(self.worker.pid)

    def scrape(self) -> Timers:
        """Ask once."""
        began = time.monotonic()
        _, text = self.worker.get("/metrics")
        self.seconds.append(time.monotonic() - began)
        self.size = len(text)
        self.timers = {bound: float(count) for bound, count in _BUCKET.findall(text)}
        return self.timers

    def row(self) -> list[str]:
        """For the table."""
        new = {bound: count - self.first[bound] for bound, count in self.timers.items()}
        worst = next(bound for bound, count in new.items() if count == new["+Inf"])
        scrapes = [f"{seconds * 1000:.0f}" for seconds in (min(self.seconds), median(self.seconds), max(self.seconds))]
        late = f"{new['+Inf'] - new[_LATE]:.0f} of {new['+Inf']:.0f}, all below {worst} s"
        return [self.name, f"{self.size / 1e6:.1f}", *scrapes, late, f"{_waited(self.worker.pid) - self.waited:.1f}"]


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table. 1: Kafka is missing."""
    options = _options(arguments)
    try:
        with KafkaCluster() as kafka:
            phases = asyncio.run(_measured(kafka.bootstrap, options))
    except MissingError as problem:
        Console(stderr=True).print(f"nothing is measured without Apache Kafka: {problem}")
        return 1
    table = Table("", "MB", "scrape, ms: best", "median", "worst", f"timers later than {_LATE} s", "without a CPU, s")
    for row in phases:
        table.add_row(*row)
    Console(width=120).print(table)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scrape", description=__doc__)
    parser.add_argument("--enis", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=2_000_000)
    return parser.parse_args(arguments)


async def _measured(bootstrap: str, options: argparse.Namespace) -> list[list[str]]:
    names = Names(f"scrape-{uuid4().hex[:8]}")
    chunks = list(bulk(options.lines, enis=options.enis, version=5))
    await fill(bootstrap, names, chunks, 5)
    environ = {"VPCFLOW_TOPICS__PREFIX": names.prefix, "VPCFLOW_BUDGET__ENI_SERIES": str(options.enis)}
    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=environ) as worker:
        await ready(worker)
        busy = Phase("reading", worker)
        while await committed(bootstrap, names) < len(chunks):
            await asyncio.sleep(_PAUSE)
            busy.scrape()
        found = [busy.row()]
        idle = Phase("nothing to read", worker)
        for _ in range(_IDLE_SCRAPES):
            await asyncio.sleep(_PAUSE / 2)
            idle.scrape()
        return [*found, idle.row()]


def _waited(pid: int) -> float:
    """Seconds that the main thread of a process, where its event loop runs, wanted a CPU and had none."""
    path = Path(f"/proc/{pid}/task/{pid}/schedstat")
    return int(path.read_text("utf-8").split()[1]) / 1e9 if path.exists() else 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

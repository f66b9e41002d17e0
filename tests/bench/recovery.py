"""`make recovery`: how long a worker that was killed needs until it serves complete tables again.

One record of every ENI in every retained pane goes through Apache Kafka into a worker's tables. When all is
checkpointed the worker is killed with -9 and started again, `--runs` times. Measured from the start of the process:
until `/readyz` says 200, and until the first scrape is there whose totals are those from before.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from statistics import median
from uuid import uuid4

import psutil
from rich.console import Console
from rich.table import Table

from streams.names import Names
from tests.bench.loads import every_eni
from tests.bench.worker import MIB, committed, fill, ready
from tests.kafka.broker import KafkaCluster, MissingError
from tests.kafka.process import Vpcflow

_BOUND = 10.0
"""Seconds until complete tables."""


def main(arguments: Sequence[str]) -> int:
    """Run, print a table. 1: too slow, not complete, or Kafka is missing."""
    options = _options(arguments)
    try:
        with KafkaCluster() as kafka:
            return asyncio.run(_measured(kafka.bootstrap, options))
    except MissingError as problem:
        Console(stderr=True).print(f"nothing is measured without Apache Kafka: {problem}")
        return 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make recovery", description=__doc__)
    parser.add_argument("--enis", type=int, default=50_000)
    parser.add_argument("--panes", type=int, default=120)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args(arguments)


async def _measured(bootstrap: str, options: argparse.Namespace) -> int:
    names = Names(f"recovery-{uuid4().hex[:8]}")
    chunks = list(every_eni(options.enis, options.panes, int(time.time())))
    await fill(bootstrap, names, chunks, 2)
    environ = {
        "VPCFLOW_TOPICS__PREFIX": names.prefix,
        "VPCFLOW_GROUP__INSTANCE_ID": "the-one",
    }
    command = ("worker", "--broker", f"kafka://{bootstrap}")
    with Vpcflow(*command, environ=environ) as worker:
        while await committed(bootstrap, names) < len(chunks):
            assert worker.runs, worker.printed()
            await asyncio.sleep(1.0)
        await _until_complete(worker, options.enis * options.panes)
        await asyncio.sleep(20.0)  # the last checkpoint of the tables
        worker.kill9()
    runs = [await _run(command, environ, options.enis * options.panes) for _ in range(options.runs)]
    _print(runs)
    return 0 if median(complete for _, complete, _ in runs) < _BOUND else 1


async def _run(command: Sequence[str], environ: dict[str, str], flows: int) -> tuple[float, float, float]:
    """Seconds until ready, seconds until complete, and RSS in MB by then."""
    began = time.monotonic()
    with Vpcflow(*command, environ=environ) as worker:
        await ready(worker)
        was_ready = time.monotonic() - began
        await _until_complete(worker, flows)
        complete = time.monotonic() - began
        rss = psutil.Process(worker.pid).memory_info().rss / MIB
        worker.kill9()
    return was_ready, complete, rss


async def _until_complete(worker: Vpcflow, flows: int) -> None:
    while sum(worker.samples().get("vpcflow_eni_flows_total", {}).values()) != flows:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


def _print(runs: Sequence[tuple[float, float, float]]) -> None:
    table = Table("run", "ready after, s", "complete after, s", "RSS then, MB")
    for n, (was_ready, complete, rss) in enumerate(runs, 1):
        table.add_row(str(n), f"{was_ready:.1f}", f"{complete:.1f}", f"{rss:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

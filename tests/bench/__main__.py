"""`make bench`: what a worker costs, from Apache Kafka to its tables, with checkpoints, summaries and metrics on.

The raw topic is filled first, then the worker starts: it never waits for input. CPU is the process's own (user and
system) from ready until the last record is counted, checkpointed and acknowledged; start-up is left out. Every run is
checked against DuckDB. Before each run comes one of Polars over the same lines in a file (tests/bench/limit.py):
seconds differ from machine to machine and from hour to hour, the ratio of the two does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.table import Table

from streams.core.raw import Origin, RawMessage, digest
from streams.generate import FORMATS, Version, bulk
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher
from tests.kafka.broker import KafkaCluster, MissingError
from tests.kafka.oracle import Oracle
from tests.kafka.process import Vpcflow, sums

LINES = 4_000_000
QUICK_LINES = 1_000_000
_MIB = 1024 * 1024
_PAUSE = 0.25
_SCRAPE_SECONDS = 15.0
"""As Prometheus does by default: a scrape costs the worker some CPU too."""


@dataclass(frozen=True)
class Result:
    """One contender's median run. verified: its totals equal DuckDB's, to the unit.

    times_polars: the median of its CPU over that of the run of Polars before it.
    """

    contender: str
    records: int
    cpu_seconds_per_million: float
    records_per_second: float
    peak_rss_mb: float
    verified: bool
    times_polars: float = 1.0


@dataclass(frozen=True)
class Load:
    """What is counted. lines of `version`, spread over `enis` ENIs."""

    lines: int
    enis: int
    version: Version


def main(arguments: Sequence[str]) -> int:
    """Run, print a table, write JSON. 1: not verified, or Kafka is missing."""
    options = _options(arguments)
    lines = QUICK_LINES if options.quick else LINES
    loads = [Load(lines, options.enis, version) for version in (2, 5)]
    try:
        with KafkaCluster() as kafka:
            results = [one for load in loads for one in asyncio.run(_contest(kafka.bootstrap, load, options.runs))]
    except MissingError as problem:
        Console(stderr=True).print(f"no benchmark without Apache Kafka: {problem}")
        return 1
    _print(results)
    if options.json:
        report = {
            "machine": f"{os.cpu_count()} CPUs, Python {platform.python_version()}",
            "results": [asdict(one) for one in results],
        }
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return 0 if all(one.verified for one in results) else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LINES:,} lines instead of {LINES:,}")
    parser.add_argument("--enis", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the results to FILE")
    return parser.parse_args(arguments)


async def _contest(bootstrap: str, load: Load, runs: int) -> list[Result]:
    """Both contenders in turn, `runs` times: the median run of each."""
    chunks = list(bulk(load.lines, enis=load.enis, version=load.version))
    pairs = [(_limit(load, chunks), await _run(bootstrap, load, chunks)) for _ in range(runs)]
    ratio = statistics.median(ours.cpu_seconds_per_million / polars.cpu_seconds_per_million for polars, ours in pairs)
    polars, ours = (_median(results) for results in zip(*pairs, strict=True))
    return [replace(ours, times_polars=round(ratio, 2)), polars]


def _median(results: Sequence[Result]) -> Result:
    middle = statistics.median_low(one.cpu_seconds_per_million for one in results)
    chosen = next(one for one in results if one.cpu_seconds_per_million == middle)
    return replace(chosen, verified=all(one.verified for one in results))


def _limit(load: Load, chunks: Sequence[bytes]) -> Result:
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(chunk + b"\n" for chunk in chunks)
        file.flush()
        command = [sys.executable, "-m", "tests.bench.limit", file.name, *FORMATS[load.version].split()]
        one_thread = {**os.environ, "POLARS_MAX_THREADS": "1"}
        found = json.loads(subprocess.run(command, check=True, capture_output=True, env=one_thread).stdout)
    return Result(
        f"polars-file, v{load.version}", found["records"], round(found["cpu_seconds"] / found["records"] * 1e6, 2),
        round(found["records"] / found["seconds"]), found["peak_rss_mb"], found["verified"],
    )  # fmt: skip


async def _run(bootstrap: str, load: Load, chunks: Sequence[bytes]) -> Result:
    """Another prefix of topics, so another group, for each run."""
    names = Names(f"bench-{uuid4().hex[:8]}")
    await fill(bootstrap, names, chunks, load.version)
    environ = {"VPCFLOW_TOPICS__PREFIX": names.prefix, "VPCFLOW_BUDGET__PORT_SERIES": "20000"}
    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=environ) as worker:
        process = psutil.Process(worker.pid)
        await ready(worker)
        began, cpu = time.monotonic(), _cpu(process)
        peak = 0
        scraped = began
        while await committed(bootstrap, names) < len(chunks):
            peak = max(peak, process.memory_info().rss)
            if time.monotonic() - scraped > _SCRAPE_SECONDS:
                scraped = time.monotonic()
                worker.get("/metrics")
            await asyncio.sleep(_PAUSE)
        seconds, used = time.monotonic() - began, _cpu(process) - cpu
        verified = await _verified(worker, chunks, load.version)
    return Result(
        f"vpcflow, v{load.version}, {load.enis} ENIs", load.lines, round(used / load.lines * 1e6, 2),
        round(load.lines / seconds), round(peak / _MIB), verified,
    )  # fmt: skip


async def ready(worker: Vpcflow) -> None:
    while worker.get("/readyz")[0] != HTTPStatus.OK:  # noqa: ASYNC110 - asks another process
        await asyncio.sleep(_PAUSE)


async def fill(bootstrap: str, names: Names, chunks: Sequence[bytes], version: Version) -> None:
    topics = Topics()
    await prepare_topics(bootstrap, our_topics(names, topics), {}, print)
    publisher = Publisher(bootstrap, names.raw, topics.raw_partitions, {})
    await publisher.start()
    now = int(time.time() * 1000)
    for n, chunk in enumerate(chunks):
        await publisher.send([RawMessage(chunk, Origin("file", "bench", str(n), digest(chunk)), now, FORMATS[version])])
    await publisher.stop()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def committed(bootstrap: str, names: Names) -> int:
    """Raw messages that are counted, checkpointed and acknowledged."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(names.group)
    finally:
        await admin.close()
    return sum(max(0, one.offset) for tp, one in offsets.items() if tp.topic == names.raw)


async def _verified(worker: Vpcflow, chunks: Sequence[bytes], version: Version) -> bool:
    oracle = Oracle((line for chunk in chunks for line in chunk.split(b"\n") if line), FORMATS[version])
    for _ in range(40):
        samples = worker.samples()
        if (
            sums(samples, "eni", ["eni", "action"]) == oracle.enis()
            and sums(samples, "port", ["port", "protocol", "action"]) == oracle.ports()
        ):
            return True
        await asyncio.sleep(1.0)
    return False


def _print(results: Sequence[Result]) -> None:
    table = Table("contender", "records", "CPU-s per million", "times Polars", "records/s", "peak RSS, MB", "verified")
    for one in results:
        verified = "yes" if one.verified else "NO"
        table.add_row(
            one.contender, f"{one.records:,}", f"{one.cpu_seconds_per_million:.2f}", f"{one.times_polars:.2f}",
            f"{one.records_per_second:,}", f"{one.peak_rss_mb:.0f}", verified,
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

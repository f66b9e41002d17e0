"""`make bench`: what a million records cost, from Apache Kafka to tables; ours, and others in turn with it.

Ours is measured end to end, with checkpoints, summaries and metrics on. The raw topic is filled first, then the worker
starts: it never waits for input. CPU is the process's own (user and system) from ready until the last record is
counted, checkpointed and acknowledged; start-up is left out. Every run is checked against DuckDB. Each turn begins with
Polars over the same lines in a file (tests/bench/limit.py): seconds differ from machine to machine and from hour to
hour, the ratio to those does not. The rest (tests/bench/contenders) takes one record a message, and fewer records.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psutil
from rich.console import Console
from rich.table import Table

from streams.generate import FORMATS, Version, bulk
from streams.names import Names
from streams.settings import Budget
from tests.bench.contenders import others
from tests.bench.contenders.result import (
    COLUMNS,
    POLARS,
    Load,
    Outcome,
    Result,
    Skipped,
    markdown,
    rated,
    report,
    row,
    sound,
    summary,
)
from tests.bench.worker import MIB, PAUSE, committed, cpu, fill, limit, ready
from tests.kafka.broker import KafkaCluster, MissingError
from tests.kafka.oracle import Oracle
from tests.kafka.process import Vpcflow, sums

LINES = 4_000_000
QUICK_LINES = 1_000_000
OURS, DETECTING = "vpcflow", "vpcflow-detecting"
NAMES = (OURS, DETECTING, *(one.name for one in others.OTHERS), POLARS)
_ENI_SERIES = Budget().eni_series
_WATCHED = {"VPCFLOW_DETECTION__LIVE": "true", "VPCFLOW_DETECTION__LATENESS_SECONDS": "120"}
"""Most of the generated minutes close then."""
_SCRAPE_SECONDS = 15.0
"""As Prometheus does by default: a scrape costs the worker some CPU too."""


def main(arguments: Sequence[str]) -> int:
    """Run, print a table, write what was asked for. 1: something is not verified or broke, or Kafka is missing."""
    options = _options(arguments)
    lines = QUICK_LINES if options.quick else LINES
    loads = [Load(lines, enis, version) for enis in options.enis for version in options.versions]
    found = {one.name: others.look_for(one) for one in others.OTHERS if one.name in options.contenders}
    try:
        with KafkaCluster() as kafka:
            outcomes = [one for load in loads for one in asyncio.run(_contest(kafka.bootstrap, load, options, found))]
    except MissingError as problem:
        Console(stderr=True).print(f"no benchmark without Apache Kafka: {problem}")
        return 1
    _print(outcomes)
    _write(options, outcomes, {name: one.version for name, one in found.items() if one.version})
    return 0 if sound(outcomes) else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LINES:,} lines instead of {LINES:,}")
    parser.add_argument("--enis", type=int, nargs="+", default=[1000], help="how many; several are several loads")
    parser.add_argument("--versions", type=int, nargs="+", choices=(2, 5), default=[2, 5], help="of the lines")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--contenders", nargs="+", choices=NAMES, default=NAMES, metavar="NAME",
        help=f"of {', '.join(NAMES)}; the last runs always, for the ratio",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the results to FILE")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to FILE")
    parser.add_argument("--plot", metavar="FILE", help="draw the results, as PNG or SVG")
    return parser.parse_args(arguments)


async def _contest(
    bootstrap: str, load: Load, options: argparse.Namespace, found: dict[str, others.Found]
) -> list[Outcome]:
    """All contenders in turn, `--runs` times: the median run of each."""
    chunks = list(bulk(load.lines, enis=load.enis, version=load.version))
    turns = []
    for _ in range(options.runs):
        limit = _limit(load, chunks)
        turn: list[Outcome] = [
            await _run(bootstrap, load, chunks, name) for name in (OURS, DETECTING) if name in options.contenders
        ]
        turn += [await _other(bootstrap, one, load, options.quick, found) for one in others.OTHERS if one.name in found]
        turns.append(rated([*turn, limit]))
    return summary(turns)


async def _other(
    bootstrap: str, contender: others.Contender, load: Load, quick: bool, found: dict[str, others.Found]
) -> Outcome:
    if reason := found[contender.name].reason:
        return Skipped(contender.name, load.name, reason)
    given = others.sample(load, contender.quick if quick else contender.records)
    return await others.run(bootstrap, contender, load, given)


def _limit(load: Load, chunks: Sequence[bytes]) -> Result:
    found = limit(chunks, load.version)
    return Result(
        POLARS, load.name, found["records"], round(found["cpu_seconds"] / found["records"] * 1e6, 2),
        round(found["records"] / found["seconds"]), found["peak_rss_mb"], found["verified"],
    )  # fmt: skip


async def _run(bootstrap: str, load: Load, chunks: Sequence[bytes], name: str) -> Result:
    """Another prefix of topics, so another group, for each run."""
    names = Names(f"bench-{uuid4().hex[:8]}")
    await fill(bootstrap, names, chunks, load.version)
    environ = {
        "VPCFLOW_TOPICS__PREFIX": names.prefix,
        # A series for each: what is summed in the row `other` could not be compared.
        "VPCFLOW_BUDGET__PORT_SERIES": "20000",
        "VPCFLOW_BUDGET__ENI_SERIES": str(max(_ENI_SERIES, load.enis)),
        **(_WATCHED if name == DETECTING else {}),
    }
    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=environ) as worker:
        process = psutil.Process(worker.pid)
        await ready(worker)
        began, before = time.monotonic(), cpu(process)
        peak = 0
        scraped = began
        while await committed(bootstrap, names) < len(chunks):
            peak = max(peak, process.memory_info().rss)
            if time.monotonic() - scraped > _SCRAPE_SECONDS:
                scraped = time.monotonic()
                worker.get("/metrics")
            await asyncio.sleep(PAUSE)
        if name == DETECTING:
            await _detected(worker)
        seconds, used = time.monotonic() - began, cpu(process) - before
        verified = await _verified(worker, chunks, load.version)
    return Result(
        name, load.name, load.lines, round(used / load.lines * 1e6, 2),
        round(load.lines / seconds), round(peak / MIB), verified,
    )  # fmt: skip


async def _detected(worker: Vpcflow) -> None:
    """Return when detectors have no blocks left to take."""
    while _blocks_wait(worker):  # noqa: ASYNC110 - asks another process
        await asyncio.sleep(PAUSE)


def _blocks_wait(worker: Vpcflow) -> bool:
    lags = worker.samples()["vpcflow_consumer_lag_messages"].items()
    return any(lag for labels, lag in lags if dict(labels)["topic"].endswith(".conversations"))


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


def _print(outcomes: Sequence[Outcome]) -> None:
    table = Table(*COLUMNS)
    for one in outcomes:
        table.add_row(*row(one))
    Console(width=120).print(table)


def _write(options: argparse.Namespace, outcomes: Sequence[Outcome], versions: dict[str, str]) -> None:
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}"
    found = report(outcomes, machine, versions)
    if options.json:
        Path(options.json).write_text(found, "utf-8")
    if options.markdown:
        Path(options.markdown).write_text(markdown(outcomes), "utf-8")
    if options.plot:
        _plot(options.plot, found)


def _plot(path: str, found: str) -> None:
    """In the contenders' environment, where matplotlib is; without it there is no plot, and that is said."""
    if not others.PYTHON.exists():
        print(f"no plot without {others.ENVIRONMENT.name}, which `make bench` installs")
        return
    command = [str(others.PYTHON), "-m", "tests.bench.contenders.plot", str(Path(path).absolute())]
    done = subprocess.run(command, input=found, capture_output=True, text=True, check=False, cwd=others.ROOT)
    if done.returncode:
        print(f"no plot: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

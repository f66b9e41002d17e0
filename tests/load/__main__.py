"""`make overload`, `make soak`, `make latency`: figures of one worker under load; 0 only if no bound is broken."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.kafka.broker import VERSION, KafkaCluster, MissingError
from tests.load.judge import (
    Bounds,
    Latency,
    LatencyBounds,
    Overload,
    Soak,
    latency_faults,
    overload_faults,
    soak_faults,
)
from tests.load.latency import LatencyPlan, latency
from tests.load.report import Rows, latency_rows, overload_rows, page, soak_rows
from tests.load.run import OverloadPlan, SoakPlan, overload, soak

_SHORTEST = {"overload": 600.0, "soak": 1200.0, "latency": 240.0}
"""Seconds below which a run is no figure for the page."""


Run = Overload | Soak | Latency


def main(arguments: Sequence[str]) -> int:
    """Run, print, write. 1: a bound is broken, or Kafka is missing."""
    options = _options(arguments)
    bounds = Bounds(options.rss, options.scrape, options.slope)
    try:
        with KafkaCluster() as kafka:
            run = _run(kafka.bootstrap, options)
    except MissingError as problem:
        print(f"no load without Apache Kafka: {problem}")
        return 1
    faults, rows = _judged(run, bounds)
    _print(rows)
    _write(options, run, rows, f"make {options.what}" + _load_args(arguments))
    for fault in faults:
        print(f"broken: {fault}")
    return 1 if faults else 0


def _judged(run: Run, bounds: Bounds) -> tuple[list[str], Rows]:
    if isinstance(run, Overload):
        faults = overload_faults(run, bounds)
        return faults, overload_rows(run, faults)
    if isinstance(run, Latency):
        faults = latency_faults(run, bounds, LatencyBounds())
        return faults, latency_rows(run, faults)
    faults = soak_faults(run, bounds)
    return faults, soak_rows(run, faults)


def _run(bootstrap: str, options: argparse.Namespace) -> Run:
    if options.what == "overload":
        return overload(bootstrap, OverloadPlan(options.seconds, options.times, options.backlog, options.drain), _say)
    if options.what == "latency":
        plan = LatencyPlan(
            options.seconds, options.probes, options.part, options.backlog, options.rate, options.every, options.starts
        )
        return latency(bootstrap, plan, _say)
    return soak(bootstrap, SoakPlan(options.seconds, options.part, options.backlog, options.every), _say)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    bounds, more, half, quick = Bounds(), OverloadPlan(), SoakPlan(), LatencyPlan()
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--backlog", type=int, default=more.backlog, help="steps that the capacity is measured with")
    common.add_argument("--rss", type=float, default=bounds.rss_mb, help="MB that it may take")
    common.add_argument("--scrape", type=float, default=bounds.scrape_seconds, help="seconds that a scrape stays under")
    common.add_argument(
        "--slope", type=float, default=bounds.slope_mb, help="MB an hour that held memory grows less than"
    )
    common.add_argument("--json", metavar="FILE", help="write every look to FILE")
    common.add_argument("--markdown", metavar="FILE", help="write the figures to their section of a page")
    common.add_argument("--note", default="", help="what else the machine did meanwhile, for the page")
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    one = kinds.add_parser("overload", parents=[common])
    one.add_argument("--seconds", type=float, default=more.seconds)
    one.add_argument("--times", type=float, default=more.times, help="of what the worker takes")
    one.add_argument("--drain", type=float, default=more.drain, help="seconds for the rest, at most")
    other = kinds.add_parser("soak", parents=[common])
    other.add_argument("--seconds", type=float, default=half.seconds)
    other.add_argument("--part", type=float, default=half.part, help="of what the worker takes")
    other.add_argument("--every", type=float, default=half.every, help="seconds between looks")
    third = kinds.add_parser("latency", parents=[common])
    third.add_argument("--seconds", type=float, default=quick.seconds, help="of probes")
    third.add_argument("--probes", type=int, default=quick.probes, help="in that time")
    third.add_argument("--part", type=float, default=quick.part, help="of what the worker takes")
    third.add_argument("--rate", type=float, default=quick.rate, help="lines a second, instead of a part")
    third.add_argument("--every", type=float, default=quick.every, help="seconds between scrapes")
    third.add_argument("--starts", type=int, default=quick.starts, help="of each kind; 0: none")
    return parser.parse_args(arguments)


def _load_args(arguments: Sequence[str]) -> str:
    """As make takes them; the page's own name is in the Makefile. Each is one word, `--name=value`."""
    given = shlex.join(part for part in arguments[1:] if not part.startswith(("--markdown", "--json", "--note")))
    return f' LOAD_ARGS="{given}"' if given else ""


def _write(options: argparse.Namespace, run: Run, rows: Rows, command: str) -> None:
    if options.json:
        Path(options.json).write_text(json.dumps(asdict(run)) + "\n", "utf-8")
    if not options.markdown:
        return
    if options.seconds < _SHORTEST[options.what]:
        print(f"{options.markdown} is for runs of {_SHORTEST[options.what]:g} s or more: not written")
        return
    path = Path(options.markdown)
    old = path.read_text("utf-8") if path.exists() else ""
    path.write_text(page(old, options.what.capitalize(), rows, _conditions(options.note), command), "utf-8")


def _conditions(note: str) -> dict[str, str]:
    memory = psutil.virtual_memory().total / 1e9
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GB, for everything: broker, feeder, worker",
        "Python": platform.python_version(),
        "Kafka": VERSION,
        **({"note": note} if note else {}),
    }


def _print(rows: Rows) -> None:
    table = Table(show_header=False)
    for name, value in rows:
        table.add_row(name.replace("**", ""), value.replace("**", ""))
    Console(width=110).print(table)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make chaos`: runs of many seeds, each with brokers of its own; 0 only if no figure of any run is wrong."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from tests.chaos.report import Result, as_json, as_markdown
from tests.chaos.run import Plan, alone
from tests.chaos.schedule import full, short
from tests.kafka.broker import VERSION, MissingError

LINES = 500_000


def main(arguments: Sequence[str]) -> int:
    """Run, tell, write the reports after each run. 1: a difference, or Kafka is missing."""
    options = _options(arguments)
    seeds = range(options.first, options.first + options.seeds)
    plans = [
        Plan(seed, options.lines, (short if options.short else full)(seed), _command(options, 1, seed), options.level)
        for seed in seeds
    ]
    results: list[Result] = []
    with ProcessPoolExecutor(options.at_once, mp_context=get_context("spawn")) as pool:
        try:
            for result in pool.map(alone, plans):
                results.append(result)
                _tell(result)
                _write(options, results)
        except MissingError as problem:
            print(f"no chaos without Apache Kafka: {problem}")
            return 1
    differences = sum(len(one.differences) for one in results)
    print(f"seeds: {len(results)}, lines: {sum(one.lines for one in results):,}")
    print(f"differences: {differences}")
    return 1 if differences else 0


def _command(options: argparse.Namespace, seeds: int, first: int) -> str:
    """What runs these seeds so."""
    more = [f"--lines {options.lines}"] if options.lines != LINES else []
    more += ["--short"] if options.short else []
    return f"make chaos SEEDS={seeds} SEED={first}" + (f' CHAOS_ARGS="{" ".join(more)}"' if more else "")


def _write(options: argparse.Namespace, results: Sequence[Result]) -> None:
    conditions = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} CPUs for everything: brokers, fleet, input and comparison; "
        f"runs side by side: {options.at_once}",
        "Python": platform.python_version(),
        "Kafka": VERSION,
    }
    command = _command(options, len(results), options.first)
    for path, text in (
        (options.json, as_json(results, conditions)),
        (options.markdown, as_markdown(results, conditions, command)),
    ):
        if path:
            Path(path).write_text(text, "utf-8")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many runs")
    parser.add_argument("--first", type=int, default=1, help="the seed of the first one")
    parser.add_argument("--lines", type=int, default=LINES, help="of each run")
    parser.add_argument("--at-once", type=int, default=1, help="so many runs side by side")
    parser.add_argument("--short", action="store_true", help="the short schedules, as in `make test`")
    parser.add_argument("--level", default="info", help="of the logs that are kept after a difference or a restart")
    parser.add_argument("--json", metavar="FILE", help="write the report to FILE")
    parser.add_argument("--markdown", metavar="FILE", help="the same as a page")
    return parser.parse_args(arguments)


def _tell(result: Result) -> None:
    print(
        f"seed {result.seed}: {result.lines:,} lines, {len(result.faults)} faults in {result.seconds:.0f} s, "
        f"{result.posts_failed} posts failed and {result.posts_repeated} were repeated, "
        f"{len(result.restarts)} restarts, differences: {len(result.differences)}",
        flush=True,
    )
    for line in (*result.restarts, *result.differences):
        print(f"  {line}")
    if result.logs:
        print(f"  what each process said: {result.logs}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

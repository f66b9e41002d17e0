"""The contenders that take one record a message: which there are, whether they are here, a run of one.

Each runs as a process of its own: naive Faust in the environment of the tests, the rest in `.venv-bench`, which
`make bench` makes from requirements-bench.lock. What can't be installed or imported is skipped, with the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from streams.generate import FORMATS, bulk
from tests.bench.contenders.feed import feed
from tests.bench.contenders.result import Load, Outcome, Result, Skipped
from tests.kafka.oracle import Oracle

ROOT = Path(__file__).parents[3]
ENVIRONMENT = ROOT / ".venv-bench"
PYTHON = ENVIRONMENT / "bin" / "python"
INSTALL_LOG = ROOT / ".venv-bench.log"
RUN_SECONDS = 900.0
"""Of a run, on a machine that is busy with other things."""

_MINUTES = 5
_LOWER_PORT = "least(srcport::BIGINT, dstport::BIGINT)::VARCHAR"

Totals = Mapping[str, tuple[int, ...]]
"""Key -> flows, packets, bytes."""


@dataclass(frozen=True)
class Contender:
    """module: in this package. records: how many it is given, so that a run takes some ten seconds."""

    name: str
    module: str
    package: str
    distribution: str
    records: int
    quick: int
    python: Path = PYTHON


OTHERS = (
    Contender("faust-naive", "faust_naive", "faust", "faust-streaming", 20_000, 10_000, Path(sys.executable)),
    Contender("quix-streams", "quix", "quixstreams", "quixstreams", 100_000, 50_000),
    Contender("bytewax", "bytewax_", "bytewax", "bytewax", 100_000, 50_000),
    Contender("pathway", "pathway_", "pathway", "pathway", 300_000, 150_000),
)


class Found(NamedTuple):
    """Whether a contender is on this machine: its version, or why not."""

    version: str
    reason: str


class Sample(NamedTuple):
    """Lines, and what their totals must be."""

    lines: list[bytes]
    enis: Totals
    ports: Totals


def look_for(contender: Contender, log: Path = INSTALL_LOG) -> Found:
    """log: what installing the environment said, there only when it failed."""
    installing = _last_line(log.read_text("utf-8")) if log.exists() else ""
    if not contender.python.exists():
        return Found("", installing or "`make bench` installs it")
    code = f"import {contender.package}, importlib.metadata as m; print(m.version({contender.distribution!r}))"
    done = subprocess.run([str(contender.python), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return Found("", installing or _last_line(done.stderr))
    return Found(_last_line(done.stdout), "")


def sample(load: Load, records: int) -> Sample:
    """Of the load's kind, but fewer, and of the last minutes: Faust expires rows by the clock on the wall."""
    start = int(time.time()) - _MINUTES * 60
    chunks = bulk(records, enis=load.enis, version=load.version, minutes=_MINUTES, start_epoch=start)
    lines = [line for chunk in chunks for line in chunk.split(b"\n")]
    oracle = Oracle(lines, FORMATS[load.version])
    enis, ports = (oracle._sums(key) for key in ('"interface-id"', _LOWER_PORT))
    return Sample(lines, *({key: values for (key,), values in sums.items()} for sums in (enis, ports)))


async def run(bootstrap: str, contender: Contender, load: Load, given: Sample) -> Outcome:
    """One run, over a topic of its own."""
    topic = f"bench-{contender.name}-{uuid4().hex[:8]}"
    await feed(bootstrap, topic, given.lines)
    module = f"tests.bench.contenders.{contender.module}"
    command = [str(contender.python), "-m", module, bootstrap, topic, str(len(given.lines))]
    try:
        done = subprocess.run(  # noqa: ASYNC221 - contenders run alone, nothing else is to run meanwhile
            command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=RUN_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Skipped(contender.name, load.name, f"not done in {RUN_SECONDS:.0f} s", failed=True)
    printed = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not printed:
        return Skipped(contender.name, load.name, _last_line(done.stderr) or "printed nothing", failed=True)
    return result(contender.name, load, json.loads(printed[-1]), given)


def result(name: str, load: Load, found: Mapping[str, Any], given: Sample) -> Result:
    """What a contender printed, as a row. Verified where every ENI's and every port's totals are right."""
    records = len(given.lines)
    right = all(
        {key: tuple(values) for key, values in found[table].items()} == wanted
        for table, wanted in (("enis", given.enis), ("ports", given.ports))
    )
    return Result(
        name, load.name, records, round(found["cpu_seconds"] / records * 1e6, 2), round(records / found["seconds"]),
        found["peak_rss_mb"], right and found["records"] == records,
    )  # fmt: skip


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

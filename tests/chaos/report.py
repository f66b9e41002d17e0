"""The report of runs: JSON for machines, and the page docs/reliability.md. Pure: the same results, the same text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from streams.detectors.registry import DETECTORS
from tests.chaos.schedule import BROKERS, INGESTS, MEANINGS, SESSION, WORKERS

Conditions = Mapping[str, str]
"""What the figures were measured under: a word for it -> what it was."""


@dataclass(frozen=True)
class FaultReport:
    """at: seconds since the input began. target: which one. lasted: until it was over. ready_after, drained_after:
    seconds from then on until the fleet was ready, and until nothing waited; None: it was not before the end.
    """

    at: float
    kind: str
    target: int
    lasted: float
    ready_after: float | None
    drained_after: float | None


@dataclass(frozen=True)
class Result:
    """A run. command: repeats it. lines: all that have an outcome, junk among them. looks: how often the fleet was
    asked. counted_after: seconds from the end of input and faults until no line was missing; None: it never came.
    restarts: who ended by itself and was started again, with its last words. logs: a folder, after a
    difference or a restart.
    """

    seed: int
    command: str
    lines: int
    junk: int
    findings: int
    seconds: float
    posts: int
    posts_failed: int
    posts_repeated: int
    looks: int
    counted_after: float | None
    faults: Sequence[FaultReport]
    restarts: Sequence[str]
    differences: Sequence[str]
    logs: str = ""


def as_json(results: Sequence[Result], conditions: Conditions) -> str:
    """All of it."""
    return json.dumps({"conditions": dict(conditions), "runs": [asdict(one) for one in results]}, indent=2) + "\n"


def as_markdown(results: Sequence[Result], conditions: Conditions, command: str) -> str:
    """docs/reliability.md. command: what made the report."""
    lines = [
        _INTRODUCTION, "```sh", command, "```", "", *_summary(results, conditions), _A_RUN, *_kinds(results),
        *_runs(results), *_every_fault(results), *_restarts(results),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


_INTRODUCTION = """# Reliability

Made by `make chaos` (`tests/chaos/`). What breaks while records stream in, how long it takes until all is well, and how
many figures are wrong in the end. A seed is a run: its input and its faults follow from it.
"""

_A_RUN = f"""## A run

- **Fleet.** {BROKERS} Apache Kafka brokers (each topic has {BROKERS} copies, `min.insync.replicas` is 2), up to
  {WORKERS} workers (session {SESSION} s, a checkpoint every second), {INGESTS} ingests, a bridge. One worker reaches
  its brokers through proxies alone: that is the network that is cut.
- **Input.** Three of four lines come as posts of Amazon Data Firehose, to the ingests in turn, with the same request id
  until one is accepted; some are posted again after that. The others stand on a topic of somebody else, a record a
  message. Bad lines are among both.
- **Faults.** Three lanes side by side: workers, sources, brokers. Seven of ten wait until the fleet is ready again, the
  others do not. A process that ends by itself is started again.
- **Compared with DuckDB over the input, to the unit.** Lines by outcome. Records, packets and bytes by ENI and action,
  and by port, protocol and action: at `/metrics` of all workers together, and in each pane of the tables as they stand
  in their changelog. Each bad line is one dead letter, by id.
- **Findings, to the word.** Three workers look for {len(DETECTORS)} kinds of them all the while; event time runs about
  twenty times as fast as the clock. What is told must be what the same raw log gives in one process where nothing
  breaks: every opening, change and end, its figures and its origins, and each finding is counted once.
- **All the time.** Every second or two all workers are asked: no figure of a key or a partition is ever above what all
  the input gives, and no more lines are counted than were sent.
- **No full disk.** A worker writes no file (`tests/kafka/test_failures.py`). The brokers do, and three copies of each.
"""

_RECOVERY = """## Recovery

Seconds from the end of a fault (the process is started again, the network is whole) until all processes are ready and
hold all partitions, and until no message waits. Input goes on meanwhile, and so may the next fault. The fleet is asked
every second or two: no figure is finer than that.

| fault | what it is | times | ready: median | longest | nothing waits: median | longest |
|---|---|---|---|---|---|---|"""

_RUNS = """## Runs

The last line is counted so many seconds after it was sent and the last fault was over.

| command | lines | bad | findings | seconds | faults | posts | failed | repeated | restarts | counted | differences |
|---|---|---|---|---|---|---|---|---|---|---|---|"""

_FAULTS = """## Every fault

In seconds. The target is the number of the worker, ingest or broker; of a scale, how many workers.

| seed | at | fault | target | lasted | ready after | nothing waits after |
|---|---|---|---|---|---|---|"""


def _summary(results: Sequence[Result], conditions: Conditions) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    seeds = [one.seed for one in results]
    yield f"| seeds | {len(seeds)} ({min(seeds)} to {max(seeds)}) |"
    yield f"| lines | {sum(one.lines for one in results):,} |"
    yield f"| findings | {sum(one.findings for one in results):,} |"
    yield f"| faults | {sum(len(one.faults) for one in results):,} |"
    yield f"| looks at all workers | {sum(one.looks for one in results):,} |"
    yield f"| **differences** | **{sum(len(one.differences) for one in results)}** |"
    yield from (f"| {name} | {value} |" for name, value in conditions.items())
    yield ""


def _kinds(results: Sequence[Result]) -> Iterator[str]:
    yield _RECOVERY
    faults = [fault for one in results for fault in one.faults]
    for kind, meaning in MEANINGS.items():
        mine = [fault for fault in faults if fault.kind == kind]
        if mine:
            ready, drained = _span(one.ready_after for one in mine), _span(one.drained_after for one in mine)
            yield f"| {kind} | {meaning} | {len(mine)} | {ready} | {drained} |"
    yield ""


def _span(seconds: Iterable[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    return f"{median(known):.1f} | {max(known):.1f}" if known else "- | -"


def _runs(results: Sequence[Result]) -> Iterator[str]:
    yield _RUNS
    for one in results:
        yield (
            f"| `{one.command}` | {one.lines:,} | {one.junk} | {one.findings} | {one.seconds:.0f} "
            f"| {len(one.faults)} | {one.posts} | {one.posts_failed} | {one.posts_repeated} | {len(one.restarts)} "
            f"| {_seconds(one.counted_after)} | {len(one.differences)} |"
        )
    yield ""


def _every_fault(results: Sequence[Result]) -> Iterator[str]:
    yield _FAULTS
    for one in results:
        for fault in one.faults:
            ready, drained = _seconds(fault.ready_after), _seconds(fault.drained_after)
            lasted = f"{fault.lasted:.1f}"
            yield f"| {one.seed} | {fault.at:.1f} | {fault.kind} | {fault.target} | {lasted} | {ready} | {drained} |"
    yield ""


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _restarts(results: Sequence[Result]) -> Iterator[str]:
    found = [(one.seed, line) for one in results for line in one.restarts]
    if found:
        yield from ("## Ended by themselves", "", "What they said last; each was started again.", "")
        yield from (f"- seed {seed}, {line.replace('|', ' ')}" for seed, line in found)

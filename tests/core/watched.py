"""Blocks and what a watching partition makes of them, in a form that compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from streams.core import tables
from streams.core.combine import Summary
from streams.core.detection import Detected, Detector, Memory, Minute
from streams.core.findings import Finding
from streams.core.watching import Setup, WatchingPartition
from streams.detectors.common import hits, severity


@dataclass(frozen=True)
class _None:
    pass


def _detect(minute: Minute, memory: Memory, settings: _None) -> Detected:
    """A hit for each conversation, with the number of minutes that were seen before."""
    del settings
    before = memory["minutes"].height
    rows = minute.talks.with_columns(
        pl.col("client").alias("source"), pl.col("server").alias("target"), severity("low").alias("severity"),
        pl.lit(minute.start, dtype=pl.Int64).alias("first"), (pl.col("flows") + pl.col("replies")).alias("count"),
        pl.lit(before).alias("before"),
    )  # fmt: skip
    told = hits(rows, pl.format("{} bytes, {} back", "bytes", "reply_bytes"), "before", "bytes", "sockets", "seconds")
    now = pl.DataFrame({"start": [minute.start]})
    return told, {"minutes": pl.concat([memory["minutes"], now])}


ECHO = Detector(
    name="echo",
    title="Everything",
    attack=(),
    explanation="For tests.",
    runbook="Nothing.",
    settings=_None(),
    detect=_detect,
    memory={"minutes": {"start": pl.Int64}},
    cool_down=0,
)
"""Says all that it sees."""


def blocks(told: Iterable[Summary]) -> dict[tuple[int, bytes], object]:
    """Partition and key -> head and rows, of those that came last; nothing comes again as something else."""
    found: dict[tuple[int, bytes], object] = {}
    for one in told:
        head, frames = tables.decode(one.value)
        rows = (head, {name: sorted(frame.rows(), key=repr) for name, frame in frames.items()})
        assert found.setdefault((one.partition, one.key), rows) == rows
    return found


def watcher(sources: int = 1, lateness: int = 300, rows: dict[str, bytes] | None = None) -> WatchingPartition:
    """With a detector that says everything."""
    return WatchingPartition(Setup([ECHO], [], sources, lateness), rows)


def findings(told: Sequence[Summary]) -> set[Finding]:
    """Of all partitions together, each taking its blocks in their order."""
    states: dict[int, WatchingPartition] = {}
    found = list[Finding]()
    for offset, one in enumerate(told):
        state = states.setdefault(one.partition, watcher())
        found += state.apply(one.key.decode(), one.value, offset)
    return set(found)

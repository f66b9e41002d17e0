"""Event time. Time is an argument; nothing here reads a clock.

A pane is a tumbling window [start, start + seconds) of event time, named by its start (epoch seconds). A watermark says
how far event time has come; it never goes back. Longer windows are sums of panes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

Assign = Literal["start", "end", "spread"]


def assign(facts: pl.DataFrame, seconds: int, how: Assign, max_span: int) -> pl.DataFrame:
    """`facts` (first, last, packets, bytes: Int64) with column `pane` Int64, and `flows` when `how` is "spread".

    "start", "end": the pane that holds that second. "spread": packets and bytes are shared over the seconds first..last
    in proportion, to the unit, and the record itself counts where it ends; a record longer than `max_span` seconds
    (a broken clock) is put where it ends, and so is one that starts after its end.
    """
    first = pl.col("first").clip(upper_bound=pl.col("last"))
    if how != "spread":
        at = first if how == "start" else pl.col("last")
        return facts.with_columns((at - at % seconds).alias("pane"))
    whole = facts.with_columns(
        pl.when(pl.col("last") - first > max_span).then(pl.col("last")).otherwise(first).alias("_from")
    )
    start, end = pl.col("_from") // seconds, pl.col("last") // seconds
    pieces = whole.with_columns(pl.int_ranges(start, end + 1).alias("_pane")).explode("_pane")
    pane = pl.col("_pane") * seconds
    span = pl.col("last") - pl.col("_from") + 1
    until = pl.min_horizontal(pane + seconds, pl.col("last") + 1) - pl.col("_from")
    before = pl.max_horizontal(pane, pl.col("_from")) - pl.col("_from")
    ends = pane + seconds > pl.col("last")
    return pieces.with_columns(
        pane.alias("pane"),
        ends.cast(pl.Int64).alias("flows"),
        *(_share(pl.col(name), before, until, span).alias(name) for name in ("packets", "bytes")),
    ).drop("_from", "_pane")


def _share(total: pl.Expr, before: pl.Expr, until: pl.Expr, span: pl.Expr) -> pl.Expr:
    """The part of `total` that seconds before..until of `span` get; all parts sum to `total`, with no overflow."""
    even, rest = total // span, total % span
    return even * (until - before) + (rest * until // span - rest * before // span)


@dataclass
class Clock:
    """The watermarks of the raw partitions, and how far all of them together have come.

    watermark: raw partition -> latest event time seen (epoch seconds). idle: partitions that hold nobody back.
    """

    lateness: int
    watermark: dict[int, int] = field(default_factory=dict)
    idle: set[int] = field(default_factory=set)

    def advance(self, partition: int, watermark: int, *, idle: bool = False) -> None:
        """Take a partition's watermark; an older one than known changes nothing but whether it is idle."""
        self.watermark[partition] = max(watermark, self.watermark.get(partition, watermark))
        (self.idle.add if idle else self.idle.discard)(partition)

    def closed_before(self) -> int | None:
        """Every pane that ends at or before this is closed. None: nothing is known yet.

        The slowest partition that is not idle decides; when all are idle, the fastest.
        """
        busy = [at for partition, at in self.watermark.items() if partition not in self.idle]
        if not self.watermark:
            return None
        return (min(busy) if busy else max(self.watermark.values())) - self.lateness


def window(panes: Mapping[int, pl.DataFrame], end: int, seconds: int) -> list[pl.DataFrame]:
    """The frames of the panes whose start lies in [end - seconds, end): merged, they are the longer window."""
    return [frame for start, frame in panes.items() if end - seconds <= start < end]

"""Log statuses: records that hold no flow, by interface and minute. What tells a quiet interface from a broken log.

AWS writes NODATA for an interval without traffic, and SKIPDATA where it lost records: sums are too low there.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from streams.core.conversations import PANE_SECONDS

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "eni": pl.String,
    "pane": pl.Int64,
    "nodata": pl.Int64,
    "skipdata": pl.Int64,
}
"""A row an interface and minute. pane: the minute in which the records start. nodata, skipdata: how many."""


def empty() -> pl.DataFrame:
    """A frame with no rows."""
    return pl.DataFrame(schema=SCHEMA)


def counted(records: pl.DataFrame) -> pl.DataFrame:
    """Records (eni String, start Int64 epoch seconds, skipped Boolean, the others are NODATA) -> SCHEMA."""
    rows = records.select(
        "eni",
        (pl.col("start") - pl.col("start") % PANE_SECONDS).alias("pane"),
        (~pl.col("skipped")).cast(pl.Int64).alias("nodata"),
        pl.col("skipped").cast(pl.Int64).alias("skipdata"),
    )
    return merged([rows])


def merged(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Frames -> one in which each interface and minute stands once."""
    parts = [frame for frame in frames if frame.height]
    if not parts:
        return empty()
    return pl.concat(parts).group_by("eni", "pane").agg(pl.col("nodata", "skipdata").sum())

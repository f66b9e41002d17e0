"""How detectors remember: rows with a key and `at`, the second of their last use. The young ones, and so many."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def kept(known: pl.DataFrame, now: pl.DataFrame, key: Sequence[str], oldest: int, most: int) -> pl.DataFrame:
    """`known` with the rows of `now` in place of those with the same key. oldest: of `at`. most: rows, the latest."""
    every = pl.concat([known.join(now, on=key, how="anti"), now.select(known.columns)])
    return _latest(every.filter(pl.col("at") >= oldest), key, most)


def most_kept(known: pl.DataFrame, usual: pl.DataFrame, key: Sequence[str], oldest: int, most: int) -> pl.DataFrame:
    """Rows key, `most`, `at`: of each key the most that there was. `usual` has new ones."""
    young = known.filter(pl.col("at") >= oldest)
    every = pl.concat([young, usual.select(known.columns)]).group_by(key).agg(pl.col("most", "at").max())
    return _latest(every.select(known.columns), key, most)


def _latest(rows: pl.DataFrame, key: Sequence[str], most: int) -> pl.DataFrame:
    """In an order that does not depend on how they came."""
    return rows if rows.height <= most else rows.sort("at", *key).tail(most)

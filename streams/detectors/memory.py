"""How detectors remember: rows with a key and `at`, the second of their last use. The young ones, and so many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from streams.core import keyed


def kept(known: pl.DataFrame, now: pl.DataFrame, key: Sequence[str], oldest: int, most: int) -> pl.DataFrame:
    """`known` with the rows of `now` in place of those with the same key. oldest: of `at`. most: rows, the latest."""
    every = pl.concat([keyed.anti(known, now, key), now.select(known.columns)])
    return _latest(every.filter(pl.col("at") >= oldest), key, most)


@dataclass(frozen=True)
class Habit:
    """Rows `key`, `most`, `at`: of each key the most that column `of` was, findings left out."""

    of: str
    key: Sequence[str]
    seconds: int
    rows: int

    def learnt(self, known: pl.DataFrame, seen: pl.DataFrame, found: pl.DataFrame, start: int) -> pl.DataFrame:
        """What is known from now on. seen: of the minute that begins at `start`, found: the part that is no habit."""
        usual = seen.join(found, on=self.key, how="anti").with_columns(
            pl.col(self.of).alias("most"), pl.lit(start, dtype=pl.Int64).alias("at")
        )
        every = pl.concat([known.filter(pl.col("at") >= start - self.seconds), usual.select(known.columns)])
        most = every.group_by(self.key).agg(pl.col("most", "at").max())
        return _latest(most.select(known.columns), self.key, self.rows)


def _latest(rows: pl.DataFrame, key: Sequence[str], most: int) -> pl.DataFrame:
    """In an order that does not depend on how they came."""
    return rows if rows.height <= most else rows.sort("at", *key).tail(most)

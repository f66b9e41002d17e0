"""What moves, per second: the difference of two readings of a worker, some seconds apart. No clock is read here.

A reading is what rates need of a snapshot, and small: a row a key. When a worker is given partitions, all that they
ever counted comes at once, and it would look like traffic: readings of different partitions are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from streams.core import tables
from streams.core.tables import TABLES
from streams.metrics import Snapshot

MEASURES = ("bytes", "flows", "rejected")
"""Of each key: bytes and flow records, and of those records the ones that were refused."""


@dataclass(frozen=True)
class Reading:
    """seconds: when, on a clock that never goes back. lines: all that were read. tables: by name, keys with MEASURES.
    partitions: whose counts these are.
    """

    seconds: float
    lines: int
    tables: Mapping[str, pl.DataFrame]
    partitions: tuple[frozenset[int], frozenset[int]]


def reading(snapshot: Snapshot, seconds: float) -> Reading:
    """A snapshot, taken at `seconds`."""
    return Reading(
        seconds,
        sum(summed(snapshot, "lines").values()),
        {name: _by_key(snapshot.totals[name], table.entity) for name, table in TABLES.items()},
        (frozenset(snapshot.metas), frozenset(snapshot.tabled)),
    )


def summed(snapshot: Snapshot, name: str) -> dict[str, int]:
    """A counter of core.combine.Meta over all raw partitions."""
    found: dict[str, int] = {}
    for meta in snapshot.metas.values():
        for key, count in getattr(meta, name).items():
            found[key] = found.get(key, 0) + count
    return found


def _by_key(rows: pl.DataFrame, entity: tuple[str, ...]) -> pl.DataFrame:
    refused = pl.col("action") == tables.ACTIONS.index("REJECT")
    sums = (pl.col("bytes").sum(), pl.col("flows").sum(), pl.col("flows").filter(refused).sum().alias("rejected"))
    return rows.group_by(entity).agg(sums)


class Readings:
    """The last few, of the same partitions, oldest first."""

    def __init__(self, most: int, apart: float = 0.0) -> None:
        """most: how many are kept. apart: seconds between those that are; the newest is always one of them."""
        self._most, self._apart = most, apart
        self._kept: list[Reading] = []

    def add(self, new: Reading) -> None:
        """Take one. Those of other partitions go."""
        if self._kept and self.newest.partitions != new.partitions:
            self._kept.clear()
        if len(self._kept) > 1 and self.newest.seconds - self._kept[-2].seconds < self._apart:
            self._kept.pop()
        self._kept = [*self._kept, new][-self._most :]

    @property
    def newest(self) -> Reading:
        """The last one that was added."""
        return self._kept[-1]

    @property
    def before(self) -> Reading:
        """The one before it that is kept; the newest, where it is the only one."""
        return self._kept[-2] if len(self._kept) > 1 else self.newest

    @property
    def oldest(self) -> Reading:
        """The first one that is kept; the newest, where it is the only one."""
        return self._kept[0]


def lines_gained(now: Reading, before: Reading) -> int:
    """Lines read since."""
    return max(0, now.lines - before.lines)


def gained(now: Reading, before: Reading, table: str) -> pl.DataFrame:
    """Keys that counted anything since, with what they did: the key's columns and MEASURES. In no order."""
    keys = list(TABLES[table].entity)
    less = before.tables[table].with_columns(-pl.col(MEASURES))
    moved = pl.concat([now.tables[table], less]).group_by(keys).agg(pl.col(MEASURES).sum())
    return moved.filter(pl.col("flows") > 0)

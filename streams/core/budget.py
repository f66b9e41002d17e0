"""Which keys get series of their own at /metrics, and what `other` stands for. Time is an argument.

Prometheus asks two things of a counter: it does not go back, and what one series counts no other counts again. So a key
that is shown once stays shown until it was silent for longer than the TTL; a key that gets its place late starts at
zero, while what it had until then stays in `other`; and what a series counted before it ended is not counted in `other`
when its key comes back without a place. Without overflow, and after every start, each key shows its whole total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import polars as pl

from streams.core import tables
from streams.core.tables import Table


@dataclass(frozen=True)
class View:
    """rows: the table's keys and measures, each key once, `other` among them; evicted: keys whose series ended."""

    rows: pl.DataFrame
    evicted: int


class SeriesBudget:
    """The state behind one table's series in one process.

    A key's total has two parts: what its own series counts or counted, and its share in `other`. While it is shown its
    own part grows, while it is not its share does.
    """

    def __init__(self, table: Table, limit: int, ttl: int) -> None:
        """limit: keys (ENIs, ports) shown at the most. ttl: seconds of event time that a silent key stays shown."""
        self._table = table
        self._limit = limit
        self._ttl = ttl
        self._shown = table.empty().select(table.entity)
        self._shares = table.empty()  # of all keys
        self._own = table.empty()  # of keys that are not shown
        self._other = table.empty()
        self._lost = table.empty()  # shares of keys that have left the table

    def view(self, totals: pl.DataFrame) -> View:
        """What to show of `totals` (a frame of the table, see core.roll)."""
        table, entity = self._table, list(self._table.entity)
        other = totals.filter(_is(table, table.other))
        real = totals.filter(~_is(table, table.expired) & ~_is(table, table.other))
        alive = self._alive(real)
        kept = self._shown.join(alive, on=entity, how="semi")
        waiting = alive.join(kept, on=entity, how="anti").sort(-pl.col("bytes"), *entity).select(entity)
        shown = pl.concat([kept, waiting.head(max(0, self._limit - kept.height))])
        evicted = self._shown.height - kept.height
        own = [self._own, self._grown(real, self._shown.join(kept, on=entity, how="anti")), self._retired(real, alive)]
        hidden = real.join(shown, on=entity, how="anti")
        self._own = tables.merge(table, [one.join(hidden, on=entity, how="semi") for one in own])
        rows = self._grown(real, shown)
        left = self._shares.join(real, on=entity, how="anti")
        self._lost = tables.merge(table, [self._lost, tables.relabel(left, table.other)])
        shares = self._shares.join(shown, on=entity, how="semi").join(rows, on=list(table.keys), how="semi")
        self._shares = pl.concat([shares, tables.merge(table, [hidden, tables.negated(self._own)])])
        self._shown = shown
        return View(pl.concat([rows, self._sum_of_others(other)]), evicted)

    def _alive(self, real: pl.DataFrame) -> pl.DataFrame:
        """Entities that were not silent for longer than the TTL, with their bytes."""
        entity = list(self._table.entity)
        keys = real.group_by(entity).agg(pl.col("bytes").sum(), pl.col("last").max())
        newest = cast("int | None", keys.get_column("last").max()) or 0
        return keys.filter(pl.col("last") >= newest - self._ttl)

    def _grown(self, real: pl.DataFrame, entities: pl.DataFrame) -> pl.DataFrame:
        """The own part of each key of `entities`: its total without its share in `other`."""
        table = self._table
        rows = real.join(entities, on=list(table.entity), how="semi")
        shares = self._shares.join(rows, on=list(table.keys), how="semi")
        grown = tables.merge(table, [rows, tables.negated(shares)])
        return grown.with_columns(pl.col(tables.COUNTS).clip(lower_bound=0))

    def _retired(self, real: pl.DataFrame, alive: pl.DataFrame) -> pl.DataFrame:
        """Keys that are found silent at first sight (after a start): theirs was a series once, or might have been."""
        entity = list(self._table.entity)
        silent = real.join(alive, on=entity, how="anti")
        for known in (self._shown, self._own, self._shares):
            silent = silent.join(known, on=entity, how="anti")
        return silent

    def _sum_of_others(self, other: pl.DataFrame) -> pl.DataFrame:
        """The rows `other`. A share stays in them when its key leaves the table: a counter does not go back."""
        table = self._table
        current = tables.merge(table, [tables.relabel(one, table.other) for one in (other, self._shares)])
        short = tables.merge(table, [self._other, tables.negated(tables.merge(table, [current, self._lost]))])
        missing = short.with_columns(pl.col(tables.COUNTS).clip(lower_bound=0))
        self._lost = tables.merge(table, [self._lost, missing])
        self._other = tables.merge(table, [current, self._lost])
        return self._other


def _is(table: Table, values: Mapping[str, object]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in values.items() if name in table.entity)

"""Which keys get series of their own at /metrics, and what `other` stands for. Time is an argument.

Prometheus asks two things of a counter: it does not go back, and all series together are the total. So a key that is
shown once stays shown until it was silent for longer than the TTL; and a key that gets its place late starts at zero,
while what it had until then stays in `other`. Without overflow, and after every start, each key shows its whole total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from streams.core import tables
from streams.core.tables import Table


@dataclass(frozen=True)
class View:
    """rows: the table's keys and measures, each key once, `other` among them; evicted: keys whose series ended."""

    rows: pl.DataFrame
    evicted: int


class SeriesBudget:
    """The state behind one table's series in one process."""

    def __init__(self, table: Table, limit: int, ttl: int) -> None:
        """limit: keys (ENIs, ports) shown at the most. ttl: seconds of event time that a silent key stays shown."""
        self._table = table
        self._limit = limit
        self._ttl = ttl
        self._shown = table.empty().select(table.entity)
        self._base = table.empty()
        self._hidden = table.empty()

    def view(self, totals: pl.DataFrame) -> View:
        """What to show of `totals` (a frame of the table, see core.roll)."""
        table, entity = self._table, list(self._table.entity)
        expired = _is(table, table.expired)
        other = totals.filter(_is(table, table.other))
        real = totals.filter(~expired & ~_is(table, table.other))
        keys = real.group_by(entity).agg(pl.col("bytes").sum(), pl.col("last").max())
        alive = keys.filter(pl.col("last") >= (keys.get_column("last").max() or 0) - self._ttl)
        kept = self._shown.join(alive, on=entity, how="semi")
        room = max(0, self._limit - kept.height)
        fresh = alive.join(kept, on=entity, how="anti").sort(["bytes", *entity], descending=[True, *[False] * len(entity)])
        evicted = self._shown.height - kept.height
        self._base = pl.concat([self._base, self._hidden.join(fresh.head(room), on=entity, how="semi")])
        self._shown = pl.concat([kept, fresh.head(room).select(entity)])
        retired = keys.join(alive, on=entity, how="anti")
        self._hidden = real.join(pl.concat([self._shown, retired.select(entity)]), on=entity, how="anti")
        shown = real.join(self._shown, on=entity, how="semi")
        since = tables.merge(table, [shown, tables.negated(self._base.join(shown, on=list(table.keys), how="semi"))])
        rest = [other, tables.relabel(self._hidden, table.other), tables.relabel(self._base, table.other)]
        return View(pl.concat([since, tables.merge(table, rest)]), evicted)


def _is(table: Table, values: Mapping[str, object]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in values.items() if name in table.entity)

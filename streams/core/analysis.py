"""A report over lines that are all there: the same parsing, facts and tables as the stream, without time running.

What `vpcflow analyze --json` prints is `Analysis.report`; its keys are an interface. A record with no time of its own
has none here either: it counts in the sums and stands in no pane.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import cast

import polars as pl

from streams.core import conversations, direction, ports, statuses, tables
from streams.core.facts import facts
from streams.core.fields import Format
from streams.core.panes import Assign, assign
from streams.core.parse import Parsed

_PATIENCE = 32
_NO_TIME = -1
"""Stands for a time while facts are made: no record has one before 1970, and the year 1970 is as good as any other."""
_OUTCOMES = ("flow", "nodata", "skipdata", "header", "blank", "reject")
_ACCEPT, _REJECT = tables.ACTIONS.index("ACCEPT"), tables.ACTIONS.index("REJECT")
_COUNTS = (*tables.COUNTS, "accepted", "rejected")
_KEYS = {"enis": ("eni",), "ports": ("port", "protocol"), "panes": ("pane",)}


class Analysis:
    """Add what was parsed, piece by piece, in any order; then ask for the report."""

    def __init__(
        self, pane_seconds: int = 60, how: Assign = "end", max_span: int = 3600, *, most_talks: int = 1_000_000
    ) -> None:
        """Panes as in core.panes. most_talks: rows of conversations, and of statuses, that are kept: early minutes."""
        self._panes = (pane_seconds, how, max_span)
        self._lines: Counter[str] = Counter()
        self._undated = 0
        self._rejects: Counter[str] = Counter()
        self._formats: Counter[tuple[Format, float]] = Counter()
        self._tables = {name: _empty(keys) for name, keys in _KEYS.items()}
        self._pending: list[dict[str, pl.DataFrame]] = []
        self._owners = direction.no_owners()
        self._talks: list[pl.DataFrame] = []
        self._silent: list[pl.DataFrame] = []
        self._most_talks = most_talks
        self._unwatched_from: int | None = None

    def add(self, parsed: Parsed) -> None:
        """Count the records, rejects, headers and blank lines of a piece."""
        found = facts(parsed.records, self._owners, _NO_TIME, replay=False, parties=True)
        self._owners = found.owners
        rows = _times_or_null(found.rows)
        dated = rows.filter(pl.col("last").is_not_null())
        self._lines.update(
            total=parsed.lines, flow=rows.height, nodata=found.nodata, skipdata=found.skipdata,
            header=parsed.headers, blank=parsed.blank, reject=parsed.rejects.height,
        )  # fmt: skip
        self._rejects.update(dict(parsed.rejects.get_column("reason").value_counts().iter_rows()))
        if parsed.format is not None and parsed.records.height:
            self._formats[parsed.format, parsed.confidence] += parsed.records.height
        self._undated += rows.height - dated.height
        placed = assign(dated, *self._panes)
        self._pending.append(
            {name: _counted(placed if name == "panes" else rows, keys) for name, keys in _KEYS.items()}
        )
        self._talks.append(conversations.conversed(dated))
        self._silent.append(statuses.counted(found.silent.filter(pl.col("start") != _NO_TIME)))
        if len(self._pending) >= _PATIENCE:
            self._merge()

    def add_undecodable(self, reason: str) -> None:
        """Count a payload that could not be read at all, as one rejected line."""
        self._lines.update(total=1, reject=1)
        self._rejects[reason] += 1

    def talks(self) -> pl.DataFrame:
        """Conversations by minute (core.conversations.SCHEMA), directions told: whole minutes, see `unwatched_from`."""
        self._merge()
        [talks] = self._talks
        return conversations.merged([direction.resolved(self._until(talks), self._owners)])

    def silent(self) -> pl.DataFrame:
        """Records that hold no flow, by interface and minute (core.statuses.SCHEMA), of the same minutes."""
        self._merge()
        [silent] = self._silent
        return self._until(silent)

    def _until(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self._unwatched_from is None else rows.filter(pl.col("pane") < self._unwatched_from)

    def _kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Memory is bounded: of too many, the later minutes go, whole."""
        rows = self._until(rows)
        if rows.height > self._most_talks:
            self._unwatched_from = cast("int", rows.get_column("pane").sort()[self._most_talks])
        return self._until(rows)

    def report(self) -> dict[str, object]:
        """The object of `vpcflow analyze --json`. Times in epoch seconds, `protocol` IANA's number, null: unknown.

        undated: flow records with neither `start` nor `end`. They and the flows of `panes` add up to those of `totals`.
        unwatched_from: from that minute on nothing was looked for, as there were too many conversations; null: none.
        """
        self._merge()
        enis, services, panes = (self._tables[name] for name in _KEYS)
        end = pl.col("start") + self._panes[0]
        return {
            "lines": {name: self._lines[name] for name in ("total", *_OUTCOMES)},
            "rejects": dict(self._rejects.most_common()),
            "totals": enis.select(pl.col(_COUNTS).sum()).row(0, named=True),
            "enis": _rows(enis.select("eni", *_COUNTS, "first", "last"), {"eni": tables.UNKNOWN_ENI}),
            "ports": _rows(
                services.select("port", "protocol", *_COUNTS), dict.fromkeys(("port", "protocol"), ports.UNKNOWN)
            ),
            "panes": panes.rename({"pane": "start"})
            .sort("start")
            .select("start", end.alias("end"), *_COUNTS)
            .to_dicts(),
            "undated": self._undated,
            "unwatched_from": self._unwatched_from,
            "formats": [
                {"fields": list(fields), "lines": lines, "confidence": confidence}
                for (fields, confidence), lines in self._formats.most_common()
            ],
        }

    def _merge(self) -> None:
        for name, keys in _KEYS.items():
            frames = [self._tables[name], *(piece[name] for piece in self._pending)]
            self._tables[name] = _summed(pl.concat(frames), keys)
        self._pending = []
        self._talks = [self._kept(conversations.merged(self._talks))]
        self._silent = [self._kept(statuses.merged(self._silent))]


def _empty(keys: tuple[str, ...]) -> pl.DataFrame:
    dtypes = {**tables.ENI.schema, **tables.PORT.schema, "pane": pl.Int64}
    return pl.DataFrame(schema={name: dtypes.get(name, pl.Int64) for name in (*keys, *_COUNTS, "first", "last")})


def _times_or_null(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.when(pl.col(name) != _NO_TIME).then(name) for name in ("first", "last"))


def _counted(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    flows = pl.col("flows") if "flows" in rows.columns else pl.lit(1, dtype=pl.Int64)
    decided = {
        name: flows * (pl.col("action") == code) for name, code in (("accepted", _ACCEPT), ("rejected", _REJECT))
    }
    wide = rows.select(*keys, flows.alias("flows"), "packets", "bytes", "first", "last", **decided)
    return _summed(wide.select(*keys, *_COUNTS, "first", "last"), keys)


def _summed(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    return rows.group_by(keys).agg(pl.col(_COUNTS).sum(), pl.col("first").min(), pl.col("last").max())


def _rows(frame: pl.DataFrame, unknown: Mapping[str, str | int]) -> list[dict[str, object]]:
    """Most bytes first, then by key; the values in `unknown` become null."""
    ranked = frame.sort("bytes", *unknown, descending=[True, *[False] * len(unknown)])
    blank = (pl.when(pl.col(name) != value).then(name).alias(name) for name, value in unknown.items())
    return ranked.with_columns(blank).to_dicts()

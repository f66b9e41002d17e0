"""The state of one summary partition: summaries in, rolling tables out.

A summary carries the whole value so far of one row (a pane, the history, what is known) of one raw partition, stamped
with the raw offset that it includes. The newest stamp wins; the tables are the sum over raw partitions. So a summary
that comes twice, late or out of order changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import orjson
import polars as pl

from streams.core import direction, tables
from streams.core.ledger import HoleError, Written
from streams.core.panes import Clock
from streams.core.tables import TABLES, Frames

_SOURCE = "source"
_EVERYWHERE = -1
"""Value of column `source` in rows whose direction is told: only open pairs must know where they come from."""
_PATIENCE = 64
_NO_FRAMES: Frames = {}
_STAMP = "stamp"


@dataclass
class _Row:
    stamp: int
    value: bytes


@dataclass(frozen=True)
class Standing:
    """What a summary partition shows, at one moment: frames that do not change any more. To work it out takes long, and
    needs nothing else of the partition.

    frames: a frame per table, with the column `source`. known: of each raw partition. closed_before: epoch seconds.
    panes: how many are retained.
    """

    frames: Frames
    known: Mapping[int, Frames]
    closed_before: int | None
    panes: int

    def totals(self, *, replay: bool = False) -> Frames:
        """Since the beginning: a frame per table (its columns, directions told). replay: with replayed history."""
        frames = self.told(self.frames)
        if replay:
            return frames
        return {name: frame.filter(~pl.col("replay")) for name, frame in frames.items()}

    def info(self) -> pl.DataFrame:
        """What is known of each ENI (columns: core.known.INFO_SCHEMA), the newest word of all raw partitions."""
        frames = [frames["info"] for frames in self.known.values()]
        if not frames:
            return pl.DataFrame({"eni": []}, schema_overrides={"eni": pl.String})
        every = pl.concat(frames).sort("seen", maintain_order=True)
        return every.group_by("eni").agg(pl.all().exclude("eni").drop_nulls().last())

    def told(self, frames: Frames) -> Frames:
        """Open pairs resolved with what all raw partitions know; the column `source` gone."""
        enis = frames.get("eni", _sourced(tables.ENI.empty(), 0))
        parts = {**{name: [frame] for name, frame in frames.items()}, "eni": list(self._resolved(enis))}
        return {
            name: tables.merge(TABLES[name], [frame.select(*TABLES[name].schema) for frame in found])
            for name, found in parts.items()
        }

    def _resolved(self, enis: pl.DataFrame) -> Iterator[pl.DataFrame]:
        sources = sorted(self.known)
        owners = direction.combined([self.known[source]["owners"] for source in sources])
        for source, mine in zip(sources, owners, strict=True):
            yield direction.resolved(enis.filter(pl.col(_SOURCE) == source), mine)
        rest = enis.filter(~pl.col(_SOURCE).is_in(sources))
        yield direction.resolved(rest, direction.no_owners())


class SummaryPartition:
    """See the file's rule. Rows are named as in the summary's key: `source/pane/start`, or `source/` with `history`,
    `known` or `clock`.
    """

    def __init__(self, lateness: int, rows: Mapping[str, bytes] | None = None) -> None:
        """Start from `rows` (name -> value, as `checkpoint` gave them), or from nothing."""
        self.clock = Clock(lateness)
        self.stamp = -1
        self._rows: dict[str, _Row] = {}
        self._through: dict[int, int] = {}
        self._known: dict[int, Frames] = {}
        self._totals: Frames = {name: _sourced(table.empty(), 0) for name, table in TABLES.items()}
        self._pending: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
        self._unsaved: dict[str, bytes | None] = {}
        self._gone: list[str] = []
        rows = dict(rows or {})
        self.stamp = self._saved_stamp = held(rows.pop(_STAMP, b""))[0]
        history_first = sorted(rows.items(), key=lambda row: "/pane/" in row[0])
        for name, value in history_first:
            self.apply(name, value)
        self._unsaved = {name: None for name, _ in history_first if name not in self._rows}

    def apply(self, name: str, value: bytes) -> int | None:
        """Take a summary. Gives the arrival (epoch ms) of the oldest record that it shows for the first time.

        A summary that is not newer than what is there changes nothing. Raises ValueError: not ours.
        """
        head = tables.head(value)
        source, stamp, idle = head.get("source"), _stamp(head), bool(head.get("idle"))
        if not isinstance(source, int):
            raise ValueError("not a summary: it has no source")  # noqa: TRY004 - bad data, not a bad call
        old = self._rows.get(name)
        if (old is not None and stamp <= old.stamp) or self._is_gone(source, name):
            return None
        frames = tables.decode(value)[1]
        self._rows[name] = _Row(stamp, value)
        self._unsaved[name] = value
        if name.endswith("/clock"):
            self.clock.advance(source, cast("int", head["watermark"]), idle=idle)
            return None
        if name.endswith("/known"):
            self._known[source] = frames
            return None
        self._add(source, frames, _NO_FRAMES if old is None else tables.decode(old.value)[1])
        if name.endswith("/history"):
            self._forget(source, cast("int", head["through"]))
        return cast("int | None", head.get("arrival"))

    def checkpoint(self) -> tuple[dict[str, bytes | None], dict[str, bytes | None]]:
        """What changed since the last call: (rows, each whole by itself; what to write then, None deletes).

        The row `stamp`: the offset of the last summary that was taken, as far as the caller has set it, and what rows
        there are, each with how far it has come. A row goes when a `stamp` that does not name it is safe.
        """
        rows: dict[str, bytes | None] = {name: value for name, value in self._unsaved.items() if value is not None}
        due, self._gone = self._gone, [name for name, value in self._unsaved.items() if value is None]
        self._unsaved = {}
        if not (rows or due or self._gone or self.stamp > self._saved_stamp):
            return {}, {}
        self._saved_stamp = self.stamp
        stamp = {"v": 1, "stamp": self.stamp, "rows": {name: row.stamp for name, row in self._rows.items()}}
        return rows, {**dict.fromkeys(due), _STAMP: orjson.dumps(stamp)}

    def standing(self) -> Standing:
        """As it is now. Takes no longer than what came since it was last asked for."""
        return Standing(dict(self._merged()), dict(self._known), self.clock.closed_before(), len(self.pane_starts()))

    def totals(self) -> Frames:
        """As `Standing.totals`, now."""
        return self.standing().totals()

    def panes(self) -> dict[int, Frames]:
        """The retained panes by their start (epoch seconds), all raw partitions summed, directions told."""
        found: dict[int, dict[str, list[pl.DataFrame]]] = {}
        for name, row in self._rows.items():
            source, kind, start = _parts(name)
            if kind != "pane":
                continue
            for table, frame in tables.decode(row.value)[1].items():
                found.setdefault(start, {}).setdefault(table, []).append(_sourced(frame, source))
        told = self.standing().told
        return {start: told({n: _merge(n, f) for n, f in found[start].items()}) for start in sorted(found)}

    def pane_starts(self) -> list[int]:
        """Starts of the retained panes."""
        return sorted({start for _, kind, start in map(_parts, self._rows) if kind == "pane"})

    def _is_gone(self, source: int, name: str) -> bool:
        _, kind, start = _parts(name)
        return kind == "pane" and start < self._through.get(source, 0)

    def _add(self, source: int, new: Frames, old: Frames) -> None:
        for name in TABLES:
            self._pending[name].append(_sourced(new[name], source))
            if name in old:
                self._pending[name].append(tables.negated(_sourced(old[name], source)))
            if len(self._pending[name]) >= _PATIENCE:
                self._merged()

    def _forget(self, source: int, through: int) -> None:
        """Panes that a history includes go, with what they had added."""
        self._through[source] = through
        for name in [name for name in self._rows if _parts(name)[0] == source and self._is_gone(source, name)]:
            for table, frame in tables.decode(self._rows.pop(name).value)[1].items():
                self._pending[table].append(tables.negated(_sourced(frame, source)))
            self._unsaved[name] = None

    def _merged(self) -> Frames:
        for name, pending in self._pending.items():
            if pending:
                self._totals[name] = _merge(name, [self._totals[name], *pending]).filter(_counts_something())
        self._pending = {name: [] for name in TABLES}
        return self._totals


def newest(written: Written) -> dict[str, bytes]:
    """Of each row the value that has come furthest, whoever wrote it: what SummaryPartition starts from.

    A row `stamp` counts if all that it says it holds is there: what was read back may have a hole. Raises HoleError
    when there is none such, ValueError.
    """
    found: dict[str, bytes] = {}
    for name, value in ((name, value) for rows in written.values() for name, value in rows.items() if name != _STAMP):
        if name not in found or _reach(value) > _reach(found[name]):
            found[name] = value
    stamps = [rows[_STAMP] for rows in written.values() if _STAMP in rows]
    whole = [value for value in stamps if _holds(held(value)[1], found)]
    if stamps and not whole:
        raise HoleError("not all rows that `stamp` speaks of are there")
    return {**found, _STAMP: max(whole, key=lambda value: held(value)[0])} if whole else found


def held(value: bytes) -> tuple[int, dict[str, int]]:
    """A row `stamp`: the offset, and how far each row has come. Raises ValueError."""
    found = orjson.loads(value) if value else {"v": 1, "stamp": -1, "rows": {}}
    if not isinstance(found, dict) or found.get("v") != 1:
        raise ValueError("not a stamp row of version 1: written by a newer release")
    return found["stamp"], found["rows"]


def _holds(least: Mapping[str, int], rows: Mapping[str, bytes]) -> bool:
    return all(name in rows and _reach(rows[name]) >= reach for name, reach in least.items())


def _reach(value: bytes) -> int:
    return _stamp(tables.head(value))


def _stamp(head: Mapping[str, object]) -> int:
    """What of two summaries of a row is the newer: a partition turns idle after its last message, with no other one."""
    stamp = head.get("stamp")
    if not isinstance(stamp, int):
        raise ValueError("not a summary: it has no stamp")  # noqa: TRY004 - bad data, not a bad call
    return 2 * stamp + bool(head.get("idle"))


def _counts_something() -> pl.Expr:
    return pl.any_horizontal(pl.col(tables.COUNTS) != 0)


def _parts(name: str) -> tuple[int, str, int]:
    source, kind, *start = name.split("/")
    return int(source), kind, int(start[0]) if start else 0


def _sourced(frame: pl.DataFrame, source: int) -> pl.DataFrame:
    if "direction" not in frame.columns:
        return frame.with_columns(pl.lit(_EVERYWHERE, dtype=pl.Int32).alias(_SOURCE))
    where = pl.when(pl.col("direction") > direction.EGRESS).then(source).otherwise(_EVERYWHERE)
    return frame.with_columns(where.cast(pl.Int32).alias(_SOURCE))


def _merge(name: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
    merged = tables.merge(TABLES[name], frames, [_SOURCE])
    return merged if _SOURCE in merged.columns else _sourced(merged, 0)

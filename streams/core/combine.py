"""The state of one raw partition: raw messages in, panes, counters and dead letters out.

Everything here is a function of the messages up to an offset, the *stamp*: the same messages in other batches, or again
after a crash, give the same rows. The row `meta` is written last: what it includes is settled. A pane carries the
stamp that it includes, so what is read again is skipped pane by pane. What decides how later messages are counted (the
history, what is known) has two rows in turn, and `meta` says which one belongs to it: read again, it decides the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import orjson
import polars as pl

from streams.core import conversations, known, statuses, tables
from streams.core.blocks import MOST_LINES, STATUSES, TALKS, Block, Cut
from streams.core.deadletter import DeadLetter, of_lines, of_message
from streams.core.facts import Facts, facts
from streams.core.fields import Format
from streams.core.joined import Lines, Piece, named_format
from streams.core.ledger import HoleError, Written
from streams.core.origins import Origins, count_keys
from streams.core.panes import Assign, assign
from streams.core.parse import REASONS, Parsed
from streams.core.raw import SOURCES, RawMessage
from streams.core.rows import Row
from streams.core.tables import TABLES, Frames, Table

HISTORY = -1
"""The pane that holds all panes older than the retained ones, and records later than those."""

DELAY_BUCKETS = (1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
"""Upper bounds in seconds of the delivery delay's histogram; one more bucket above."""

_JOIN_BYTES = 4 * 1024 * 1024
_PATIENCE = 16
MOST_BRIDGED = 10_000
"""Source partitions whose last offset is remembered."""
_INT64 = 1 << 64


@dataclass(frozen=True)
class Policy:
    """Settings of the core. Times in seconds, `retained` in panes; `*_keys`: budgets of distinct ENIs and ports.

    watched: conversations are told, for detectors; watch_lateness: records that come later than that are not in them;
    block_lines: see core.blocks.
    """

    pane_seconds: int = 60
    assign: Assign = "end"
    lateness: int = 900
    retained: int = 120
    max_span: int = 3600
    future: int = 600
    eni_keys: int = 100_000
    port_keys: int = 20_000
    key_ttl: int = 86_400
    origins: int = 262_144
    default_format: Format | None = None
    watched: bool = False
    watch_lateness: int = 300
    block_lines: int = MOST_LINES

    @property
    def sweep_seconds(self) -> int:
        """How often, in event time, keys silent for `key_ttl` are looked for."""
        return max(self.pane_seconds, self.key_ttl // 24)

    def limit(self, table: Table) -> int:
        """How many distinct entities a raw partition keeps apart in `table`; the rest is `other`."""
        return self.eni_keys if table is tables.ENI else self.port_keys


@dataclass
class Meta:
    """What is counted, as far as `stamp` (the last raw offset included). All values are totals since the beginning.

    slots: which of their two rows `history` and `known` are in. unsent: rows whose summaries had not been asked for.
    rows: all rows that belong to it, each with how far it has come at the least (a stamp, a count of origins).
    cut: see core.blocks. block: the offset that the block begins with that is filled.
    """

    stamp: int = -1
    watermark: int | None = None
    lines: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    over_budget: Counter[str] = field(default_factory=Counter)
    expired: Counter[str] = field(default_factory=Counter)
    bridged: dict[str, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    unsent: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    cut: Cut = field(default_factory=Cut)
    block: int = -1

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps({"v": 1, **self.__dict__})

    @classmethod
    def decode(cls, value: bytes) -> Meta:
        """Raises ValueError when `value` is not one of ours."""
        found = orjson.loads(value)
        if found.pop("v", None) != 1:
            raise ValueError("not a meta row of version 1: written by a newer release")
        plain = ("bridged", "slots", "rows", "cut")
        counters = {k: Counter(v) for k, v in found.items() if isinstance(v, dict) and k not in plain}
        return cls(**{**found, **counters, "cut": Cut(**found.get("cut", {}))})


@dataclass(frozen=True)
class Summary:
    """One message for `vpcflow.summaries`: the whole value so far of one row, for the keys of one destination."""

    partition: int
    key: bytes
    value: bytes


@dataclass
class Folded:
    """What folding messages gave beside the state. delays: counts for DELAY_BUCKETS and above."""

    dead_letters: list[DeadLetter] = field(default_factory=list)
    delays: list[int] = field(default_factory=lambda: [0] * (len(DELAY_BUCKETS) + 1))
    delay_sum: int = 0
    messages: int = 0


class RawPartition:
    """See the file's rule. Not thread-safe: one caller at a time."""

    def __init__(self, partition: int, policy: Policy, rows: Mapping[str, bytes] | None = None) -> None:
        """Start from `rows` (name -> value, as `checkpoint` gave them), or from nothing."""
        self.partition = partition
        self.policy = policy
        self.meta = Meta()
        self.panes: dict[int, Row] = {}
        self.history = Row()
        self.blocks: dict[int, Block] = {}
        self.through = 0
        self.known = known.nothing()
        self.origins = Origins(policy.origins)
        self._known_row = Row()
        self._gone: list[str] = []
        self._settled: list[str] = []
        self._singly = 0
        self._waiting_since: int | None = None
        self._told: tuple[int | None, bool, int] = (None, False, 0)
        self._paused = 0  # 1: it was told that it is idle, 2: that it is over
        rows = dict(rows or {})
        if "meta" in rows:
            self.meta = Meta.decode(rows.pop("meta"))
        for name, value in rows.items():
            self._restore(name, value)
        self.origins.advance(self.meta.stamp)
        self._keep_pairs()
        self._settled += [f"pane/{start}" for start in self.panes if start < self.through]
        self.panes = {start: pane for start, pane in self.panes.items() if start >= self.through}
        rows_ahead = (self.history, self._known_row, *self.panes.values(), *self.blocks.values())
        self._ahead = max(row.stamp for row in rows_ahead)

    # -- in: messages ---------------------------------------------------------------------------------------------

    def fold(self, messages: Iterable[tuple[int, RawMessage]]) -> Folded:
        """Take messages with their raw offsets, in order. What is already included is passed over."""
        out = Folded()
        for lines in self._joined(self._fresh(messages, out)):
            if lines.pieces[0].begins:
                self._next_block(lines.pieces[0].offset)
            self._fold_lines(lines, out)
            self.meta.stamp = lines.offset
            self._expire()
        return out

    def _fresh(self, messages: Iterable[tuple[int, RawMessage]], out: Folded) -> Iterator[tuple[int, RawMessage]]:
        newest = self.meta.stamp
        for offset, message in messages:
            if offset <= newest:
                continue
            newest = offset
            self.origins.advance(offset)
            self._paused = 0
            out.messages += 1
            if not message.replay:
                self._waiting_since = min(message.arrival_ms, self._waiting_since or message.arrival_ms)
            yield offset, self._without_repeats(offset, _readable(message))

    def _without_repeats(self, offset: int, message: RawMessage) -> RawMessage:
        """The message, without the lines that came before: all of them, or a bridge's that overlap."""
        repeated = self._repeated_lines(offset, message)
        if not repeated:
            return message
        source = message.origin.source
        self.meta.duplicates[source if source in SOURCES else "unknown"] += repeated
        return message.without_first(repeated)

    def _repeated_lines(self, offset: int, message: RawMessage) -> int:
        name, bounds = message.origin.name, message.bridge_range()
        if not name:
            return 0
        if bounds is None:
            seen = self.origins.seen_before(message.origin.key(), offset)
            return message.lines if seen else 0
        last = self.meta.bridged.pop(name, -1)
        self.meta.bridged[name] = max(last, bounds[1])
        if len(self.meta.bridged) > MOST_BRIDGED:
            del self.meta.bridged[next(iter(self.meta.bridged))]
            self.meta.expired["bridge"] += 1
        return min(message.lines, message.lines_up_to(last))

    def _joined(self, messages: Iterable[tuple[int, RawMessage]]) -> Iterator[Lines]:
        """Neighbours that can be parsed together; one by one as long as rows of the state are ahead of `meta`."""
        group: list[Piece] = []
        for offset, message in messages:
            begins = self.policy.watched and self.meta.cut.begins(message, self.policy.block_lines)
            piece = Piece.of(offset, message, begins=begins)
            if group and (begins or not self._joins(group, piece)):
                yield Lines(group)
                group = []
            group.append(piece)
        if group:
            yield Lines(group)

    def _joins(self, group: list[Piece], piece: Piece) -> bool:
        size = sum(len(one.body) for one in group)
        return group[0].offset > self._ahead and size < _JOIN_BYTES and group[-1].joins(piece)

    def _fold_lines(self, lines: Lines, out: Folded) -> None:
        if lines.first.error is not None:
            self._reject_whole(lines, out)
        elif lines.first.value and not self._fold_together(lines, out):
            self._fold_singly(lines, out)

    def _fold_singly(self, lines: Lines, out: Folded) -> None:
        for one in lines.singly():
            self._fold_together(one, out)
            self.meta.stamp = one.offset
            self._expire()

    def _fold_together(self, lines: Lines, out: Folded) -> bool:
        """Parse joined messages at once. False, with nothing changed: they must be taken one by one.

        A key that is forgotten after a message is forgotten before the next.
        """
        if not lines.alone and self._singly:
            self._singly -= 1
            return False
        parsed = lines.parsed(self.policy.default_format)
        if parsed is None:
            self._singly = _PATIENCE
            return False
        if not lines.alone and self._may_forget(lines, parsed.records.get_column("end")):
            return False
        self._apply(lines, parsed, out)
        return True

    def _may_forget(self, lines: Lines, ends: pl.Series) -> bool:
        """Whether keys may leave between joined lines that end at `ends`, or right after them."""
        newest = ends.filter(ends <= max(lines.arrivals()) + self.policy.future).max()
        watermark = max(cast("int | None", newest) or 0, self.meta.watermark or 0)
        if not self._sweeps(self._horizon(watermark)):
            return False
        old = cast("int | None", ends.min()) or 0
        return old < watermark - self.policy.key_ttl or any(frame.height for frame in self.known.admitted.values())

    def _reject_whole(self, lines: Lines, out: Folded) -> None:
        reason = lines.first.error if lines.first.error in REASONS else "undecodable"
        self.meta.lines["reject"] += 1
        self.meta.rejects[reason] += 1
        out.dead_letters.append(of_message(self.partition, lines.offset, lines.first, reason))

    def _apply(self, lines: Lines, parsed: Parsed, out: Folded) -> None:
        watched = self.policy.watched
        found = facts(
            parsed.records, self.known.owners, lines.arrivals()[0], replay=lines.first.replay, parties=watched
        )
        self._count(parsed, found)
        if parsed.rejects.height:
            self.meta.rejects.update(dict(parsed.rejects.get_column("reason").value_counts().iter_rows()))
            for piece, rejects in lines.rejects(parsed.rejects):
                out.dead_letters += of_lines(self.partition, piece.offset, piece.message, rejects)
        rows = self._dated(lines, found.rows, out)
        marks = self._marks(lines, rows, found.silent)
        if watched:
            self._watch(lines, rows, found.silent, marks)
        if rows.height:
            placed = self._placed(rows.with_columns(_of(lines, marks, rows).alias("mark")))
            says = known.info_columns(placed)
            deltas = {
                name: tables.aggregate(placed, table, ["pane"], says if table is tables.ENI else ())
                for name, table in TABLES.items()
            }
            self._know(found, placed, deltas, lines.offset)
            self._add(deltas, lines.offset)

    def _dated(self, lines: Lines, rows: pl.DataFrame, out: Folded) -> pl.DataFrame:
        """Facts with Boolean `early`: from the future. Times end there: one broken clock must not age all others."""
        arrival = lines.arrival(rows)
        latest = arrival + self.policy.future
        dated = rows.with_columns(
            (pl.col("last") > latest).alias("early"), pl.col("first", "last").clip(upper_bound=latest)
        )
        if not lines.first.replay:
            _measure_delay(dated.select(arrival - pl.col("last")).to_series(), out)
        return dated

    def _count(self, parsed: Parsed, found: Facts) -> None:
        rows = found.rows
        self.meta.lines.update(
            flow=rows.height, nodata=found.nodata, skipdata=found.skipdata,
            header=parsed.headers, blank=parsed.blank, reject=parsed.rejects.height,
        )  # fmt: skip
        packets, octets = rows.select(pl.col("packets").sum(), pl.col("bytes").sum()).row(0)
        totals = self.meta.totals
        totals["flows"] += rows.height
        totals["packets"], totals["bytes"] = _int64(totals["packets"] + packets), _int64(totals["bytes"] + octets)

    def _know(self, found: Facts, rows: pl.DataFrame, deltas: Frames, offset: int) -> None:
        before, policy = self.known, self.policy
        admitted = {
            name: known.admit(before.admitted[name], deltas[name], rows, policy.limit(table), policy.sweep_seconds)
            for name, table in TABLES.items()
        }
        owners, info = found.owners, known.informed(before.info, known.info_of(deltas["eni"]))
        if admitted["eni"].height >= policy.eni_keys:
            owners, info = (frame.join(admitted["eni"], on="eni", how="semi") for frame in (owners, info))
        same = owners.equals(before.owners) and info.equals(before.info)
        if same and all(admitted[name] is before.admitted[name] for name in TABLES):
            return
        self.known = known.Known(owners, info, admitted)
        self._known_row.touch(offset, send=not same)

    def _placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Facts with their pane, HISTORY where that is gone. Counts the late and the early."""
        policy, early = self.policy, pl.col("early")
        placed = assign(rows, policy.pane_seconds, policy.assign, policy.max_span)
        late = ~early & (pl.col("pane") + policy.pane_seconds <= pl.col("mark") - policy.lateness)
        flows = pl.col("flows") if "flows" in placed.columns else pl.lit(1)
        counted = placed.select((late * flows).sum().alias("late"), (early * flows).sum().alias("future"))
        self.meta.totals.update(counted.row(0, named=True))
        gone = early | (pl.col("pane") < max(self.through, self._horizon(self.meta.watermark)))
        return placed.with_columns(pl.when(gone).then(HISTORY).otherwise("pane").alias("pane"))

    def _marks(self, lines: Lines, rows: pl.DataFrame, silent: pl.DataFrame) -> pl.Series:
        """Of each message the watermark when it came, 0: none. A row is late by the messages before its own; where none
        can be, one mark is as good as another. Advances the watermark.
        """
        policy, before = self.policy, self.meta.watermark
        newest = cast("int | None", rows.filter(~pl.col("early")).get_column("last").max())
        if newest is not None:
            self.meta.watermark = max(newest, before or 0)
        lateness = min(policy.lateness, policy.watch_lateness) if policy.watched else policy.lateness
        pane = max(policy.pane_seconds, conversations.PANE_SECONDS)
        times = [rows.select(pl.min_horizontal("first", "last").min()).item(), silent.get_column("start").min()]
        earliest = min((time for time in times if time is not None), default=None)
        if lines.alone or earliest is None or earliest - pane > (self.meta.watermark or 0) - lateness:
            return pl.repeat(before or 0, len(lines.pieces), dtype=pl.Int64, eager=True)
        ends = rows.group_by(lines.numbers(rows).alias("of")).agg(pl.col("last").filter(~pl.col("early")).max())
        each = pl.DataFrame({"of": range(len(lines.pieces))}, schema={"of": pl.UInt32})
        came = each.join(ends, on="of", how="left", maintain_order="left").get_column("last").head(-1)
        return pl.concat([pl.Series("last", [before], dtype=pl.Int64), came]).cum_max().forward_fill().fill_null(0)

    def _horizon(self, watermark: int | None) -> int:
        """Panes that start before this are no longer kept apart."""
        if watermark is None:
            return 0
        newest = watermark - watermark % self.policy.pane_seconds
        return newest - (self.policy.retained - 1) * self.policy.pane_seconds

    def _sweeps(self, horizon: int) -> bool:
        """Whether idle keys are looked for when the panes kept apart begin at `horizon`."""
        seconds = self.policy.sweep_seconds
        return horizon > self.through and horizon // seconds != self.through // seconds

    def _add(self, deltas: Frames, offset: int) -> None:
        by_pane: dict[int, dict[str, pl.DataFrame]] = {}
        for name, table in TABLES.items():
            delta, strangers = known.within_budget(table, deltas[name], self.known.admitted[name])
            self.meta.over_budget[name] += strangers
            for (start,), rows in delta.partition_by("pane", as_dict=True).items():
                by_pane.setdefault(cast("int", start), {})[name] = rows.select(*table.schema)
        for start, frames in by_pane.items():
            pane = self.history if start == HISTORY else self.panes.setdefault(start, Row())
            if pane.stamp < offset:
                pane.add(frames, offset)

    def _watch(self, lines: Lines, rows: pl.DataFrame, silent: pl.DataFrame, marks: pl.Series) -> None:
        """Into the block; `unwatched` are the records that no detector sees: too late, too early, without addresses, or
        too many in one message.
        """
        if lines.first.lines > MOST_LINES:
            self.meta.totals["unwatched"] += rows.height
            return
        block, lateness = self.blocks.setdefault(self.meta.block, Block()), self.policy.watch_lateness
        start = pl.min_horizontal("first", "last")
        seen = rows.filter(~pl.col("early") & (_minute_end(start) > _of(lines, marks, rows) - lateness))
        quiet = silent.filter(
            (pl.col("start") <= lines.arrival(silent) + self.policy.future)
            & (_minute_end(pl.col("start")) > _of(lines, marks, silent) - lateness)
        )
        found = {TALKS: conversations.conversing(seen), STATUSES: statuses.counted(quiet)}
        self.meta.totals["unwatched"] += rows.height - conversations.records(found[TALKS])
        fresh = {name: frame for name, frame in found.items() if frame.height}
        if fresh and block.stamp < lines.offset:
            block.add(fresh, lines.offset)

    def _next_block(self, offset: int) -> None:
        """The block that is filled is whole; another one begins."""
        if self.meta.block >= 0:
            block = self.blocks.setdefault(self.meta.block, Block())
            block.end(self.meta.stamp, self.known.owners, self.meta.watermark)
        self.meta.block = offset

    def _expire(self) -> None:
        """Panes that are no longer kept apart go into the history."""
        horizon = self._horizon(self.meta.watermark)
        if horizon <= self.through:
            return
        sweeps, self.through = self._sweeps(horizon), horizon
        for start in sorted(start for start in self.panes if start < horizon):
            self._gone.append(f"pane/{start}")
            self.history.add(self.panes.pop(start).value(), self.meta.stamp)
        self.history.touch(self.meta.stamp)
        if sweeps:
            self._forget_idle()

    def _forget_idle(self) -> None:
        """Silent keys leave; all their rows are in the history, for what is kept apart is younger than they are."""
        oldest = min(cast("int", self.meta.watermark) - self.policy.key_ttl, self.through)
        before = oldest // self.policy.sweep_seconds * self.policy.sweep_seconds
        frames = self.history.value()
        for name, table in TABLES.items():
            gone = known.idle(self.known, table, before)
            if not gone.height:
                continue
            entity = list(table.entity)
            moved = tables.relabel(frames[name].join(gone, on=entity, how="semi"), table.expired)
            frames[name] = tables.merge(table, [frames[name].join(gone, on=entity, how="anti"), moved])
            self.meta.expired[name] += gone.height
            self.known = known.forget(self.known, table, gone)
            self._known_row.touch(self.meta.stamp)

    # -- out: rows of the state, and summaries --------------------------------------------------------------------

    def checkpoint(self) -> tuple[dict[str, bytes], dict[str, bytes | None]]:
        """What changed since the last call: (rows to write first, rows to write once those are safe; None deletes).

        What `summaries` gave before must be safe before these are; what it did not, it gives after a restart. A call
        says that the rows of the call before are safe, all of them.
        """
        origins = {f"origins/{bucket}": value for bucket, value in self.origins.rows()}
        rows: dict[str, bytes] = {name: value for name, value in origins.items() if value is not None}
        closed = (self.meta.watermark or 0) - self.policy.lateness
        for start, pane in self.panes.items():
            if pane.unsaved:
                rows[f"pane/{start}"] = self._save(pane, pane.value())
            if start <= closed:
                pane.rest()
        for first, block in self.blocks.items():
            if block.unsaved:
                rows[f"{TALKS}/{first}"] = block.save(block.head(), block.value())
        for name, row in self._pairs().items():
            if row.unsaved:
                self.meta.slots[name] = 1 - self.meta.slots.get(name, 1)
                frames = row.value() if row is self.history else self.known.frames()
                rows[f"{name}/{self.meta.slots[name]}"] = self._save(row, frames)
        self.meta.rows = self._held()
        unsent = {**{f"pane/{start}": pane for start, pane in self.panes.items()}, **self._pairs(), **self._talks()}
        self.meta.unsent = [name for name, row in unsent.items() if row.unsent]
        then: dict[str, bytes | None] = dict.fromkeys(self._settled)
        self._settled = [*self._gone, *(name for name, value in origins.items() if value is None)]
        self._gone = []
        return rows, {**then, "meta": self.meta.encode()}

    def _held(self) -> dict[str, int]:
        """See Meta.rows."""
        pairs = self._pairs()
        return {
            **{f"origins/{bucket}": count for bucket, count in self.origins.counts().items()},
            **{f"pane/{start}": pane.stamp for start, pane in self.panes.items()},
            **{name: block.stamp for name, block in self._talks().items() if block.encoded is not None},
            **{f"{name}/{slot}": pairs[name].stamp for name, slot in self.meta.slots.items()},
        }

    def _pairs(self) -> dict[str, Row]:
        """What has two rows, written in turn."""
        return {"history": self.history, "known": self._known_row}

    def _talks(self) -> dict[str, Block]:
        """Blocks by the names of their rows."""
        return {f"{TALKS}/{first}": block for first, block in self.blocks.items()}

    def _save(self, pane: Row, frames: Frames) -> bytes:
        return pane.save({"stamp": pane.stamp, "through": self.through}, frames)

    def _restore(self, name: str, value: bytes) -> None:
        kind, _, rest = name.partition("/")
        if kind == "origins":
            self.origins.restore(int(rest), value)
        elif kind == "pane":
            pane = self.panes[int(rest)] = _resting(value)
            pane.unsent = name in self.meta.unsent or pane.stamp > self.meta.stamp
        elif kind == TALKS:
            self._restore_block(int(rest), value)
        elif self.meta.slots.get(kind) == int(rest):
            self._restore_pair(kind, value)

    def _restore_block(self, first: int, value: bytes) -> None:
        """One that was told already goes."""
        block, name = Block.resting(value), f"{TALKS}/{first}"
        block.unsent = name in self.meta.unsent
        if block.unsent or first == self.meta.block or block.stamp > self.meta.stamp:
            self.blocks[first] = block
        else:
            self._settled.append(name)

    def _keep_pairs(self) -> None:
        """What `meta` refers to by its slot must stand beside it, written by the same hand."""
        for name, row in self._pairs().items():
            row.unsaved = row.unsaved or name in self.meta.slots

    def _restore_pair(self, kind: str, value: bytes) -> None:
        row = _resting(value)
        row.unsent = kind in self.meta.unsent
        if kind == "history":
            self.history, self.through = row, cast("int", tables.head(value)["through"])
        else:
            self._known_row, self.known = row, known.Known.of_frames(row.value())

    def summaries(self, partitions: int, *, idle: bool = False) -> list[Summary]:
        """What changed since the last call, for each of `partitions` summary partitions.

        idle: nothing has come for a while, so this partition's watermark shall hold nobody back.
        """
        changed: list[tuple[str, Row, Frames]] = [
            (f"pane/{start}", pane, pane.value()) for start, pane in self.panes.items() if pane.unsent
        ]
        if self.history.unsent:
            changed.append(("history", self.history, self.history.value()))
        if self._known_row.unsent:
            changed.append(("known", self._known_row, {"owners": self.known.owners, "info": self.known.info}))
        found = [one for name, pane, frames in changed for one in self._summarise(name, pane, frames, partitions)]
        if found:
            self._waiting_since = None
        return found + self._clock_summaries(partitions, idle=idle)

    def _clock_summaries(self, partitions: int, *, idle: bool) -> list[Summary]:
        """How far event time has come, for everybody: a summary partition may hold none of this one's keys."""
        told = (self.meta.watermark, idle, partitions)
        if told == self._told or self.meta.watermark is None:
            return []
        self._told = told
        head = {
            "row": "clock", "source": self.partition, "stamp": self.meta.stamp,
            "watermark": self.meta.watermark, "idle": idle,
        }  # fmt: skip
        return [Summary(to, f"{self.partition}/clock".encode(), tables.encode(head, {})) for to in range(partitions)]

    def _summarise(self, name: str, pane: Row, frames: Frames, partitions: int) -> Iterator[Summary]:
        pane.unsent = False
        head = {
            "row": name, "source": self.partition, "stamp": pane.stamp, "through": self.through,
            "watermark": self.meta.watermark, "arrival": self._waiting_since,
        }  # fmt: skip
        split = {
            key: frame.with_columns(tables.destination(TABLES.get(key, tables.ENI), partitions).alias("_to"))
            .partition_by("_to", as_dict=True, include_key=False)
            for key, frame in frames.items()
        }  # fmt: skip
        holders = {cast("int", to) for parts in split.values() for (to,) in parts}
        for to in sorted(holders) if name.startswith("pane/") else range(partitions):  # what may shrink goes to all
            mine = {key: parts.get((to,), frames[key].clear()) for key, parts in split.items()}
            yield Summary(to, f"{self.partition}/{name}".encode(), tables.encode(head, mine))

    def whole_blocks(self, partitions: int, *, idle: bool = False, over: bool = False) -> list[Summary]:
        """Blocks that are whole since the last call, for each of `partitions`; each tells how far event time has come.

        idle: as in `summaries`; the block that is filled is told as it is. It comes again, whole, under the same name.
        over: it is idle, and nothing more is to come.
        """
        whole = [first for first, block in self.blocks.items() if block.whole and first < self.meta.block]
        found = [one for first in sorted(whole) for one in self._told_block(first, partitions)]
        for first in whole:
            del self.blocks[first]
            self._gone.append(f"{TALKS}/{first}")
        if not idle or self._paused >= 1 + over:
            return found
        self._paused = 1 + over
        return [*found, *self._told_block(self.meta.block, partitions, idle=True, over=over)]

    def _told_block(self, first: int, partitions: int, *, idle: bool = False, over: bool = False) -> Iterator[Summary]:
        block = self.blocks.get(first, Block())
        frames = block.told(self.known.owners) if idle else block.value()
        head = {
            "row": f"{TALKS}/{first}", "source": self.partition, "first": first, "stamp": block.stamp, "idle": idle,
            "watermark": self.meta.watermark if idle else block.watermark, "over": over,
        }  # fmt: skip
        split = {name: _split(frame, partitions) for name, frame in frames.items()}
        for to in range(partitions):
            value = tables.encode(head, {name: parts.get((to,), frames[name].clear()) for name, parts in split.items()})
            yield Summary(to, f"{self.partition}/{TALKS}/{first}".encode(), value)


def _split(frame: pl.DataFrame, partitions: int) -> dict[tuple[object, ...], pl.DataFrame]:
    """Rows by the partition that their ENI belongs to."""
    return frame.with_columns(tables.destination(tables.ENI, partitions).alias("_to")).partition_by(
        "_to", as_dict=True, include_key=False
    )


def newest(written: Written) -> dict[str, bytes]:
    """Of each row the value that has come furthest, whoever wrote it: what RawPartition starts from.

    `meta` comes with the two rows that it refers to by their slots, from one hand. It counts if all that it says it
    holds is there: what was read back may have a hole. Raises HoleError when there is none such, ValueError.
    """
    found: dict[str, list[bytes]] = {}
    for rows in written.values():
        for name, value in rows.items():
            found.setdefault(name, []).append(value)
    shared = {name: _furthest(name, values) for name, values in found.items() if name.startswith(_SHARED)}
    metas = {writer: Meta.decode(rows["meta"]) for writer, rows in written.items() if "meta" in rows}
    states = [(meta, shared | _own(meta, written[writer])) for writer, meta in metas.items()]
    whole = [(meta.stamp, rows) for meta, rows in states if _holds(meta, rows)]
    if metas and not whole:
        raise HoleError("not all rows that `meta` speaks of are there")
    return max(whole, key=lambda one: one[0])[1] if whole else shared


_SHARED = ("pane/", "origins/", f"{TALKS}/")
"""Rows that count whoever wrote them."""


def _own(meta: Meta, rows: Mapping[str, bytes]) -> dict[str, bytes]:
    """`meta` and what it refers to by slots."""
    names = ("meta", *(f"{name}/{slot}" for name, slot in meta.slots.items()))
    return {name: rows[name] for name in names if name in rows}


def _holds(meta: Meta, rows: Mapping[str, bytes]) -> bool:
    return all(name in rows and _reach(name, rows[name]) >= least for name, least in meta.rows.items())


def _furthest(name: str, values: list[bytes]) -> bytes:
    """Of a bucket of origins, what all remember together: each wrote what it had seen."""
    return b"".join(values) if name.startswith("origins/") else max(values, key=_how_far)


def _reach(name: str, value: bytes) -> int:
    """How far a row has come, as Meta.rows says it."""
    return count_keys(value) if name.startswith("origins/") else _stamp(value)


def _stamp(value: bytes) -> int:
    return cast("int", tables.head(value)["stamp"])


def _minute_end(second: pl.Expr) -> pl.Expr:
    return second - second % conversations.PANE_SECONDS + conversations.PANE_SECONDS


def _of(lines: Lines, marks: pl.Series, rows: pl.DataFrame) -> pl.Expr:
    """Of each row the mark of its message. Lines are counted only where marks differ."""
    if marks.n_unique() == 1:
        return pl.lit(marks[0], dtype=pl.Int64)
    return pl.lit(marks.gather(lines.numbers(rows)))


def _how_far(value: bytes) -> tuple[int, bool]:
    """Of a block that is open for one and whole for another, the whole one: its directions are told."""
    head = tables.head(value)
    return cast("int", head["stamp"]), bool(head.get("whole"))


def _readable(message: RawMessage) -> RawMessage:
    """The message; undecodable as a whole when its format is none."""
    if message.format and message.error is None and named_format(message.format) is None:
        return replace(message, error="unknown_format")
    return message


def _int64(total: int) -> int:
    """A sum as the tables have it: beyond 2^63 it wraps, here and there alike."""
    return (total + _INT64 // 2) % _INT64 - _INT64 // 2


def _resting(value: bytes) -> Row:
    return Row(stamp=_stamp(value), encoded=value)


def _measure_delay(delay: pl.Series, out: Folded) -> None:
    """delay: from the end of each record to its arrival, in seconds."""
    delay = delay.clip(lower_bound=0)
    out.delay_sum += cast("int", delay.sum())
    buckets = pl.Series(DELAY_BUCKETS, dtype=pl.Int64).search_sorted(delay, side="left")
    for bucket, count in buckets.value_counts().iter_rows():
        out.delays[bucket] += count

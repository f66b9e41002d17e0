"""The state of one watching partition: blocks of conversations in, findings out.

Minutes close by the watermarks that blocks carry, and detectors see each once, in order. What is saved is what they
remember, and the offset of the message before the first one that is still needed: a restart reads on from there, and
passes over the minutes that were seen. So nothing is saved of conversations that wait, and the same messages give the
same findings, whoever reads them and however often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, NamedTuple, cast

import orjson
import polars as pl

from streams.core import conversations, statuses, tables
from streams.core.blocks import STATUSES, TALKS
from streams.core.conversations import PANE_SECONDS
from streams.core.detection import Detector, Watch
from streams.core.findings import SEVERITIES, Finding
from streams.core.ledger import HoleError, Rows, Written
from streams.core.panes import Clock
from streams.core.places import Places
from streams.core.suppression import Suppression, suppressed_by
from streams.core.talkers import Talkers, of_last_minute

_STAMP = "stamp"
_SLICE = 20_000
"""Rows of a frame in one message of the changelog."""
_MOST_OPEN = 1000
_NOBODY = Talkers()
_MOST_UNSETTLED = 1000
"""Messages that are taken and not settled: with more, a checkpoint is written though no minute has closed."""

Pair = tuple[str, str]
"""Detector and severity."""


@dataclass
class _Waiting:
    """Of a block, the conversations and statuses whose minute is open. offset: of its message."""

    stamp: int
    offset: int
    talks: pl.DataFrame
    silent: pl.DataFrame

    def split(self, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Those of minutes before `limit`, which it has no longer then."""
        gone, self.talks = _split(self.talks, limit)
        quiet, self.silent = _split(self.silent, limit)
        return gone, quiet

    @property
    def rows(self) -> int:
        """How many."""
        return self.talks.height + self.silent.height


class _Told(NamedTuple):
    """A block of a raw partition: the offset that it begins with, how far it goes, its records."""

    source: int
    first: int = -2
    stamp: int = -1
    records: int = 0


@dataclass
class Counts:
    """Totals since the beginning. opened: findings by detector and severity, suppressed ones too; suppressed: those by
    detector. late: records whose minute was closed when they came.
    """

    opened: Counter[Pair] = field(default_factory=Counter)
    suppressed: Counter[str] = field(default_factory=Counter)
    late: int = 0

    def plain(self) -> dict[str, object]:
        """As JSON can have it."""
        opened = [[*pair, count] for pair, count in self.opened.items()]
        return {"opened": opened, "suppressed": self.suppressed, "late": self.late}

    @classmethod
    def of(cls, plain: Mapping[str, object]) -> Counts:
        """What `plain` gave."""
        opened = cast("list[tuple[str, str, int]]", plain["opened"])
        return cls(
            Counter({(detector, severity): count for detector, severity, count in opened}),
            Counter(cast("dict[str, int]", plain["suppressed"])), cast("int", plain["late"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What a scrape shows, taken when a minute closed. active: open findings by detector and severity. suppressed: by
    detector. over: see core.findings. closed: epoch seconds. findings: open ones that nobody suppresses, 1,000 of the
    worst. talkers: of the last minute that closed with any, since this process began. The rest: see Counts.
    """

    opened: Mapping[Pair, int] = field(default_factory=dict)
    active: Mapping[Pair, int] = field(default_factory=dict)
    suppressed: Mapping[tuple[str], int] = field(default_factory=dict)
    over: int = 0
    late: int = 0
    closed: int = 0
    findings: Sequence[Finding] = field(default=(), repr=False)
    talkers: Talkers = field(default=_NOBODY, repr=False, compare=False)


@dataclass(frozen=True)
class Setup:
    """sources: raw partitions; no minute closes before each one has said something. lateness: seconds.

    most_waiting: conversations that wait for their minute to close; with more, the oldest one is closed, whoever is
    behind.
    """

    detectors: Sequence[Detector]
    suppressions: Sequence[Suppression]
    sources: int
    lateness: int
    most_waiting: int = 1_000_000


class WatchingPartition:
    """See the file's rule.

    stamp: the offset of the last message that was taken; settled: of the last one that nobody needs any more, by the
    last checkpoint. figures: replaced, never changed.
    """

    def __init__(self, setup: Setup, rows: Mapping[str, bytes] | None = None) -> None:
        """Start from `rows` (name -> value, as `checkpoint` gave them), or from nothing. Raises ValueError."""
        self.setup = setup
        self.clock = Clock(setup.lateness)
        self.counts = Counts()
        self.closed = 0
        self.stamp = self.settled = -1
        self._last: dict[int, _Told] = {}
        self._over: set[int] = set()
        self._waiting: dict[str, _Waiting] = {}
        self._saves = 0
        self._unsaved = False
        self._slots: list[list[str]] = [[], []]
        self.watch = Watch(setup.detectors)
        self.figures = Figures()
        if rows:
            self._restore(dict(rows))

    def apply(self, name: str, value: bytes, offset: int) -> list[Finding]:
        """Take a block; gives the findings that open, change or close with the minutes that it closes.

        Raises ValueError: not ours.
        """
        self.stamp = max(self.stamp, offset)
        told, watermark, idle, over, talks, silent = _read(value)
        self._count_late(name, told, talks)
        self._wait(name, _Waiting(told.stamp, offset, talks, silent))
        if watermark is not None:
            self.clock.advance(told.source, watermark, idle=idle)
        (self._over.add if over else self._over.discard)(told.source)
        return self._close()

    def renew(self, setup: Setup) -> list[Finding]:
        """Go on by other rules, from the next minute on; gives the findings of detectors that are gone, closed."""
        self.setup, self._unsaved = setup, True
        return self.watch.renew(setup.detectors)

    def checkpoint(self) -> tuple[Rows, Rows]:
        """What changed since the last call: (rows, which are written under names that the last ones do not have; what
        to write once they are safe). Nothing, where no minute has closed: what waits is read again.
        """
        if not self._unsaved and self.stamp - self.settled < _MOST_UNSETTLED:
            return {}, {}
        self._unsaved, self._saves = False, self._saves + 1
        slot = self._saves % 2
        rows = {
            f"{slot}/{name}/{start // _SLICE}": tables.encode({_STAMP: self._saves}, {name: part})
            for name, frame in self.watch.frames().items()
            for start in range(0, frame.height, _SLICE)
            for part in [frame.slice(start, _SLICE)]
        }
        stale = [name for name in self._slots[slot] if name not in rows]
        self._slots[slot] = list(rows)
        return rows, {**dict.fromkeys(stale), _STAMP: self._stamp_row(list(rows))}

    # -- in --------------------------------------------------------------------------------------------------------

    def _count_late(self, name: str, new: _Told, talks: pl.DataFrame) -> None:
        """Records of closed minutes, but for those that were there before: a block comes again, or comes further."""
        last = self._last.setdefault(new.source, _Told(new.source))
        if (new.first, new.stamp) <= (last.first, last.stamp):
            return
        late = conversations.records(talks.filter(pl.col("pane") < self.closed))
        if new.first == last.first:
            waits = self._waiting.get(name)
            late -= last.records - (conversations.records(waits.talks) if waits else 0)
        self.counts.late += late
        self._last[new.source] = new

    def _wait(self, name: str, new: _Waiting) -> None:
        """Of a block that comes again, the one that has come further. Minutes that were seen are seen once."""
        old = self._waiting.get(name)
        if old is not None and new.stamp < old.stamp:
            return
        new.split(self.closed)
        self._waiting[name] = new

    def _close(self) -> list[Finding]:
        limit = self._limit()
        if limit <= self.closed:
            return self._forced()
        return self._closed_before(limit)

    def _limit(self) -> int:
        """Minutes that end by then are over: all of them, where no raw partition has more to come."""
        if len(self._over) >= self.setup.sources and self.clock.watermark:
            newest = max(self.clock.watermark.values())
            return newest - newest % PANE_SECONDS + PANE_SECONDS
        before = self.clock.closed_before() if len(self._last) >= self.setup.sources else None
        return 0 if before is None else before - before % PANE_SECONDS

    def _forced(self) -> list[Finding]:
        """Memory is bounded: one raw partition that nobody reads must not hold back the others for ever."""
        if sum(one.rows for one in self._waiting.values()) <= self.setup.most_waiting:
            return []
        frames = [frame for one in self._waiting.values() for frame in (one.talks, one.silent) if frame.height]
        oldest = min(cast("int", frame.get_column("pane").min()) for frame in frames)
        return self._closed_before(oldest + PANE_SECONDS)

    def _closed_before(self, limit: int) -> list[Finding]:
        parts = {name: one.split(limit) for name, one in self._waiting.items()}
        talks = conversations.merged([talks for talks, _ in parts.values()])
        silent = statuses.merged([silent for _, silent in parts.values()])
        places = Places({_origin(name): talks for name, (talks, _) in parts.items() if talks.height})
        self._waiting = {name: one for name, one in self._waiting.items() if one.rows}
        self.closed, self._unsaved = limit, True
        findings = list(self._told(self.watch.see_all(talks, silent, places)))
        self.figures = self._figures(of_last_minute(talks) if talks.height else self.figures.talkers)
        return findings

    def _figures(self, talkers: Talkers = _NOBODY) -> Figures:
        findings = self.watch.open_findings()
        active = Counter((one.detector, SEVERITIES[one.severity]) for one in findings)
        worst = nsmallest(_MOST_OPEN, findings, key=lambda one: (-one.severity, -one.last, one.id))
        shown = [one for one in worst if suppressed_by(one, self.setup.suppressions) is None]
        suppressed = {(detector,): count for detector, count in self.counts.suppressed.items() if count}
        return Figures(
            dict(self.counts.opened), active, suppressed, self.watch.over, self.counts.late, self.closed, shown, talkers
        )

    def _told(self, findings: Iterator[Finding]) -> Iterator[Finding]:
        """Those that nobody suppresses; all are counted."""
        for finding in findings:
            hidden = suppressed_by(finding, self.setup.suppressions) is not None
            if finding.updates == 1 and not finding.closed:
                self.counts.opened[finding.detector, SEVERITIES[finding.severity]] += 1
                self.counts.suppressed[finding.detector] += hidden
            if not hidden:
                yield finding

    # -- out, and back ----------------------------------------------------------------------------------------------

    def _stamp_row(self, names: list[str]) -> bytes:
        self.settled = min((one.offset for one in self._waiting.values()), default=self.stamp + 1) - 1
        last = [list(told) for told in self._last.values()]
        return orjson.dumps({
            "v": 1, "stamp": self.settled, "save": self._saves, "rows": names, "closed": self.closed, "last": last,
            "watermarks": list(self.clock.watermark.items()), "idle": sorted(self.clock.idle),
            "over": sorted(self._over),
            "counts": self.counts.plain(), "watch": self.watch.plain(),
        })  # fmt: skip

    def _restore(self, rows: dict[str, bytes]) -> None:
        found = _stamp(rows[_STAMP])
        self.stamp = self.settled = found["stamp"]
        self._saves, self.closed = found["save"], found["closed"]
        self._last = {last[0]: _Told(*last) for last in found["last"]}
        self.clock.watermark, self.clock.idle = dict(found["watermarks"]), set(found["idle"])
        self._over = set(found.get("over", []))
        self.counts = Counts.of(found["counts"])
        self._slots[self._saves % 2] = list(found["rows"])
        self._slots[1 - self._saves % 2] = [name for name in rows if name not in {*found["rows"], _STAMP}]
        parts: dict[str, list[pl.DataFrame]] = {}
        for name in found["rows"]:
            for frame_name, frame in tables.decode(rows[name])[1].items():
                parts.setdefault(frame_name, []).append(frame)
        self.watch.restore({name: pl.concat(frames) for name, frames in parts.items()}, found["watch"])
        self.figures = self._figures()


def _split(rows: pl.DataFrame, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Those of minutes before `limit`, and the others. Most blocks are of few minutes: often it is all or nothing."""
    over = rows.get_column("pane") < limit
    if over.all():
        return rows, rows.clear()
    return (rows.filter(over), rows.filter(~over)) if over.any() else (rows.clear(), rows)


def _origin(name: str) -> str:
    """As core.places has it, of a block's name: `source/talks/first`."""
    source, _, first = name.partition(f"/{TALKS}/")
    return f"{source}@{first}"


def _read(value: bytes) -> tuple[_Told, int | None, bool, bool, pl.DataFrame, pl.DataFrame]:
    """What a block is, its watermark, whether its raw partition is idle, and over, its frames.

    Raises ValueError: not ours.
    """
    head, frames = tables.decode(value)
    talks, silent = frames.get(TALKS, pl.DataFrame()), frames.get(STATUSES, pl.DataFrame())
    if (talks.schema, silent.schema) != (conversations.SCHEMA, statuses.SCHEMA):
        raise ValueError("not a block of conversations, or one with the columns of another release")
    numbers = [head.get(key) for key in ("source", "first", "stamp")]
    watermark = head.get("watermark")
    if not all(isinstance(one, int) for one in numbers) or not isinstance(watermark, int | None):
        raise ValueError("not a block of conversations: it does not say which")
    source, first, stamp = cast("list[int]", numbers)
    told = _Told(source, first, stamp, conversations.records(talks))
    return told, watermark, bool(head.get("idle")), bool(head.get("over")), talks, silent


def newest(written: Written) -> dict[str, bytes]:
    """What WatchingPartition starts from: of all who wrote, the rows of the one that has come furthest.

    A row `stamp` counts if all that it speaks of is there, of the same save. Raises HoleError when there is none such,
    ValueError.
    """
    stamps = {writer: _stamp(rows[_STAMP]) for writer, rows in written.items() if _STAMP in rows}
    whole = {writer: found for writer, found in stamps.items() if _holds(found, written[writer])}
    if stamps and not whole:
        raise HoleError("not all rows that `stamp` speaks of are there")
    if not whole:
        return {}
    writer = max(whole, key=lambda one: (whole[one]["closed"], whole[one]["stamp"]))
    return dict(written[writer])


def _stamp(value: bytes) -> dict[str, Any]:
    found = orjson.loads(value)
    if not isinstance(found, dict) or found.get("v") != 1:
        raise ValueError("not a stamp row of version 1: written by a newer release")
    return found


def _holds(found: Mapping[str, Any], rows: Mapping[str, bytes]) -> bool:
    return all(name in rows and tables.head(rows[name])[_STAMP] == found["save"] for name in found["rows"])

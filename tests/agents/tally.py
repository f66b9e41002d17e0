"""States that count messages by their numbers: the rows, stamps and summaries of combine and roll, without a frame.

A number that stands twice in a row was counted twice. The row formats and `newest` are the real ones; what a row holds
is a list in its head.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from streams.agents.loop import Event, Outgoing
from streams.core import combine, roll, tables
from streams.core.combine import Meta
from streams.core.ledger import Rows, Written

RETAINED = 3
"""Panes that are kept apart; older ones go into the history."""


@dataclass
class Row:
    """A pane, or the history."""

    stamp: int = -1
    numbers: list[int] = field(default_factory=list)
    unsaved: bool = False
    unsent: bool = False

    def add(self, numbers: Iterable[int], stamp: int) -> None:
        self.numbers += numbers
        self.stamp, self.unsaved, self.unsent = max(self.stamp, stamp), True, True


class Tally:
    """A raw partition: see core.combine.RawPartition, whose steps these are."""

    def __init__(self, partition: int, rows: Mapping[str, bytes]) -> None:
        self.partition = partition
        self.meta = Meta.decode(rows["meta"]) if "meta" in rows else Meta()
        self.history = Row()
        self.through = 0
        self.panes: dict[int, Row] = {}
        self._gone: list[str] = []
        self._settled: list[str] = []
        for name, value in rows.items():
            if name != "meta":
                self._restore(name, tables.head(value))
        self._settled += [f"pane/{start}" for start in self.panes if start < self.through]
        self.panes = {start: row for start, row in self.panes.items() if start >= self.through}
        self.history.unsaved = "history" in self.meta.slots

    def _restore(self, name: str, head: dict[str, Any]) -> None:
        kind, _, rest = name.partition("/")
        row = Row(head["stamp"], list(head["numbers"]))
        if kind == "pane":
            row.unsent = name in self.meta.unsent or row.stamp > self.meta.stamp
            self.panes[int(rest)] = row
        elif self.meta.slots.get(kind) == int(rest):
            row.unsent = kind in self.meta.unsent
            self.history, self.through = row, head["through"]

    def take(self, offset: int, number: int, pane: int) -> None:
        """Count a message, unless its offset is included."""
        if offset <= self.meta.stamp:
            return
        self.meta.lines[str(number)] += 1
        self.meta.watermark = max(pane, self.meta.watermark or 0)
        gone = pane < max(self.through, self.meta.watermark - RETAINED + 1)
        row = self.history if gone else self.panes.setdefault(pane, Row())
        if row.stamp < offset:
            row.add([number], offset)
        self.meta.stamp = offset
        self._expire(self.meta.watermark - RETAINED + 1)

    def _expire(self, horizon: int) -> None:
        if horizon <= self.through:
            return
        self.through = horizon
        for start in sorted(start for start in self.panes if start < horizon):
            self._gone.append(f"pane/{start}")
            self.history.add(self.panes.pop(start).numbers, self.meta.stamp)
        self.history.add((), self.meta.stamp)

    def summaries(self, partitions: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Partition, key, value of what changed since the last call."""
        for name, row in self.rows().items():
            if row.unsent:
                row.unsent = False
                yield from self._summarise(name, row, partitions)

    def _summarise(self, name: str, row: Row, partitions: int) -> Iterator[tuple[int, bytes, bytes]]:
        for to, full_name, head in self._heads(name, row, partitions):
            yield to, full_name.encode(), tables.encode(head, {})

    def _heads(self, name: str, row: Row, partitions: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
        head = {"source": self.partition, "stamp": row.stamp, "through": self.through}
        for to in range(partitions):
            mine = [number for number in row.numbers if number % partitions == to]
            if mine or name == "history":
                yield to, f"{self.partition}/{name}", {**head, "numbers": mine}

    def sent(self, partitions: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Partition, name, head of the summaries that were sent, as far as it knows."""
        for name, row in self.rows().items():
            if row.stamp >= 0 and not row.unsent:
                yield from self._heads(name, row, partitions)

    def checkpoint(self) -> tuple[Rows, Rows]:
        """Panes and history, then what settles them."""
        unsaved = {name: row for name, row in self.rows().items() if row.unsaved}
        self.meta.unsent = [name for name, row in self.rows().items() if row.unsent]
        if "history" in unsaved:
            self.meta.slots["history"] = 1 - self.meta.slots.get("history", 1)
        self.meta.rows = {self._named(name): row.stamp for name, row in self.rows().items() if row.stamp >= 0}
        first = {self._named(name): self._saved(row) for name, row in unsaved.items()}
        then: dict[str, bytes | None] = dict.fromkeys(self._settled)
        self._settled, self._gone = self._gone, []
        return first, {**then, "meta": self.meta.encode()}

    def rows(self) -> dict[str, Row]:
        return {**{f"pane/{start}": row for start, row in self.panes.items()}, "history": self.history}

    def _named(self, name: str) -> str:
        return f"history/{self.meta.slots['history']}" if name == "history" else name

    def _saved(self, row: Row) -> bytes:
        row.unsaved = False
        return tables.encode({"stamp": row.stamp, "through": self.through, "numbers": row.numbers}, {})

    def counted(self) -> Counter[int]:
        """Number -> how often the rows have it."""
        return Counter(number for row in self.rows().values() for number in row.numbers)


@dataclass
class TallyCombine:
    """agents.loop.State over raw messages, each of them a number and a pane. Every third one has a dead letter."""

    summaries: Any
    summary_partitions: int
    letters: Any

    def open(self, partition: int, written: Written) -> Tally:
        return Tally(partition, combine.newest(written))

    def apply(self, state: Tally, events: Sequence[Event]) -> list[Outgoing]:
        letters = []
        for event in events:
            number, pane = orjson.loads(cast("bytes", event.message.value))
            letters += [number] if number % 3 == 0 and event.message.offset > state.meta.stamp else []
            state.take(event.message.offset, number, pane)
        return [Outgoing(self.letters, None, b"", str(number).encode()) for number in letters]

    def flush(self, state: Tally) -> list[Outgoing]:
        found = state.summaries(self.summary_partitions)
        return [Outgoing(self.summaries, to, key, value) for to, key, value in found]

    def checkpoint(self, state: Tally) -> tuple[Rows, Rows]:
        return state.checkpoint()

    def stamp(self, state: Tally) -> int:
        return state.meta.stamp

    def settled(self, state: Tally) -> int:
        return state.meta.stamp


class Rolled:
    """A summary partition: see core.roll.SummaryPartition, whose steps these are."""

    def __init__(self, rows: Mapping[str, bytes]) -> None:
        self.stamp = roll.held(rows.get("stamp", b""))[0]
        self.rows: dict[str, tuple[int, bytes]] = {}
        self._through: dict[int, int] = {}
        self._unsaved: dict[str, bytes | None] = {}
        self._gone: list[str] = []
        names = sorted((name for name in rows if name != "stamp"), key=lambda name: "/pane/" in name)
        for name in names:
            self.take(name, rows[name])
        self._unsaved = {name: None for name in names if name not in self.rows}

    def take(self, name: str, value: bytes) -> None:
        head: dict[str, Any] = tables.head(value)
        if self.has(name, head):
            return
        self.rows[name] = head["stamp"], value
        self._unsaved[name] = value
        if name.endswith("/history"):
            self._forget(head["source"], head["through"])

    def has(self, name: str, head: Mapping[str, Any]) -> bool:
        """Whether a summary changes nothing: a newer one, or the history that includes it, is there."""
        stamp, _ = self.rows.get(name, (-1, b""))
        return head["stamp"] <= stamp or self._is_gone(name, head["source"])

    def _is_gone(self, name: str, source: int) -> bool:
        at, kind, *start = name.split("/")
        return int(at) == source and kind == "pane" and int(start[0]) < self._through.get(source, 0)

    def _forget(self, source: int, through: int) -> None:
        self._through[source] = through
        for name in [name for name in self.rows if self._is_gone(name, source)]:
            del self.rows[name]
            self._unsaved[name] = None

    def checkpoint(self) -> tuple[Rows, Rows]:
        rows: dict[str, bytes | None] = {name: value for name, value in self._unsaved.items() if value is not None}
        due, self._gone = self._gone, [name for name, value in self._unsaved.items() if value is None]
        self._unsaved = {}
        if not (rows or due or self._gone):
            return {}, {}
        held = {name: 2 * stamp for name, (stamp, _) in self.rows.items()}  # as core.roll tells the newer one
        return rows, {**dict.fromkeys(due), "stamp": orjson.dumps({"v": 1, "stamp": self.stamp, "rows": held})}

    def counted(self) -> Counter[int]:
        """Number -> how often the rows have it."""
        heads: list[dict[str, Any]] = [tables.head(value) for _, value in self.rows.values()]
        return Counter(number for head in heads for number in head["numbers"])


class TallyRoll:
    """agents.loop.State over the summaries of TallyCombine."""

    def open(self, partition: int, written: Written) -> Rolled:
        return Rolled(roll.newest(written))

    def apply(self, state: Rolled, events: Sequence[Event]) -> list[Outgoing]:
        for event in events:
            state.take(cast("bytes", event.message.key).decode(), cast("bytes", event.message.value))
            state.stamp = max(state.stamp, event.message.offset)
        return []

    def flush(self, state: Rolled) -> list[Outgoing]:
        return []

    def checkpoint(self, state: Rolled) -> tuple[Rows, Rows]:
        return state.checkpoint()

    def stamp(self, state: Rolled) -> int:
        return state.stamp

    def settled(self, state: Rolled) -> int:
        return state.stamp

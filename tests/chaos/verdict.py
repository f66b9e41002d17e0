"""What the fleet ended with, against DuckDB over the input. A difference is one figure that is not what it must be.

Compared: lines by outcome, both tables at /metrics, both tables in every pane as they stand in the changelog (which is
what the next worker would start from), the dead letters, and what was seen on the way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from streams.core import ledger, roll, tables
from streams.core.ledger import Written
from streams.core.protocols import protocol_name
from streams.core.roll import SummaryPartition
from streams.core.tables import Frames
from tests.chaos.traffic import WIDE, Traffic, format_of, is_junk
from tests.chaos.watch import Highs
from tests.kafka.letters import Letter
from tests.kafka.oracle import Oracle, Sums, added
from tests.kafka.process import Samples, by_label, sums

_LATENESS = 900
_NAMED = 20
"""So many differences of a table are told one by one."""
_NEVER = ("vpcflow_lost_messages_total", "vpcflow_foreign_summaries_total", "vpcflow_over_budget_flows_total")


@dataclass(frozen=True)
class Truth:
    """outcomes: outcome -> lines. panes: as the tables, with the pane's start before the other keys. junk: lines."""

    outcomes: Counter[str]
    enis: Sums
    ports: Sums
    pane_enis: Sums
    pane_ports: Sums
    junk: Counter[bytes]

    @property
    def lines(self) -> int:
        """All that must have an outcome."""
        return self.outcomes.total()


@dataclass(frozen=True)
class Panes:
    """The tables of all retained panes, keys as in Truth; and their sum over all time, history among it."""

    enis: Sums = field(default_factory=dict)
    ports: Sums = field(default_factory=dict)
    all_enis: Sums = field(default_factory=dict)
    all_ports: Sums = field(default_factory=dict)


def truth(made: Traffic, foreign: Sequence[bytes]) -> Truth:
    """foreign: what stands on the foreign topic."""
    plain = [message for message in foreign if not is_junk(message)]
    oracles = Oracle(made.wide, format_of(WIDE)), Oracle(plain)
    junk = Counter(made.junk) + Counter(message for message in foreign if is_junk(message))
    return Truth(
        sum((Counter(one.outcomes()) for one in oracles), Counter(reject=junk.total())),
        added(*(one.enis() for one in oracles)), added(*(one.ports() for one in oracles)),
        added(*(one.enis_by_pane() for one in oracles)), added(*(one.ports_by_pane() for one in oracles)),
        junk,
    )  # fmt: skip


def at_metrics(found: Truth, scrapes: Sequence[Samples]) -> list[str]:
    """Differences between the truth and all workers' /metrics together."""
    outcomes: Counter[str] = sum((by_label(one, "vpcflow_lines_total", "outcome") for one in scrapes), Counter())
    enis = added(*(_whole(sums(one, "eni", ["eni", "action"])) for one in scrapes))
    ports = added(*(_whole(sums(one, "port", ["port", "protocol", "action"])) for one in scrapes))
    wrong = [
        f"lines, {name}: expected {found.outcomes[name]}, found {outcomes[name]}"
        for name in sorted({*outcomes, *found.outcomes})
        if outcomes[name] != found.outcomes[name]
    ]
    never = [f"{name}: expected 0, found {one[name]}" for one in scrapes for name in _NEVER if any(_values(one, name))]
    return [*wrong, *never, *_compared("eni", found.enis, enis), *_compared("port", found.ports, ports)]


def in_panes(found: Truth, panes: Panes) -> list[str]:
    """Differences between the truth and the rolling tables as they stand in their changelog."""
    return [
        *_compared("pane, eni", found.pane_enis, panes.enis),
        *_compared("pane, port", found.pane_ports, panes.ports),
        *_compared("stored, eni", found.enis, panes.all_enis),
        *_compared("stored, port", found.ports, panes.all_ports),
    ]


def in_letters(found: Truth, letters: Iterable[Letter]) -> list[str]:
    """Each junk line is one dead letter: a letter that was written twice has the same id twice."""
    by_id = {letter.id: letter.payload for letter in letters}
    payloads = Counter(by_id.values())
    return [
        f"dead letter {line!r}: expected {found.junk[line]}, found {payloads[line]}"
        for line in {*payloads, *found.junk}
        if payloads[line] != found.junk[line]
    ]


def on_the_way(found: Truth, highs: Highs, last: Sequence[Samples]) -> list[str]:
    """What was shown once and is above the end: it was counted twice, even if somebody noticed later."""
    ends: dict[tuple[str, object], float] = {}
    for samples in last:
        for name, labels in highs.partitions:
            ends[name, labels] = max(samples.get(name, {}).get(labels, 0), ends.get((name, labels), 0))
    above = [
        f"on the way, {name}{dict(labels)}: {value:.0f}, in the end {ends.get((name, labels), 0):.0f}"
        for (name, labels), value in highs.partitions.items()
        if value > ends.get((name, labels), 0)
    ]
    for table, right in (("eni", found.enis), ("port", found.ports)):
        above += [
            f"on the way, {table} {'/'.join(key)}: {values}, the input gives {right.get(key)}"
            for key, values in highs.tables[table].items()
            if any(one > most for one, most in zip(values, right.get(key, (0, 0, 0)), strict=True))
        ]
    return above


async def stored_rows(bootstrap: str, changelog: str) -> dict[int, Written]:
    """Partition -> what a worker that starts would find."""
    stores: dict[int, dict[bytes, bytes]] = {}
    for record in await records(bootstrap, changelog):
        mine = stores.setdefault(record.partition, {})
        mine.pop(record.key, None)
        if record.value is not None:
            mine[record.key] = record.value
    return {partition: ledger.read(partition, store) for partition, store in stores.items()}


async def stored_panes(bootstrap: str, changelog: str) -> Panes:
    """The tables as a worker that starts would read them from the roll changelog."""
    rows = await stored_rows(bootstrap, changelog)
    found = [SummaryPartition(_LATENESS, roll.newest(written)) for written in rows.values()]
    panes = [(str(start), frames) for state in found for start, frames in state.panes().items()]
    totals = [state.totals() for state in found]
    return Panes(
        added(*(_enis(frames, start) for start, frames in panes)),
        added(*(_ports(frames, start) for start, frames in panes)),
        added(*map(_enis, totals)),
        added(*map(_ports, totals)),
    )


async def keep_changelog(bootstrap: str, changelog: str, file: Path) -> None:
    """What was written to it and when, a line a record: partition, offset, epoch ms, key, bytes; of `meta` its text."""
    found = await records(bootstrap, changelog)
    with file.open("w", encoding="utf-8") as lines:
        for one in sorted(found, key=lambda one: (one.partition, one.offset)):
            key, value = one.key.decode(errors="replace"), one.value
            told = value.decode(errors="replace") if value and key.endswith("/meta") else ""
            size = "deleted" if value is None else len(value)
            lines.write(f"{one.partition} {one.offset} {one.timestamp} {key} {size} {told}\n")


async def records(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """All that is on a topic, each partition in order. Each may begin behind what was deleted."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[ConsumerRecord] = []
        deadline = time.monotonic() + 60
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            assert time.monotonic() < deadline, f"{topic} can't be read to its end"
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                found += messages
        return found
    finally:
        await consumer.stop()


def _enis(frames: Frames, *before: str) -> Sums:
    rows = frames["eni"].group_by("eni", "action").agg(pl.col(tables.COUNTS).sum())
    return {
        (*before, eni, tables.ACTIONS[action]): (flows, packets, octets)
        for eni, action, flows, packets, octets in rows.iter_rows()
        if flows
    }


def _ports(frames: Frames, *before: str) -> Sums:
    rows = frames["port"].group_by("port", "protocol", "action").agg(pl.col(tables.COUNTS).sum())
    return {
        (*before, str(port), protocol_name(protocol), tables.ACTIONS[action]): (flows, packets, octets)
        for port, protocol, action, flows, packets, octets in rows.iter_rows()
        if flows
    }


def _compared(what: str, expected: Sums, found: Sums) -> list[str]:
    wrong = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
    told = [f"{what} {'/'.join(key)}: expected {expected.get(key)}, found {found.get(key)}" for key in wrong[:_NAMED]]
    return [*told, *([f"{what}: and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else [])]


def _whole(found: Mapping[tuple[str, ...], tuple[int, ...]]) -> Sums:
    return {key: (values[0], values[1], values[2]) for key, values in found.items()}


def _values(samples: Samples, name: str) -> Iterator[float]:
    yield from samples.get(name, {}).values()

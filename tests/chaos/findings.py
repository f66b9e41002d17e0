"""What a fleet tells in which everything breaks, against what the same raw log gives where nothing does."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from aiokafka import ConsumerRecord

from streams.app import policy, setup
from streams.core.combine import RawPartition, Summary
from streams.core.findings import Finding, render
from streams.core.raw import RawMessage
from streams.core.watching import WatchingPartition
from streams.settings import Settings
from streams.tuning import rules
from tests.kafka.process import Samples, by_label

_NAMED = 20


@dataclass(frozen=True)
class Replayed:
    """words: all that is told, as it stands on the topic. opened: findings by detector. closed: epoch seconds, as
    `vpcflow_watched_before_timestamp_seconds` has it in the end. unwatched: records by raw partition.
    """

    words: frozenset[bytes]
    opened: Counter[str]
    closed: int
    unwatched: Counter[str]


def replayed(raw: Iterable[ConsumerRecord], settings: Settings) -> Replayed:
    """What the log gives. raw: all of it, each partition in order. settings: the workers'."""
    logs = defaultdict[int, list[tuple[int, RawMessage]]](list)
    for one in raw:
        logs[one.partition].append((one.offset, RawMessage.from_kafka(one.value, one.headers, one.timestamp)))
    states = {partition: RawPartition(partition, policy(settings)) for partition in logs}
    watching = WatchingPartition(setup(settings, rules(settings.detection)))
    told: list[Finding] = []
    for partition, state in states.items():
        state.fold(logs[partition])
        told += _watched(watching, state.whole_blocks(settings.topics.conversation_partitions))
    return Replayed(
        frozenset(map(render, told)),
        Counter(one.detector for one in told if one.updates == 1 and not one.closed),
        watching.closed,
        Counter({str(partition): state.meta.totals["unwatched"] for partition, state in states.items()}),
    )


def _watched(watching: WatchingPartition, blocks: Iterable[Summary]) -> Iterable[Finding]:
    for one in blocks:
        yield from watching.apply(one.key.decode(), one.value, watching.stamp + 1)


def in_findings(right: Replayed, told: Sequence[bytes], scrapes: Sequence[Samples]) -> list[str]:
    """Differences: a word that is missing, one that no undisturbed worker says, a finding that is counted twice."""
    found, opened = frozenset(told), Counter[str]()
    for samples in scrapes:
        opened += by_label(samples, "vpcflow_findings_total", "detector")
    wrong = [f"not told: {_named(word)}" for word in right.words - found]
    wrong += [f"told, and the log does not give it: {_named(word)}" for word in found - right.words]
    more = [f"findings: and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
    counted = _compared("findings of", right.opened, opened)
    return [*sorted(wrong)[:_NAMED], *more, *counted, *_unwatched(right, scrapes)]


def watched(right: Replayed, scrapes: Sequence[Samples]) -> bool:
    """Whether the fleet has closed the minutes that the log closes."""
    name = "vpcflow_watched_before_timestamp_seconds"
    return any(value >= right.closed for samples in scrapes for value in samples.get(name, {}).values())


def _unwatched(right: Replayed, scrapes: Sequence[Samples]) -> list[str]:
    """Of a partition that two workers show, the one that has come further counts."""
    found = Counter[str]()
    for samples in scrapes:
        found |= by_label(samples, "vpcflow_unwatched_records_total", "partition")
    return _compared("unwatched records of partition", right.unwatched, found)


def _compared(what: str, right: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    return [
        f"{what} {name}: expected {right.get(name, 0)}, counted {found.get(name, 0)}"
        for name in sorted({*right, *found})
        if right.get(name, 0) != found.get(name, 0)
    ]


def _named(word: bytes) -> str:
    found = orjson.loads(word)
    closed = ", closed" if found["closed"] else ""
    return f"{found['detector']} {found['id']}, updates {found['updates']}{closed}: {found['sentence']}"

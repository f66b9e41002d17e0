"""What a partition is opened from: the rows in its changelog, read by a consumer of its own.

Not by Faust's recovery: that says that it is done when a rebalance cut it short, puts old rows over newer ones while it
starts again, and waits without end for an offset that no record has.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka import Options

_FETCH_BYTES = 4 * 1024 * 1024
"""What a fetch brings of a partition: a state of a large network is hundreds of megabytes."""


@dataclass(frozen=True)
class Stored:
    """rows: key -> value, the last of each key. latest: the last offset of the topic that they tell of, -1: none."""

    rows: dict[bytes, bytes]
    latest: int


class StateError(Exception):
    """State can't be read back. One line: which, why, and what to do."""


async def stored(
    options: Options, changelog: str, topic: str, partitions: Iterable[int], patience: float
) -> dict[int, Stored]:
    """What a changelog holds by now of partitions of `topic`. options: of an AIOKafkaConsumer. patience: seconds.

    Raises StateError when nothing comes for so long, KafkaError.
    """
    found: dict[TopicPartition, dict[bytes, bytes | None]] = {TopicPartition(changelog, one): {} for one in partitions}
    if not found:
        return {}
    consumer = AIOKafkaConsumer(auto_offset_reset="earliest", max_partition_fetch_bytes=_FETCH_BYTES, **options)
    await consumer.start()
    try:
        # not asked of Faust's consumer: each answer would wait behind a fetch that waits for messages
        ends = await consumer.end_offsets([TopicPartition(topic, tp.partition) for tp in found])
        consumer.assign(list(found))
        await _read(consumer, found, patience)
    finally:
        await consumer.stop()
    latest = {tp.partition: end - 1 for tp, end in ends.items()}
    return {tp.partition: Stored(_held(rows), latest[tp.partition]) for tp, rows in found.items()}


def _held(rows: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    return {key: value for key, value in rows.items() if value is not None}


async def _read(
    consumer: AIOKafkaConsumer, found: Mapping[TopicPartition, dict[bytes, bytes | None]], patience: float
) -> None:
    ends = await consumer.end_offsets(list(found))
    await consumer.seek_to_beginning(*found)
    came = time.monotonic()
    while behind := await _behind(consumer, ends):
        batches = await consumer.getmany(*behind, timeout_ms=500)
        for tp, records in batches.items():
            found[tp].update((record.key, record.value) for record in records)
        came = time.monotonic() if batches else came
        if time.monotonic() - came > patience:
            raise StateError(_explained(behind, patience))


async def _behind(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, str]:
    """Partition -> `offset A of B`, of those that are not read to their end. The embedded broker's ends lie."""
    offsets = {tp: (await consumer.position(tp), max(end, consumer.highwater(tp) or 0)) for tp, end in ends.items()}
    return {tp: f"offset {at} of {end}" for tp, (at, end) in offsets.items() if at < end}


def _explained(behind: Mapping[TopicPartition, str], patience: float) -> str:
    places = ", ".join(f"topic {tp.topic}, partition {tp.partition}: {at}" for tp, at in sorted(behind.items()))
    return (
        f"reading the tables back has stood still for {patience:g} s ({places}); are all brokers there? "
        "Nothing is lost, the next start reads them again"
    )

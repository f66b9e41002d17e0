"""What a changelog holds, as the next worker reads it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from streams.agents import changelog
from streams.agents.changelog import StateError, Stored, stored
from streams.kafka import TopicSpec, ensure_topics


async def test_of_each_key_the_last_value_and_none_that_was_deleted(apache_kafka: str, prefix: str) -> None:
    topic = f"{prefix}-input"
    await ensure_topics(apache_kafka, [TopicSpec(prefix, 3), TopicSpec(topic, 3)])
    async with AIOKafkaProducer(bootstrap_servers=apache_kafka) as producer:
        for partition, key, value in [
            (0, b"a", b"1"),
            (0, b"b", b"2"),
            (1, b"a", b"3"),
            (0, b"a", b"4"),
            (0, b"b", None),
        ]:
            await producer.send_and_wait(prefix, value, key, partition=partition)

        await producer.send_and_wait(topic, b"x", partition=2)

    found = await stored({"bootstrap_servers": apache_kafka}, prefix, topic, [0, 1, 2], 30)

    assert found == {0: Stored({b"a": b"4"}, -1), 1: Stored({b"a": b"3"}, -1), 2: Stored({}, 0)}


async def test_no_partition_is_no_question() -> None:
    assert await stored({}, "x", "y", [], 30) == {}


class _Silent:
    """A consumer of a partition with three records, of which the last two never come."""

    def __init__(self, tp: TopicPartition) -> None:
        self._tp = tp

    async def end_offsets(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {self._tp: 3}

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        pass

    async def position(self, tp: TopicPartition) -> int:
        return 1

    def highwater(self, tp: TopicPartition) -> int | None:
        return None

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int) -> Mapping[TopicPartition, list[object]]:
        return {}


async def test_reading_that_stands_still_is_told_with_its_place() -> None:
    tp = TopicPartition("log", 2)

    with pytest.raises(StateError, match=r"stood still for 0\.1 s \(topic log, partition 2: offset 1 of 3\)"):
        await changelog._read(_Silent(tp), {tp: {}}, 0.1)

"""A topic as producers without an aggregator leave it: one record a message, no keys, one partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError

_BATCH_BYTES = 1024 * 1024
_PAUSE = 0.2


async def feed(bootstrap: str, topic: str, lines: Sequence[bytes]) -> None:
    """Create `topic` and put `lines` on it, in their order."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        await _until_groups_are_served(admin, topic)
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=_BATCH_BYTES)
    await producer.start()
    try:
        await _sent(producer, topic, lines)
    finally:
        await producer.stop()


async def _until_groups_are_served(admin: AIOKafkaAdminClient, group: str) -> None:
    """A new Kafka makes a topic for its groups when it is first asked: no contender is to wait for that."""
    for _ in range(100):
        try:
            await admin.find_coordinator(group)
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(_PAUSE)
        else:
            return


async def _sent(producer: AIOKafkaProducer, topic: str, lines: Sequence[bytes]) -> None:
    """In whole batches: a call a message would take longer than some contenders."""
    batch = producer.create_batch()
    for line in lines:
        if batch.append(key=None, value=line, timestamp=None) is None:
            await (await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            batch.append(key=None, value=line, timestamp=None)
    await (await producer.send_batch(batch, topic, partition=0))

"""The publisher against real brokers, and against none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zlib import crc32

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.raw import Origin, RawMessage
from streams.embedded import embedded_broker, free_port
from streams.kafka import TopicSpec, ensure_topics, our_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import BrokerUnavailable, Publisher, shortened
from tests.sources.fakes import heard
from tests.sources.samples import MIB, A

PARTITIONS = 4


def raw(value: bytes = A.encode(), name: str = "r-1", part: str = "0", **more: str | None) -> RawMessage:
    return RawMessage(
        value, Origin("firehose", name, part, "d"), 1_700_000_000_000, more.get("format"), error=more.get("error")
    )


@asynccontextmanager
async def started(bootstrap: str, topic: str, deadline: float = 30.0) -> AsyncIterator[Publisher]:
    publisher = Publisher(bootstrap, topic, PARTITIONS, {}, deadline)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def stored(bootstrap: str, topic: str, count: int) -> list[tuple[int, RawMessage]]:
    """(partition, message) of the first messages on the topic; those of a partition in order."""
    found: list[tuple[int, RawMessage]] = []
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=9 * MIB
    )
    async with consumer, asyncio.timeout(30):
        consumer.assign([TopicPartition(topic, n) for n in range(PARTITIONS)])
        while len(found) < count:
            one = await consumer.getone()
            found.append((one.partition, RawMessage.from_kafka(one.value, one.headers, one.timestamp)))
    return found


@pytest.fixture
async def topic(bootstrap: str, prefix: str) -> str:
    """A raw topic of four partitions, as we make it."""
    names = Names(prefix)
    await ensure_topics(bootstrap, our_topics(names, Topics(raw_partitions=PARTITIONS)))
    return names.raw


async def test_a_message_comes_back_whole_on_the_partition_of_its_origin(bootstrap: str, topic: str) -> None:
    sent = [raw(name=f"r-{n}", format="version bytes") for n in range(20)] + [raw(b"\xff\0", "x", error="bad_gzip")]
    async with started(bootstrap, topic) as publisher:
        await publisher.send(sent)

    found = await stored(bootstrap, topic, len(sent))
    assert sorted((one for _, one in found), key=repr) == sorted(sent, key=repr)
    assert all(partition == crc32(one.origin.partition_key()) % PARTITIONS for partition, one in found)
    assert len({partition for partition, _ in found}) > 1


async def test_messages_of_a_partition_go_in_order(bootstrap: str, topic: str) -> None:
    sent = [RawMessage(A.encode() * (n % 7), Origin("bridge", "t/0", f"{n}-{n}"), 1) for n in range(1, 300)]
    async with started(bootstrap, topic) as publisher:
        await asyncio.gather(publisher.send(sent), *(publisher.send([raw(name=f"{n}")]) for n in range(20)))

    found = await stored(bootstrap, topic, len(sent) + 20)
    assert [one for _, one in found if one.origin.source == "bridge"] == sent


async def test_nothing_is_nothing(bootstrap: str, topic: str) -> None:
    async with started(bootstrap, topic) as publisher:
        await publisher.send([])


async def test_a_payload_larger_than_the_topic_takes_is_kept_in_part(bootstrap: str, topic: str) -> None:
    noise = random.Random(1).randbytes(12 * MIB)
    async with started(bootstrap, topic) as publisher:
        await publisher.send([raw(), raw(noise, "large"), raw(noise[: 7 * MIB], "fits", error="bad_json")])

    found = {one.origin.name: one for _, one in await stored(bootstrap, topic, 3)}
    large = found["large"]
    assert (large.error, noise.startswith(large.value), len(large.value) > 7 * MIB) == ("too_large", True, True)
    assert found["fits"].value == noise[: 7 * MIB]
    assert found["r-1"] == raw()


async def test_a_topic_that_takes_less_gets_less(apache_kafka: str, prefix: str) -> None:
    topic = f"{prefix}.small"
    await ensure_topics(apache_kafka, [TopicSpec(topic, PARTITIONS, {"max.message.bytes": str(MIB)})])
    noise = random.Random(1).randbytes(3 * MIB)
    async with started(apache_kafka, topic) as publisher:
        await publisher.send([raw(name="before"), raw(noise, "large"), raw(name="behind")])

    found = {one.origin.name: one for _, one in await stored(apache_kafka, topic, 3)}
    assert set(found) == {"before", "large", "behind"}
    assert found["before"].value == found["behind"].value == A.encode()
    assert (found["large"].error, noise.startswith(found["large"].value)) == ("too_large", True)


def test_an_error_keeps_its_reason_when_it_is_shortened() -> None:
    assert shortened(raw(b"abc", error="bad_json"), 2) == raw(b"ab", error="bad_json")
    assert shortened(raw(b"ab"), 2) == raw(b"ab")


# -- no broker --------------------------------------------------------------------------------------------------------


async def test_sending_before_the_start_is_unavailable_by_address() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        await Publisher("127.0.0.1:1", "t", 1, {}).send([raw()])


async def test_a_broker_that_is_not_there_is_said_in_one_line_and_waited_for() -> None:
    address = f"127.0.0.1:{free_port()}"
    publisher = Publisher(address, "t", 1, {})
    with heard("streams.sources.publish") as log:
        starting = asyncio.create_task(publisher.start())
        await asyncio.wait_for(log.something.wait(), 20)
        assert not starting.done()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

    [line] = log.said
    assert address in line
    assert "\n" not in line


async def test_a_broker_that_goes_away_is_unavailable_within_the_deadline(prefix: str) -> None:
    async with embedded_broker() as address:
        await ensure_topics(address, [TopicSpec(prefix, PARTITIONS)])
        publisher = Publisher(address, prefix, PARTITIONS, {}, deadline_seconds=1.0)
        await publisher.start()
        await publisher.send([raw()])

    with pytest.raises(BrokerUnavailable, match=address):
        await publisher.send([raw()])
    await publisher.stop()

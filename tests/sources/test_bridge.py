"""The bridge between real brokers' topics and the raw topic: every source message once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from streams.core.raw import RawMessage
from streams.embedded import free_port
from streams.kafka import TopicSpec, ensure_topics, our_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.bridge import BridgeSettings, _Bridge, run_bridge
from streams.sources.publish import Publisher
from tests.sources.fakes import Broker, Counted, heard
from tests.sources.samples import A, B, C, body, many, message
from tests.sources.test_publish import stored

PARTITIONS = 3


@pytest.fixture
async def source(bootstrap: str, prefix: str) -> str:
    """A topic of somebody else's."""
    await ensure_topics(bootstrap, [TopicSpec(f"{prefix}-flows", PARTITIONS)])
    return f"{prefix}-flows"


async def produce(bootstrap: str, topic: str, values: Sequence[bytes | None], partition: int | None = None) -> None:
    """Put values on a topic, round robin."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        for n, value in enumerate(values):
            at = n % PARTITIONS if partition is None else partition
            await producer.send(topic, value, key=b"k", partition=at)
        await producer.flush()


@asynccontextmanager
async def running(settings: BridgeSettings, broker: Broker, counts: Counted | None = None) -> AsyncIterator[Counted]:
    """A bridge, for the length of the block; then it is cut off."""
    counts = counts or Counted()
    task = asyncio.create_task(run_bridge(settings, broker.publish, counts, lambda: 1_700_000_000.0))
    try:
        yield counts
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def settings(bootstrap: str, source: str, **more: object) -> BridgeSettings:
    """Short sessions: the embedded broker lets a member wait for half of one before it has partitions."""
    made = {"bootstrap": bootstrap, "group": f"{source}-group", "topics": (source,), "session_seconds": 2.0, **more}
    return BridgeSettings(**made)  # type: ignore[arg-type]


def once(messages: Sequence[RawMessage]) -> list[str]:
    """Lines without the repeats that `combine` drops."""
    last: dict[str, int] = {}
    found: list[str] = []
    for one in messages:
        bounds = one.bridge_range()
        assert bounds is not None
        fresh = one.without_first(one.lines_up_to(last.get(one.origin.name, -1)))
        last[one.origin.name] = max(bounds[1], last.get(one.origin.name, -1))
        found += fresh.value.decode().split("\n") if fresh.value else []
    return found


async def committed(bootstrap: str, group: str, topic: str) -> list[int | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    async with consumer:
        return [await consumer.committed(TopicPartition(topic, n)) for n in range(PARTITIONS)]


# -- bridging ---------------------------------------------------------------------------------------------------------


async def test_every_line_arrives_in_batches_with_its_offsets(bootstrap: str, source: str) -> None:
    lines, broker = many(9000), Broker()
    await produce(bootstrap, source, [line.encode() for line in lines])
    async with running(settings(bootstrap, source), broker) as counts:
        await broker.until(9000)

    assert sorted(broker.lines) == sorted(lines)
    assert len(broker.stored) < 200
    for n in range(PARTITIONS):
        of_one = [one for one in broker.stored if one.origin.name == f"{source}/{n}"]
        assert [line for one in of_one for line in one.value.decode().split("\n")] == lines[n::PARTITIONS]
        ranges = [one.bridge_range() for one in of_one]
        assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]  # type: ignore[misc]
    assert {(one.origin.source, one.offsets, one.arrival_ms) for one in broker.stored} == {
        ("bridge", (), 1_700_000_000_000)
    }
    assert counts.outcomes["bridge", "ok"] == len(broker.stored)
    assert counts.sizes["bridge"] == sum(len(one.value) for one in broker.stored)


async def test_it_writes_to_the_raw_topic_in_the_order_of_the_source(bootstrap: str, source: str, prefix: str) -> None:
    names, lines = Names(prefix), many(300)
    await ensure_topics(bootstrap, our_topics(names, Topics(raw_partitions=4)))
    publisher = Publisher(bootstrap, names.raw, 4, {})
    await publisher.start()
    task = asyncio.create_task(run_bridge(settings(bootstrap, source, flush_seconds=0.01), publisher.send, Counted()))
    found: list[tuple[int, RawMessage]] = []
    for at in range(0, 300, 100):
        await produce(bootstrap, source, [line.encode() for line in lines[at : at + 100]], partition=1)
        while sum(len(one.value.split(b"\n")) for _, one in found) < at + 100:
            found = await stored(bootstrap, names.raw, len(found) + 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await publisher.stop()

    assert [line for _, one in found for line in one.value.decode().split("\n")] == lines
    assert len({partition for partition, _ in found}) == 1


async def test_every_shape_and_what_has_none(bootstrap: str, source: str) -> None:
    broker = Broker()
    values = [
        A.encode(), message(B), None, gzip.compress(C.encode()), b"\x1f\x8bjunk", body([message(A), message(B)]),
        orjson.dumps({"event": {"original": C}, "log": {"offset": 1}}), b'{"x":1}', None, A.encode() + b"\n",
    ]  # fmt: skip
    await produce(bootstrap, source, values, partition=2)
    async with running(settings(bootstrap, source), broker) as counts:
        await broker.until(7)

    assert broker.lines == [A, B, C, A, B, C, A]
    assert broker.errors == [(b"\x1f\x8bjunk", "bad_gzip"), (b'{"x":1}', "no_lines")]
    assert counts.passed_over == {("bridge", "tombstone"): 2}


async def test_formats_and_generation_are_settings(bootstrap: str, source: str) -> None:
    broker = Broker()
    await produce(bootstrap, source, [A.encode()], partition=0)
    async with running(settings(bootstrap, source, generation=3, formats={source: "${version} ${bytes}"}), broker):
        await broker.until(1)

    assert (broker.stored[0].format, broker.stored[0].origin.name) == ("version bytes", f"{source}/0@3")


async def test_a_pattern_reads_all_that_match_but_nothing_of_ours(bootstrap: str, prefix: str) -> None:
    broker = Broker()
    for name in (f"{prefix}-a", f"{prefix}-b", f"{prefix}.raw"):
        await ensure_topics(bootstrap, [TopicSpec(name, 1)])
        await produce(bootstrap, name, [name.encode()], partition=0)
    chosen = BridgeSettings(bootstrap, f"{prefix}-g", pattern=f"{prefix}.*", own_prefix=f"{prefix}.")
    async with running(chosen, broker):
        await broker.until(2)

    assert sorted(broker.lines) == [f"{prefix}-a", f"{prefix}-b"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"topics": ()}, "topics: "),
        ({"pattern": "x"}, "topics: "),
        ({"topics": (), "pattern": "("}, "pattern: "),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        settings("127.0.0.1:1", "t", **more)


async def test_a_bad_format_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="comes twice"):
        await run_bridge(settings("127.0.0.1:1", "t", format="bytes bytes"), Broker().publish, Counted())


# -- what happens on the way ------------------------------------------------------------------------------------------


async def test_offsets_are_committed_after_the_lines_are_stored(bootstrap: str, source: str) -> None:
    chosen, broker = settings(bootstrap, source), Broker()
    await produce(bootstrap, source, [line.encode() for line in many(30)])
    async with running(chosen, broker):
        await broker.until(30)
        async with asyncio.timeout(30):
            while await committed(bootstrap, chosen.group, source) != [10, 10, 10]:
                pass
    await produce(bootstrap, source, [line.encode() for line in many(3, first=30)])
    async with running(chosen, broker):
        await broker.until(33)

    assert sorted(broker.lines) == sorted(many(33))


async def test_what_was_not_confirmed_when_it_died_comes_again(bootstrap: str, source: str) -> None:
    chosen, first = settings(bootstrap, source), Broker(slow=True)
    lines = many(30)
    await produce(bootstrap, source, [line.encode() for line in lines])
    async with running(chosen, first):
        await first.asked.wait()
    assert await committed(bootstrap, chosen.group, source) == [None, None, None]

    second = Broker()
    async with running(chosen, second):
        await second.until(30)

    assert sorted(second.lines) == sorted(lines)


async def test_what_was_stored_but_not_committed_is_known_by_its_offsets(bootstrap: str, source: str) -> None:
    chosen = settings(bootstrap, source, flush_seconds=0.01)
    lines, broker = many(60), Broker()
    await produce(bootstrap, source, [line.encode() for line in lines[:30]], partition=0)
    async with running(chosen, broker):
        await broker.until(30)  # and dies before, or while, it commits
    await produce(bootstrap, source, [line.encode() for line in lines[30:]], partition=0)
    async with running(settings(bootstrap, source, group=f"{source}-from-the-start"), broker):
        await broker.until(90)

    assert broker.lines == lines[:30] + lines
    assert once(broker.stored) == lines


async def test_a_broker_that_is_down_is_waited_for_and_nothing_overtakes(bootstrap: str, source: str) -> None:
    chosen, broker = settings(bootstrap, source, flush_seconds=0.01), Broker(down=True)
    lines = many(20)
    await produce(bootstrap, source, [line.encode() for line in lines[:10]], partition=0)
    async with running(chosen, broker) as counts:
        await broker.asked.wait()
        await produce(bootstrap, source, [line.encode() for line in lines[10:]], partition=0)
        broker.down = False
        await broker.until(20)

    assert broker.lines == lines
    assert counts.outcomes["bridge", "unavailable"] >= 1


@pytest.mark.parametrize("bootstrap", ["apache"], indirect=True)  # joins take too long on the embedded broker
async def test_a_second_bridge_takes_over_its_share_and_no_line_is_missing(bootstrap: str, source: str) -> None:
    chosen, one, two = settings(bootstrap, source, flush_seconds=0.05), Broker(), Broker()
    lines = many(3000)
    await produce(bootstrap, source, [line.encode() for line in lines[:1500]])
    async with running(chosen, one):
        await one.until(1500)
        async with running(chosen, two):
            sending = asyncio.create_task(feed(bootstrap, source, two))
            await asyncio.wait_for(two.asked.wait(), 60)
            await sending  # it ends by itself; cut off, it would leave a producer half started
        # The second is gone: the first reads its partitions again, from what was committed.
        await produce(bootstrap, source, [line.encode() for line in lines[1500:]])
        wanted = {*lines}
        async with asyncio.timeout(90):
            while not wanted <= {*one.lines, *two.lines}:
                await one.until(len(one.lines) + 1)

    both = sorted(
        [*one.stored, *two.stored], key=lambda message: (message.origin.name, message.bridge_range() or (0, 0))
    )
    found = [line for line in once(both) if line != "more"]
    assert sorted(found) == sorted(lines)


class Committed:
    """A consumer that only commits."""

    def __init__(self) -> None:
        self.positions: dict[TopicPartition, int] = {}

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        self.positions |= positions


def consumed(values: Sequence[bytes], first: int) -> list[ConsumerRecord]:
    return [
        ConsumerRecord("t", 0, first + n, 0, 0, None, value, None, 0, len(value), ()) for n, value in enumerate(values)
    ]


async def test_what_waits_when_a_partition_is_taken_away_is_read_again_not_sent_twice() -> None:
    broker, partition = Broker(), TopicPartition("t", 0)
    bridge = _Bridge(settings("", "t", flush_seconds=0.0), broker.publish, Counted(), lambda: 0.0)
    lines = [line.encode() for line in many(5)]

    bridge._take({partition: consumed(lines[:3], 0)})
    await bridge.on_partitions_revoked([partition])
    consumer = Committed()
    await bridge._flush(consumer)
    assert (broker.stored, consumer.positions) == ([], {})

    # It comes back, from what was committed.
    bridge._take({partition: consumed(lines, 0)})
    await bridge._flush(consumer)
    assert [(one.origin.part, one.offsets) for one in broker.stored] == [("0-4", ())]
    assert consumer.positions == {partition: 5}


async def test_a_partition_is_given_up_only_when_what_is_on_its_way_is_stored_and_committed() -> None:
    broker, partition, consumer = Broker(slow=True), TopicPartition("t", 0), Committed()
    bridge = _Bridge(settings("", "t", flush_seconds=0.0), broker.publish, Counted(), lambda: 0.0)
    bridge._take({partition: consumed([A.encode()], 7)})
    flushing = asyncio.create_task(bridge._flush(consumer))
    await broker.asked.wait()
    revoking = asyncio.create_task(bridge.on_partitions_revoked([partition]))
    await asyncio.wait([revoking], timeout=0.01)
    assert not revoking.done()
    broker.go_on.set()
    await revoking

    assert consumer.positions == {partition: 8}
    await flushing


async def feed(bootstrap: str, source: str, until: Broker) -> None:
    """Lines on all partitions, so that whoever gets one has something to do."""
    while not until.asked.is_set():
        await produce(bootstrap, source, [b"more"] * PARTITIONS)


async def test_a_source_that_is_not_there_is_said_in_one_line_and_waited_for() -> None:
    address = f"127.0.0.1:{free_port()}"
    with heard("streams.sources.bridge") as log:
        async with running(settings(address, "t"), Broker()):
            await asyncio.wait_for(log.something.wait(), 20)

    [line] = log.said
    assert address in line
    assert "\n" not in line

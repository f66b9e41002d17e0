"""The Kafka bridge: topics of others, in any shape that `decode` knows, onto the raw topic.

A source partition's raw messages are stored strictly one after the other, then its offsets are committed: after a crash
lines come again, never too few, and `combine` knows them by their offsets.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from streams.core.raw import TARGET_BYTES, RawMessage
from streams.sources.messages import Arrival, Counts, count_skipped, format_names
from streams.sources.publish import BrokerUnavailable
from streams.sources.rebatch import Lane

log = logging.getLogger(__name__)

Publish = Callable[[Sequence[RawMessage]], Awaitable[None]]

SOURCE = "bridge"
MIB = 1024 * 1024

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_COMMIT_SECONDS = 20.0
_QUIET_SECONDS = 30.0


@dataclass(frozen=True)
class BridgeSettings:
    """What is read, and how.

    bootstrap, options: the source cluster's address and aiokafka's arguments for login and TLS. topics: their names, or
    pattern: a regular expression for all of a name; topics that begin with `own_prefix` never match it.
    generation: raised when a source topic was made anew. formats: topic -> format, format: of all others, where the
    lines tell none. max_decompressed_bytes: of one message. flush_seconds: how long lines wait for more.
    """

    bootstrap: str
    group: str
    topics: tuple[str, ...] = ()
    pattern: str = ""
    own_prefix: str = ""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    generation: int = 0
    formats: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    max_decompressed_bytes: int = 64 * MIB
    flush_seconds: float = 0.5
    poll_records: int = 20_000
    session_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Raises ValueError, with the name of the setting first."""
        if bool(self.topics) == bool(self.pattern):
            raise ValueError("topics: expected topics or a pattern, one of them")
        try:
            re.compile(self.pattern)
        except re.error as problem:
            raise ValueError(f"pattern: expected a regular expression, found {self.pattern!r}: {problem}") from None

    def format_of(self, topic: str) -> str | None:
        """The format of a topic's lines, as raw messages have it. Raises ValueError."""
        text = self.formats.get(topic, self.format)
        return format_names(text) if text else None


@dataclass
class Reading:
    """How a bridge gets on. problem: why it reads nothing at this moment, in one line; empty: it reads."""

    problem: str = "the bridge has not read from its source yet"


async def run_bridge(
    settings: BridgeSettings,
    publish: Publish,
    counts: Counts,
    clock: Callable[[], float] = time.time,
    reading: Reading | None = None,
) -> None:
    """Bridge until cancelled. publish: as Publisher.send. What was not stored then is read again the next time."""
    await _Bridge(settings, publish, counts, clock, reading).run()


class _Bridge(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A consumer and a lane for each partition that it reads."""

    def __init__(
        self,
        settings: BridgeSettings,
        publish: Publish,
        counts: Counts,
        clock: Callable[[], float],
        reading: Reading | None = None,
    ) -> None:
        self._settings = settings
        self._reading = reading or Reading()
        self._publish = publish
        self._counts = counts
        self._clock = clock
        self._lanes: dict[TopicPartition, Lane] = {}
        self._since: dict[TopicPartition, float] = {}
        self._busy = asyncio.Lock()
        self._told: dict[str, float] = {}
        for topic in (*settings.formats, *settings.topics):
            settings.format_of(topic)

    async def run(self) -> None:
        consumer = await self._connected()
        try:
            while True:
                self._take(await self._polled(consumer))
                await self._flush(consumer)
        finally:
            await consumer.stop()

    # -- from the source --------------------------------------------------------------------------------------------

    async def _connected(self) -> AIOKafkaConsumer:
        pause = _FIRST_PAUSE
        while True:
            consumer = self._consumer()
            try:
                await consumer.start()
            except (KafkaError, OSError) as problem:
                await consumer.stop()
                self._tell("can't reach Kafka at %s (%s); trying again", self._settings.bootstrap, problem)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except BaseException:
                await consumer.stop()
                raise
            else:
                return consumer

    def _consumer(self) -> AIOKafkaConsumer:
        settings = self._settings
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            group_id=settings.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(settings.session_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_seconds * 300),
            max_partition_fetch_bytes=4 * MIB,
            **settings.options,
        )
        if settings.pattern:
            own = f"(?!{re.escape(settings.own_prefix)})" if settings.own_prefix else ""
            consumer.subscribe(pattern=f"{own}(?:{settings.pattern})$", listener=self)
        else:
            consumer.subscribe(topics=list(settings.topics), listener=self)
        return consumer

    async def _polled(self, consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        oldest = min(self._since.values(), default=None)
        wait = self._settings.flush_seconds
        if oldest is not None:
            wait = max(0.0, oldest + wait - time.monotonic())
        try:
            found: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await consumer.getmany(
                timeout_ms=int(wait * 1000) + 1, max_records=self._settings.poll_records
            )
        except KafkaError as problem:
            self._reading.problem = f"can't read from Kafka at {self._settings.bootstrap} ({problem})"
            self._tell("can't read from Kafka at %s (%s); trying again", self._settings.bootstrap, problem)
            await asyncio.sleep(_FIRST_PAUSE)
            return {}
        self._reading.problem = ""
        return found

    def _take(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        now = int(self._clock() * 1000)
        for partition, records in polled.items():
            lane = self._lane(partition)
            lane.add([record.offset for record in records], [record.value for record in records], now)
            self._since.setdefault(partition, time.monotonic())
            if lane.skipped:
                self._counts.skipped(SOURCE, "tombstone", lane.skipped)
            count_skipped(self._counts, SOURCE, lane.ignored, lane.duplicates)
            lane.skipped = lane.ignored = lane.duplicates = 0

    def _lane(self, partition: TopicPartition) -> Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            settings = self._settings
            generation = f"@{settings.generation}" if settings.generation else ""
            name = f"{partition.topic}/{partition.partition}{generation}"
            arrival = Arrival(SOURCE, name, 0, settings.format_of(partition.topic))
            lane = self._lanes[partition] = Lane(arrival, settings.max_decompressed_bytes)
        return lane

    # -- to the raw topic -------------------------------------------------------------------------------------------

    async def _flush(self, consumer: AIOKafkaConsumer) -> None:
        """Store what has waited long enough or is enough, partitions side by side; then commit."""
        now = time.monotonic()
        due = [
            partition
            for partition, since in self._since.items()
            if self._lanes[partition].size >= TARGET_BYTES or now - since >= self._settings.flush_seconds
        ]
        if not due:
            return
        async with self._busy:
            lanes = {partition: self._lanes[partition] for partition in due if partition in self._lanes}
            for partition in lanes:
                del self._since[partition]
            await asyncio.gather(*(self._store(partition, lane) for partition, lane in lanes.items()))
            await self._commit(consumer, {partition: lane.position for partition, lane in lanes.items()})

    async def _store(self, partition: TopicPartition, lane: Lane) -> None:
        """Store a lane's messages one after the other, each until it is stored: no later one may overtake it."""
        for message in lane.take():
            pause = _FIRST_PAUSE
            while not await self._stored(partition, message):
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _stored(self, partition: TopicPartition, message: RawMessage) -> bool:
        try:
            await self._publish([message])
        except BrokerUnavailable as problem:
            self._counts.requests(SOURCE, "unavailable")
            self._tell("not stored, trying again (%s): %s", str(partition.topic), problem)
            return False
        self._counts.requests(SOURCE, "ok")
        self._counts.bytes(SOURCE, len(message.value))
        return True

    async def _commit(self, consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]) -> None:
        """Commit offsets. A failure costs a repeat, which is dropped: the partition may belong to another by now."""
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await consumer.commit(dict(positions))
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as problem:
            self._tell("offsets not committed at %s (%s); lines will come again", self._settings.bootstrap, problem)

    # -- rebalancing ------------------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let go of what another may read from now on: what is on its way is stored and committed, the rest dropped."""
        async with self._busy:
            for partition in revoked:
                self._lanes.pop(partition, None)
                self._since.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing: a lane begins with its first message."""

    def _tell(self, text: str, *values: object) -> None:
        """One line a problem and half a minute; the counters have the rest."""
        now = time.monotonic()
        if now - self._told.get(text, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._told[text] = now
            log.warning(text, *(" ".join(str(value).split()) or type(value).__name__ for value in values))

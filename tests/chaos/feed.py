"""Puts a run's input in at both ends: Firehose's posts, and a record a message on somebody else's topic.

Input flows as long as faults do, then as fast as it can. `begun` is what the fleet can have seen at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.core.blocks import BLOCK_SECONDS
from tests.chaos.fleet import Fleet
from tests.chaos.traffic import WIDE, Post, Traffic, format_of
from tests.sources.firehose_sender import FirehoseSender

PARTITIONS = 3
_STREAMS = 4
_LONGEST_PAUSE = 1.0
"""Seconds. Firehose's own pauses grow, and then a run would only be longer."""
_FOR_EVER = 1e9
_AT_ONCE = 200
"""Messages of the foreign topic that are produced together."""


@dataclass
class Pace:
    """So many lines a second, until `hurry`."""

    lines_per_second: float
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _next: float = 0.0

    def hurry(self) -> None:
        """No pauses any more."""
        self._hurry.set()

    async def wait(self, lines: int) -> None:
        """Until so many lines more are due."""
        now = asyncio.get_running_loop().time()
        self._next = max(now, self._next) + lines / self.lines_per_second
        try:
            async with asyncio.timeout_at(self._next):
                await self._hurry.wait()
        except TimeoutError:
            return


@dataclass
class Feed:
    """begun: lines that were handed over or are just being. attempts: posts. failed: those without a 200.
    repeated: posts that were sent again though they had been accepted.
    """

    fleet: Fleet
    bootstrap: str
    topic: str
    pace: Pace
    begun: int = 0
    attempts: int = 0
    failed: int = 0
    repeated: int = 0

    async def all(self, made: Traffic) -> None:
        """Until everything is accepted, and stands on the foreign topic."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as both:
            both.create_task(self._foreign(made.messages))
            for number in range(_STREAMS):
                both.create_task(self._stream(session, made.posts[number::_STREAMS]))

    async def last(self, made: Traffic) -> None:
        """What closes all minutes for the detectors."""
        async with aiohttp.ClientSession() as session:
            for posts in made.last:
                await self._stream(session, posts)
                await asyncio.sleep(BLOCK_SECONDS + 1)

    async def _stream(self, session: aiohttp.ClientSession, posts: Sequence[Post]) -> None:
        sender = FirehoseSender(
            session, self.fleet.firehose_url(), attributes={"format": format_of(WIDE)}, retry_seconds=_FOR_EVER
        )

        async def elsewhere(seconds: float) -> None:
            sender.url = self.fleet.firehose_url()
            await asyncio.sleep(min(seconds, _LONGEST_PAUSE))

        sender.sleep = elsewhere
        for post in posts:
            await self.pace.wait(len(post.lines))
            self.begun += len(post.lines)
            for _ in range(1 + post.again):
                sender.url = self.fleet.firehose_url()
                delivery = await sender.deliver(post.records(), post.request_id)
                assert delivery.accepted, delivery.attempts[-1]
                self.attempts += len(delivery.attempts)
                self.failed += len(delivery.attempts) - 1
            self.repeated += post.again

    async def _foreign(self, messages: Sequence[bytes]) -> None:
        """Idempotent: what a producer repeats by itself stands there once. Where it gives up, the next one goes on."""
        at = 0
        while at < len(messages):
            try:
                async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True) as producer:
                    while at < len(messages):
                        part = messages[at : at + _AT_ONCE]
                        await self.pace.wait(len(part))
                        self.begun += len(part)
                        sent = [
                            await producer.send(self.topic, value, partition=(at + n) % PARTITIONS)
                            for n, value in enumerate(part)
                        ]
                        await asyncio.gather(*sent)
                        at += len(part)
            except KafkaError:
                await asyncio.sleep(_LONGEST_PAUSE)


async def stored(bootstrap: str, topic: str) -> list[bytes]:
    """What stands on the foreign topic: the truth of it, should a producer have written something twice."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[bytes] = []
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                found += [message.value for message in messages]
        return found
    finally:
        await consumer.stop()

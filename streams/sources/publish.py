"""Puts raw messages on the raw topic, and comes back when the broker has confirmed all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.core.raw import RawMessage

log = logging.getLogger(__name__)

_LARGEST = 8 * 1024 * 1024
_LONGEST_PAUSE = 10.0


class BrokerUnavailable(Exception):  # noqa: N818 - it names the state, and callers answer 503 for it
    """The broker did not confirm in time, or can't be reached. One line, with the address."""


class Publisher:
    """A producer on the raw topic. `send` may be called from many tasks at once."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, options: Mapping[str, object], deadline_seconds: float = 60.0
    ) -> None:
        """options: aiokafka's, for login and TLS. deadline_seconds: how long `send` waits for confirmations."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._deadline = deadline_seconds
        self._options = options
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; tries again until the broker is there, and says so once."""
        pause, told = 0.5, False
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, acks="all", compression_type="lz4", max_request_size=_LARGEST,
                max_batch_size=1024 * 1024, request_timeout_ms=int(self._deadline * 1000), **self._options,
            )  # fmt: skip
            try:
                await producer.start()
            except (KafkaError, OSError) as problem:
                await producer.stop()
                if not told:
                    log.warning("can't reach Kafka at %s (%s); trying again", self._bootstrap, type(problem).__name__)
                told = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._producer = producer
                return

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""
        if self._producer:
            await self._producer.stop()

    async def send(self, messages: Sequence[RawMessage]) -> None:
        """Store messages, those of one partition in order. Raises BrokerUnavailable: some may be stored, all may be sent again."""
        if self._producer is None:
            raise BrokerUnavailable(f"not connected to Kafka at {self._bootstrap} yet")
        try:
            async with asyncio.timeout(self._deadline):
                await asyncio.gather(*[await self._put(self._producer, message) for message in messages])
        except (KafkaError, TimeoutError, OSError) as problem:
            reason = " ".join(str(problem).split()) or type(problem).__name__
            raise BrokerUnavailable(f"Kafka at {self._bootstrap} did not confirm: {reason}") from problem

    async def _put(self, producer: AIOKafkaProducer, message: RawMessage) -> asyncio.Future[object]:
        partition = crc32(message.origin.partition_key()) % self._partitions
        future: asyncio.Future[object] = await producer.send(
            self._topic, message.value, partition=partition, headers=list(message.headers())
        )
        return future

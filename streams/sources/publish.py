"""Puts raw messages on the raw topic, and comes back when the broker has confirmed all of them.

The partition is a function of a message's origin: a repeat meets its twin there, and `combine` drops it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams.core.raw import RawMessage
from streams.stopping import within

log = logging.getLogger(__name__)

LARGEST = 8 * 1024 * 1024
"""Bytes of a request, and so of a message, as our topics take them (streams.kafka)."""

_LARGEST_VALUE = LARGEST - 64 * 1024
_SHORT = 768 * 1024
"""What any broker takes: Kafka's own default is 1 MB."""

_BATCH = 1024 * 1024
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_STOP_SECONDS = 3.0
_DOUBT_SECONDS = 30.0
"""So long a send that failed counts against the broker. Then the next one may try: nobody else would find out."""

# Measured over 4,000 lines, encode and decode, CPU-seconds per million lines: zstd 1.0 + 0.2 to 27 % of the size, lz4
# 3.3 + 0.1 to 38 % (aiokafka asks for its slowest level), snappy 0.3 + 0.1 to 49 %. Days of raw lines lie on the disks.
_COMPRESSION = "zstd"


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
        self._refused = ""
        self._refused_at = 0.0

    @property
    def problem(self) -> str:
        """Why nothing can be sent at this moment, in one line; empty: it can."""
        if self._producer is None:
            return f"not connected to Kafka at {self._bootstrap}"
        return self._refused if time.monotonic() - self._refused_at < _DOUBT_SECONDS else ""

    async def start(self) -> None:
        """Connect; tries again until the broker is there, and says so once."""
        pause, told = _FIRST_PAUSE, False
        while self._producer is None:
            try:
                self._producer = await self._connected()
            except (KafkaError, OSError) as problem:
                if not told:
                    log.warning("can't reach Kafka at %s (%s); trying again", self._bootstrap, _reason(problem))
                told = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """Disconnect. What nobody waits for any more may be lost: nobody was told that it is stored."""
        producer, self._producer = self._producer, None
        if producer is None or await within(_STOP_SECONDS, producer.stop()):
            return
        log.warning("Kafka at %s does not answer, leaving it", self._bootstrap)
        await within(_STOP_SECONDS, producer.client.close())

    async def send(self, messages: Sequence[RawMessage]) -> None:
        """Store messages, those of one partition in order.

        Raises BrokerUnavailable: some may be stored then, and all may be sent again.
        """
        producer = self._producer
        if producer is None:
            raise BrokerUnavailable(self.problem)
        try:
            async with asyncio.timeout(self._deadline):
                refused = await self._stored(producer, messages)
                for message in refused:
                    # One by one: a batch is refused whole for one message in it.
                    await self._put(producer, shortened(message, _SHORT))
        except (KafkaError, TimeoutError, OSError) as problem:
            self._refused = f"Kafka at {self._bootstrap} did not confirm: {_reason(problem)}"
            self._refused_at = time.monotonic()
            raise BrokerUnavailable(self._refused) from problem
        self._refused = ""

    async def _stored(self, producer: AIOKafkaProducer, messages: Sequence[RawMessage]) -> list[RawMessage]:
        """Wait until all are confirmed; gives back those that the broker finds too large."""
        sent = [await self._buffered(producer, shortened(message, _LARGEST_VALUE)) for message in messages]
        results = await asyncio.gather(*sent, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, MessageSizeTooLargeError):
                raise result
        return [one for one, result in zip(messages, results, strict=True) if isinstance(result, BaseException)]

    async def _put(self, producer: AIOKafkaProducer, message: RawMessage) -> None:
        await (await self._buffered(producer, message))

    async def _buffered(self, producer: AIOKafkaProducer, message: RawMessage) -> asyncio.Future[object]:
        """Hand a message to the producer; the future is done when it is stored."""
        stored: asyncio.Future[object] = await producer.send(
            self._topic,
            message.value,
            partition=crc32(message.origin.partition_key()) % self._partitions,
            headers=list(message.headers()),
        )
        stored.add_done_callback(_look_at)
        return stored

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            compression_type=_COMPRESSION,
            max_request_size=LARGEST,
            max_batch_size=_BATCH,
            request_timeout_ms=int(self._deadline * 1000),
            **self._options,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer


def shortened(message: RawMessage, largest: int) -> RawMessage:
    """The message, or when it is larger than the broker takes its beginning, as an error: one must not stop all."""
    if len(message.value) <= largest:
        return message
    return replace(message, value=message.value[:largest], error=message.error or "too_large")


def _look_at(stored: asyncio.Future[object]) -> None:
    """Take note of a failure: another of the same batch may have been raised first."""
    if not stored.cancelled():
        stored.exception()


def _reason(problem: BaseException) -> str:
    """The problem in one line."""
    return " ".join(str(problem).split()) or type(problem).__name__
